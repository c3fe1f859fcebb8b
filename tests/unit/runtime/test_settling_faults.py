"""A dead letter that cannot be published, or whose mark is lost: the mail stays where it is until both are durable."""

from typing import Any

import pytest

from postman.adapters.memory import MemoryLedger, MemoryQueue, MemoryShards
from postman.core.ids import MailId
from postman.core.message import Message
from postman.core.protocol import Entry, State
from postman.core.verdict import Ack, DeadLetter, DeadReason, GiveBack, Verdict
from postman.errors import LedgerUnavailableError, QueueUnavailableError
from postman.ports.opening import Cluster
from postman.ports.queue import Delivery
from postman.runtime.deadletters import Choice, DeadLetters
from postman.runtime.settler import Settler
from postman.testing.clock import FakeClock

MAIL_ID = MailId("m-1")
REFUSED = DeadLetter(DeadReason.REFUSED, "bad recipient", 0)
_ACK_DEADLINE = 10.0


class FlakyQueue(MemoryQueue):
    """A queue that does not do, for its next *failures* calls, what it is asked; or does it and does not say so."""

    failures = 0
    is_silent = False

    async def publish(self, message: Message) -> None:
        if not self.is_silent:
            self._look()
        await super().publish(message)
        self._look()

    async def ack(self, delivery: Delivery) -> None:
        if not self.is_silent:
            self._look()
        await super().ack(delivery)
        self._look()

    def _look(self) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise QueueUnavailableError("out of reach")


class FlakyLedger(MemoryLedger):
    """A ledger that is out of reach for its next *failures* calls."""

    failures = 0

    async def _apply(self, mail_id: MailId, transition: Any) -> Any:
        if self.failures > 0:
            self.failures -= 1
            raise LedgerUnavailableError("out of reach")
        return await super()._apply(mail_id, transition)


class Scene:
    """One shard with a refused mail, and who settles it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.shards = MemoryShards(Cluster(self.clock, shards=1, ack_deadline=_ACK_DEADLINE))
        self.live = self.shards._queues[0] = FlakyQueue("live", self.clock, _ACK_DEADLINE)
        self.dead = self.shards._dead[0] = FlakyQueue("dead", self.clock, _ACK_DEADLINE)
        self.ledger = FlakyLedger(self.clock)
        self.settler = Settler(shards=self.shards, ledger=self.ledger, clock=self.clock)

    async def refuse(self) -> None:
        await self.live.publish(Message(b"the mail", {"mail_id": MAIL_ID}))
        await self.ledger.refuse(MAIL_ID, digest="d", reason="bad recipient")

    async def settle(self, verdict: Verdict = REFUSED) -> Delivery:
        """Take the mail, as a worker does when nobody holds it, and carry *verdict* out."""
        [delivery] = await self.live.pull(max_deliveries=1, wait=_ACK_DEADLINE + 1.0)
        await self.settler.carry_out(0, delivery, verdict)
        return delivery

    async def letters(self) -> list[int]:
        """Return of each mail among the dead letters how many copies there are."""
        found = await DeadLetters(shards=self.shards, ledger=self.ledger).find(Choice())
        return [len(letter.copies) for letter in found]

    async def is_settled(self) -> bool:
        await self.clock.sleep(_ACK_DEADLINE + 1.0)
        return not await self.live.pull(max_deliveries=1, wait=0.0)

    async def entry(self) -> Entry:
        entry = await self.ledger.find(MAIL_ID)
        assert entry is not None
        return entry


@pytest.fixture
async def scene() -> Scene:
    scene = Scene()
    await scene.refuse()
    return scene


async def test_a_mail_whose_dead_letter_could_not_be_published_stays_in_the_queue(scene: Scene) -> None:
    scene.dead.failures = 1
    first = await scene.settle()
    entry = await scene.entry()
    assert await scene.letters() == []
    assert (entry.state, entry.parked) == (State.REFUSED, False)

    again = await scene.settle()
    assert again.attempt == first.attempt + 1
    assert again.message == first.message
    assert await scene.letters() == [1]
    assert (await scene.entry()).parked
    assert await scene.is_settled()


async def test_a_dead_letter_whose_answer_was_lost_is_published_twice_and_shown_once(scene: Scene) -> None:
    scene.dead.failures, scene.dead.is_silent = 1, True
    await scene.settle()
    await scene.settle()

    assert await scene.letters() == [2]
    assert await scene.is_settled()


async def test_a_dead_letter_that_could_not_be_marked_is_published_again(scene: Scene) -> None:
    """Else the next worker would ack a mail of which nobody knows that its dead letter is there."""
    scene.ledger.failures = 1
    await scene.settle()
    assert not (await scene.entry()).parked
    await scene.settle()

    assert await scene.letters() == [2]
    assert (await scene.entry()).parked
    assert await scene.is_settled()


@pytest.mark.parametrize("is_silent", [False, True], ids=["not done", "done"])
async def test_an_ack_without_an_answer_costs_a_redelivery_at_the_most(scene: Scene, is_silent: bool) -> None:
    scene.live.failures, scene.live.is_silent = 1, is_silent
    await scene.settle(Ack())

    assert await scene.is_settled() is is_silent


async def test_what_was_settled_already_is_no_error(scene: Scene) -> None:
    """A lease that was lost unnoticed shows up only here."""
    delivery = await scene.settle(GiveBack())
    await scene.settler.carry_out(0, delivery, Ack())

    assert not await scene.is_settled()
