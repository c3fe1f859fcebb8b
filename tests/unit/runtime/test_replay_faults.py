"""A dead letter replayed by two people at once, or by one whose command breaks off: the mail is sent once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from postman import Mail
from postman.adapters.memory import MemoryLedger, MemoryQueue, MemoryShards
from postman.core.ids import MailId
from postman.core.message import Message
from postman.core.protocol import Claimed, Entry, State
from postman.core.wire import digest, message_for
from postman.errors import QueueUnavailableError
from postman.ports.opening import Cluster
from postman.ports.provider import Receipt
from postman.ports.queue import Delivery
from postman.runtime.deadletters import Choice, DeadLetters, Replayed
from postman.testing.clock import FakeClock
from tests.unit.runtime.courier_scene import mail

_HELD_FOR = 301.0


class FlakyQueue(MemoryQueue):
    """A queue that is out of reach for its next *failures* calls of one kind."""

    failing = ""

    async def publish(self, message: Message) -> None:
        self._look("publish")
        await super().publish(message)

    async def ack(self, delivery: Delivery) -> None:
        self._look("ack")
        await super().ack(delivery)

    def _look(self, call: str) -> None:
        if self.failing == call:
            self.failing = ""
            raise QueueUnavailableError("out of reach")


class Scene:
    """One refused mail, whose dead letter is durable."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.shards = MemoryShards(Cluster(self.clock, shards=1))
        self.live = self.shards._queues[0] = FlakyQueue("live", self.clock, 30.0)
        self.dead = self.shards._dead[0] = FlakyQueue("dead", self.clock, 30.0)
        self.ledger = MemoryLedger(self.clock)
        self.mail = mail()
        self.sent = 0

    async def prepare(self) -> None:
        refused = await self.ledger.refuse(self.mail.id, digest=digest(self.mail), reason="bad recipient")
        letter = message_for(self.mail)
        await self.dead.publish(Message(letter.data, {**letter.attributes, "dead_reason": "refused"}))
        await self.ledger.park(self.mail.id, token=refused.token)

    def operator(self) -> DeadLetters:
        return DeadLetters(shards=self.shards, ledger=self.ledger)

    async def replay(self) -> Replayed:
        return await self.operator().replay(Choice(), reason="mended")

    async def work(self) -> None:
        """Deliver all that waits, as a worker does."""
        for delivery in await self.live.pull(max_deliveries=10, wait=0.0):
            await self._send_once(self.mail)
            await self.live.ack(delivery)

    async def _send_once(self, mail: Mail) -> None:
        claim_id = f"claim-{self.clock.now()}-{self.sent}"
        answer = await self.ledger.claim(mail.id, claim_id=claim_id, digest=digest(mail), provider="a", lease=20.0)
        if isinstance(answer, Claimed):
            self.sent += 1
            await self.ledger.record_sent(answer.claim, Receipt("a", f"{self.sent}"))

    async def letters(self) -> int:
        await self.clock.sleep(_HELD_FOR)
        return len(await self.operator().find(Choice()))

    async def entry(self) -> Entry:
        entry = await self.ledger.find(MailId(self.mail.id))
        assert entry is not None
        return entry


@pytest.fixture
async def scene() -> Scene:
    scene = Scene()
    await scene.prepare()
    return scene


@asynccontextmanager
async def _breaking_off(scene: Scene, queue: FlakyQueue, call: str) -> AsyncIterator[None]:
    """Within it, the next *call* fails; afterwards nobody holds the letters any more."""
    queue.failing = call
    yield
    assert queue.failing == "", f"nobody called {call}"
    await scene.clock.sleep(_HELD_FOR)


async def test_of_two_who_replay_at_once_one_sends_the_mail(scene: Scene) -> None:
    both = await asyncio.gather(scene.replay(), scene.replay())
    await scene.work()

    assert sum(each.published for each in both) == 1
    assert scene.sent == 1
    assert await scene.letters() == 0


async def test_two_who_both_hold_the_letter_publish_it_twice_and_it_is_sent_once(scene: Scene) -> None:
    """The first stood still for longer than letters are held for him."""
    first = await scene.operator()._take(Choice())
    await scene.clock.sleep(_HELD_FOR)
    assert (await scene.replay()).published == 1
    assert await scene.operator()._replay(first[0], "mended") == "published"
    await scene.work()

    assert scene.sent == 1
    assert await scene.letters() == 0


async def test_one_who_comes_after_the_mail_was_sent_publishes_nothing(scene: Scene) -> None:
    first = await scene.operator()._take(Choice())
    await scene.clock.sleep(_HELD_FOR)
    await scene.replay()
    await scene.work()

    assert await scene.operator()._replay(first[0], "mended") == "already_sent"
    assert scene.sent == 1
    assert (await scene.entry()).state is State.SENT


async def test_a_replay_that_broke_off_before_it_published_is_run_again(scene: Scene) -> None:
    """The ledger has reopened the mail by then, and nobody else has it: the dead letter is still there."""
    async with _breaking_off(scene, scene.live, "publish"):
        with pytest.raises(QueueUnavailableError):
            await scene.replay()
    await scene.work()
    assert scene.sent == 0
    assert await scene.letters() == 1

    assert (await scene.replay()).published == 1
    await scene.work()
    assert scene.sent == 1
    assert await scene.letters() == 0


@pytest.mark.parametrize("is_sent_meanwhile", [False, True])
async def test_a_replay_that_broke_off_after_it_published_is_run_again(scene: Scene, is_sent_meanwhile: bool) -> None:
    async with _breaking_off(scene, scene.dead, "ack"):
        with suppress(QueueUnavailableError):
            await scene.replay()
    if is_sent_meanwhile:
        await scene.work()

    again = await scene.replay()
    await scene.work()
    assert (again.published, again.already_sent) == ((0, 1) if is_sent_meanwhile else (1, 0))
    assert scene.sent == 1
    assert await scene.letters() == 0
