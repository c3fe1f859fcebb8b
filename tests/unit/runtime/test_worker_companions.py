"""What runs beside a worker: it is ready before the first mail is pulled, and ends with it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from postman import Address, Mail
from postman.adapters.memory import MemoryQueue, MemorySuppressions
from postman.breaker import CircuitBreaker
from postman.core.events import address_key
from postman.core.protocol import State
from postman.core.suppression import Suppression, SuppressionReason
from postman.errors import LedgerUnavailableError
from postman.ports.queue import Delivery
from postman.ports.suppressions import Changes
from postman.runtime.companion import Companion
from postman.runtime.courier import Limits
from postman.runtime.deadletters import Choice, DeadLetters
from postman.runtime.failover import Failover, Route
from postman.runtime.suppressed import SuppressionList
from postman.runtime.worker import Worker, WorkerSettings
from postman.testing.waiting import wait_until
from tests.unit.runtime.worker_scene import Scene as WorkerScene
from tests.unit.runtime.worker_scene import mails

EVERY = 0.02


@dataclass
class Recorder:
    """A companion that gets ready when it is told to."""

    is_ready: asyncio.Event = field(default_factory=asyncio.Event)
    said: list[str] = field(default_factory=list)

    async def get_ready(self) -> None:
        self.said.append("asked")
        try:
            await self.is_ready.wait()
        except asyncio.CancelledError:
            self.said.append("broken off")
            raise
        self.said.append("ready")

    async def run(self) -> None:
        self.said.append("running")
        try:
            await asyncio.Event().wait()
        finally:
            self.said.append("ended")


class Counted(MemorySuppressions):
    """A suppression list that counts the questions."""

    asked = 0

    async def changes(self, cursor: str = "") -> Changes:
        self.asked += 1
        return await super().changes(cursor)


class Away(Counted):
    """A suppression list out of reach."""

    async def changes(self, cursor: str = "") -> Changes:
        raise LedgerUnavailableError("out of reach")


class Watched(MemoryQueue):
    """A queue that tells when it is pulled from."""

    said: list[str]

    async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
        self.said.append("pulled")
        return await super().pull(max_deliveries=max_deliveries, wait=wait)


class Scene(WorkerScene):
    """A cluster whose worker has companions, one of them its copy of a suppression list."""

    def __init__(self) -> None:
        super().__init__()
        self.suppressions = Counted(self.clock)

    def accompanied(self, *companions: Companion) -> Worker:
        suppressed = SuppressionList(self.suppressions, self.clock, every=EVERY)
        return Worker(
            shards=self.shards,
            ledger=self.ledger,
            failover=Failover([Route(self.a, CircuitBreaker("a"))], clock=self.clock),
            clock=self.clock,
            settings=WorkerSettings(limits=Limits(lease=3.0, budget=2.0), ack_deadline=10.0, grace=1.0, pull_wait=0.05),
            new_claim_id=lambda: f"claim-{next(self._ids)}",
            objection=suppressed.objection,
            companions=[suppressed, *companions],
        )

    @asynccontextmanager
    async def running(self, worker: Worker) -> AsyncIterator[None]:
        task = asyncio.ensure_future(worker.run())
        try:
            yield
        finally:
            worker.stop()
            await asyncio.wait_for(task, 5.0)

    def watch(self, shard: int, said: list[str]) -> None:
        queue = Watched(f"watched-{shard}", self.clock, 10.0)
        queue.said = said
        self.shards._queues[shard] = queue

    async def suppress(self, address: str) -> None:
        key = address_key(address)
        await self.suppressions.put(
            Suppression(key, SuppressionReason.BOUNCED, self.clock.time(), None, "sendgrid", "m-0", "550")
        )

    async def has_entry(self, mail: Mail) -> bool:
        entry = await self.ledger.find(mail.id)
        return entry is not None and (entry.parked or entry.state is State.SENT)

    def dead(self) -> DeadLetters:
        return DeadLetters(shards=self.shards, ledger=self.ledger)


@pytest.fixture
async def scene() -> Scene:
    scene = Scene()
    await scene.shards.ensure()
    return scene


def mails_to(*addresses: str) -> Sequence[Mail]:
    sender = Address(email="shop@example.com")
    return [Mail(from_=sender, to=(Address(email=each),), subject="s", text="t") for each in addresses]


async def test_nothing_is_pulled_before_all_companions_are_ready(scene: Scene) -> None:
    companion = Recorder()
    for shard in range(scene.shards.count):
        scene.watch(shard, companion.said)
    await scene.publish(mails(3))
    async with scene.running(scene.accompanied(companion)):
        await wait_until(lambda: companion.said, within=1.0)
        for _ in range(50):
            await asyncio.sleep(0)
        companion.is_ready.set()
        await wait_until(lambda: len(scene.a.accepted) == 3, within=5.0)
    first_pull = companion.said.index("pulled")
    assert companion.said[:first_pull] in (["asked", "ready"], ["asked", "ready", "running"])
    assert companion.said[-1] == "ended"


async def test_a_worker_that_is_told_to_stop_waits_for_no_companion(scene: Scene) -> None:
    companion = Recorder()
    async with scene.running(scene.accompanied(companion)):
        await wait_until(lambda: companion.said, within=1.0)
    assert companion.said == ["asked", "broken off"]


async def test_a_suppressed_mail_is_dead_lettered_with_its_reason_and_others_are_sent(scene: Scene) -> None:
    """What is suppressed before the worker starts counts for the very first mail."""
    refused, sent = mails_to("ann@example.org", "bob@example.org")
    await scene.suppress("ann@example.org")
    await scene.publish([refused, sent])
    async with scene.running(scene.accompanied()):
        await wait_until(lambda: scene.a.accepted, within=5.0)
        await wait_until(lambda: scene.has_entry(refused), within=5.0)
    assert [mail.id for mail in scene.a.attempts] == [sent.id]
    entry = await scene.ledger.find(refused.id)
    assert entry is not None
    assert (entry.state, entry.parked) == (State.REFUSED, True)
    [letter] = await scene.dead().find(Choice())
    assert (letter.mail_id, letter.reason) == (refused.id, "suppressed")
    assert letter.detail == entry.reason
    assert entry.reason.startswith("suppressed: to[0]: a hard bounce at sendgrid on 20")


async def test_a_suppression_reaches_a_running_worker_and_so_does_its_lifting(scene: Scene) -> None:
    """The mail that was refused is sent once its dead letter is sent back."""
    [first], [second] = mails_to("ann@example.org"), mails_to("ann@example.org")
    async with scene.running(scene.accompanied()):
        await scene.publish([first])
        await wait_until(lambda: scene.a.accepted, within=5.0)
        await scene.suppress("ann@example.org")
        await _next_look(scene)
        await scene.publish([second])
        await wait_until(lambda: scene.has_entry(second), within=5.0)
        assert await scene.states([second]) == {State.REFUSED}
        await scene.suppressions.lift(address_key("ann@example.org"))
        await _next_look(scene)
        replayed = await scene.dead().replay(Choice(reason="suppressed"), reason="lifted")
        assert replayed.published == 1
        await wait_until(lambda: len(scene.a.accepted) == 2, within=5.0)
    assert await scene.states([first, second]) == {State.SENT}


async def test_a_list_out_of_reach_stops_no_mail(scene: Scene) -> None:
    scene.suppressions = Away(scene.clock)
    await scene.publish(mails(5))
    async with scene.running(scene.accompanied()):
        await wait_until(lambda: len(scene.a.accepted) == 5, within=5.0)


async def _next_look(scene: Scene) -> None:
    """Return once the worker has asked for changes twice more, so that it knows of all that was before."""
    asked = scene.suppressions.asked
    await wait_until(lambda: scene.suppressions.asked >= asked + 2, within=2.0)
