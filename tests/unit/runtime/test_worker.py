"""The worker on queues and a ledger in memory: it delivers, survives outages, and drains."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Any

import pytest
import structlog

from postman import Address, Mail
from postman.adapters.clock import SystemClock
from postman.adapters.memory import MemoryLedger, MemoryQueue, MemoryShards
from postman.breaker import CircuitBreaker, Recovery, Trip
from postman.core.ids import MailId
from postman.core.message import Message
from postman.core.protocol import Claimed, State
from postman.core.shards import shard_for
from postman.core.wire import message_for
from postman.errors import (
    ConfigError,
    LedgerUnavailableError,
    MailRejectedError,
    ProviderDownError,
    QueueUnavailableError,
)
from postman.ports.opening import Cluster
from postman.ports.provider import Receipt
from postman.ports.queue import Delivery
from postman.runtime.courier import Limits
from postman.runtime.deadletters import Choice, DeadLetters
from postman.runtime.failover import Failover, Route
from postman.runtime.producer import Producer
from postman.runtime.reporter import Reporting
from postman.runtime.worker import Worker, WorkerSettings
from postman.testing.provider import Answer, FakeProvider
from postman.testing.waiting import wait_until

SHARDS = 4


class Broken(MemoryLedger):
    """A ledger that can be out of reach."""

    is_away = False

    async def check(self) -> None:
        self._look()

    async def _apply(self, mail_id: MailId, transition: Any) -> Any:
        self._look()
        return await super()._apply(mail_id, transition)

    def _look(self) -> None:
        if self.is_away:
            raise LedgerUnavailableError("out of reach")


class FlakyQueue(MemoryQueue):
    """A queue that is out of reach for its next *failures* calls."""

    failures = 0

    async def publish(self, message: Message) -> None:
        self._look()
        await super().publish(message)

    async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
        self._look()
        return await super().pull(max_deliveries=max_deliveries, wait=wait)

    def _look(self) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise QueueUnavailableError("out of reach")


class Jumping(SystemClock):
    """The machine's clock, which can be set forward."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead

    def jump(self, seconds: float) -> None:
        self.ahead += seconds


class Scene:
    """A cluster in memory, with as many workers as a test wants."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.shards = MemoryShards(Cluster(self.clock, shards=SHARDS, ack_deadline=10.0))
        self.ledger = Broken(self.clock)
        self.a = FakeProvider("a", clock=self.clock, timeout=1.0)
        self.b = FakeProvider("b", clock=self.clock, timeout=1.0)
        self._ids = count()

    def flaky(self, shard: int) -> FlakyQueue:
        """Return the queue of *shard*, which can be out of reach from now on."""
        queue = FlakyQueue(f"flaky-{shard}", self.clock, 10.0)
        self.shards._queues[shard] = queue
        return queue

    def worker(self, *, concurrency: int = 10, grace: float = 1.0, reporting: Reporting | None = None) -> Worker:
        routes = [
            Route(provider, CircuitBreaker(provider.name, Trip(consecutive=2), Recovery(open_for=0.3)), weight=weight)
            for provider, weight in ((self.a, 1.0), (self.b, 0.0))
        ]
        return Worker(
            shards=self.shards,
            ledger=self.ledger,
            failover=Failover(routes, clock=self.clock),
            clock=self.clock,
            settings=WorkerSettings(
                limits=Limits(lease=3.0, budget=2.0),
                concurrency=concurrency,
                ack_deadline=10.0,
                grace=grace,
                pull_wait=0.1,
            ),
            new_claim_id=lambda: f"claim-{next(self._ids)}",
            reporting=reporting,
        )

    @asynccontextmanager
    async def working(self, **options: Any) -> AsyncIterator[Worker]:
        worker = self.worker(**options)
        running = asyncio.ensure_future(worker.run())
        try:
            yield worker
        finally:
            if not worker.is_draining:
                worker.stop()
            await asyncio.wait_for(running, 5.0)

    async def publish(self, mails: Sequence[Mail]) -> None:
        for mail in mails:
            await self.shards.queue(shard_for(mail.id, SHARDS)).publish(message_for(mail))

    async def states(self, mails: Sequence[Mail]) -> set[str]:
        entries = [await self.ledger.find(mail.id) for mail in mails]
        return {str(entry.state) if entry else "absent" for entry in entries}

    async def left(self) -> list[Delivery]:
        """Take what any worker could take now."""
        taken = [await self.shards.queue(n).pull(max_deliveries=1_000, wait=0) for n in range(SHARDS)]
        return [delivery for deliveries in taken for delivery in deliveries]


@pytest.fixture
async def scene() -> Scene:
    scene = Scene()
    await scene.shards.ensure()
    return scene


def mails(number: int) -> list[Mail]:
    sender, to = Address(email="a@example.org"), (Address(email="b@example.org"),)
    return [Mail(from_=sender, to=to, subject=f"{n}", text="t") for n in range(number)]


def sent(*providers: FakeProvider) -> list[str]:
    return sorted(mail.id for provider in providers for mail in provider.accepted)


async def test_every_mail_is_sent_once_from_all_shards(scene: Scene) -> None:
    some = mails(200)
    await scene.publish(some)
    async with scene.working(), scene.working():
        await wait_until(lambda: len(scene.a.accepted) >= 200, within=10.0)

    assert sent(scene.a) == sorted(mail.id for mail in some)
    assert await scene.states(some) == {State.SENT}
    assert await scene.left() == []


async def test_an_idle_worker_hears_of_a_mail_on_any_shard_at_once(scene: Scene) -> None:
    async with scene.working():
        for one in mails(8):
            await scene.publish([one])
            await wait_until(partial(scene.a.accepted.__contains__, one), within=0.5)


async def test_it_holds_no_more_in_flight_than_it_may(scene: Scene) -> None:
    most = 0
    scene.a.always(Answer(delay=0.05))
    await scene.publish(mails(60))
    async with scene.working(concurrency=7) as worker:
        while len(scene.a.attempts) < 60:
            most = max(most, worker.in_flight)
            await asyncio.sleep(0.005)

    assert most == 7


async def test_bad_mails_harm_no_good_ones(scene: Scene) -> None:
    for number in range(20):
        await scene.shards.queue(number % SHARDS).publish(Message(b"no mail", {"mail_id": f"bad-{number}"}))
    good = mails(20)
    await scene.publish(good)
    async with scene.working():
        await wait_until(lambda: len(scene.a.accepted) == 20, within=5.0)
        letters = DeadLetters(shards=scene.shards, ledger=scene.ledger)
        await wait_until(lambda: has(letters, 20), within=5.0)

    found = await letters.find(Choice())
    assert {letter.reason for letter in found} == {"malformed"}
    assert {letter.message.data for letter in found} == {b"no mail"}


async def has(letters: DeadLetters, number: int) -> bool:
    return len(await letters.find(Choice())) == number


async def test_a_mail_that_is_refused_lies_among_the_dead_letters_until_it_is_replayed(scene: Scene) -> None:
    [one] = mails(1)
    scene.a.then(MailRejectedError("bad recipient", provider="a"))
    letters = DeadLetters(shards=scene.shards, ledger=scene.ledger)
    await scene.publish([one])
    async with scene.working():
        await wait_until(lambda: has(letters, 1), within=5.0)
        replayed = await letters.replay(Choice(), reason="mended")
        await wait_until(lambda: scene.a.accepted == [one], within=5.0)

    assert replayed.published == 1
    assert not await has(letters, 1)
    entry = await scene.ledger.find(one.id)
    assert entry is not None
    assert [note.event for note in entry.history][-4:] == ["dead-lettered", "reopened", "claimed", "sent"]


async def test_a_dead_letter_that_was_sent_after_all_is_not_sent_again(scene: Scene) -> None:
    [one] = mails(1)
    dead = scene.shards.dead(shard_for(one.id, SHARDS))
    await dead.publish(Message(message_for(one).data, {"mail_id": one.id, "dead_reason": "in_doubt"}))
    await scene.publish([one])
    async with scene.working():
        await wait_until(lambda: scene.a.accepted == [one], within=5.0)
        await wait_until(lambda: was_sent(scene, one), within=5.0)
        replayed = await DeadLetters(shards=scene.shards, ledger=scene.ledger).replay(Choice(), reason="r")

    assert (replayed.published, replayed.already_sent) == (0, 1)
    assert await scene.left() == []


async def was_sent(scene: Scene, mail: Mail) -> bool:
    return await scene.states([mail]) == {State.SENT}


async def test_when_all_providers_are_down_it_pulls_no_more_and_comes_back(scene: Scene) -> None:
    scene.a.always(ProviderDownError("down", provider="a"))
    scene.b.always(ProviderDownError("down", provider="b"))
    some = mails(30)
    await scene.publish(some)
    async with scene.working():
        await wait_until(lambda: len(scene.a.attempts) >= 2, within=5.0)
        await asyncio.sleep(0.2)
        attempts = len(scene.a.attempts) + len(scene.b.attempts)
        scene.a.always(Answer())
        await wait_until(lambda: len(scene.a.accepted) == 30, within=10.0)

    assert attempts < 40
    assert await scene.states(some) == {State.SENT}
    assert not await has(DeadLetters(shards=scene.shards, ledger=scene.ledger), 1)


async def test_without_the_ledger_nothing_is_sent_and_nothing_lost(scene: Scene) -> None:
    some = mails(10)
    async with scene.working():
        await asyncio.sleep(0.05)
        scene.ledger.is_away = True
        await scene.publish(some)
        await asyncio.sleep(0.3)
        assert not scene.a.attempts
        scene.ledger.is_away = False
        await wait_until(lambda: len(scene.a.accepted) == 10, within=10.0)

    assert await scene.states(some) == {State.SENT}


async def test_it_waits_for_a_ledger_that_is_away_when_it_starts(scene: Scene) -> None:
    scene.ledger.is_away = True
    await scene.publish(mails(3))
    async with scene.working():
        await asyncio.sleep(0.2)
        assert not scene.a.attempts
        scene.ledger.is_away = False
        await wait_until(lambda: len(scene.a.accepted) == 3, within=5.0)


async def test_a_queue_that_fails_now_and_then_is_pulled_again(scene: Scene) -> None:
    queue = scene.flaky(0)
    await scene.publish(mails(20))
    queue.failures = 2
    async with scene.working():
        await wait_until(lambda: len(scene.a.accepted) == 20, within=10.0)


async def test_stopping_finishes_what_is_in_flight_and_gives_back_the_rest_at_once(scene: Scene) -> None:
    scene.a.always(Answer(delay=0.4))
    some = mails(40)
    await scene.publish(some)
    async with scene.working(concurrency=5) as worker:
        await wait_until(lambda: worker.in_flight == 5, within=5.0)
        worker.stop()
        await asyncio.sleep(0.1)
        assert worker.in_flight == 5

    assert len(scene.a.accepted) == 5
    assert await scene.states(scene.a.accepted) == {State.SENT}
    left = await scene.left()
    assert len(left) == 35


async def test_what_does_not_end_within_grace_is_left_in_doubt_and_given_back(scene: Scene) -> None:
    scene.a.always(Answer(delay=30.0))
    scene.a._timeout = 30.0
    some = mails(5)
    await scene.publish(some)
    began = asyncio.get_running_loop().time()
    worker = scene.worker(grace=0.8)
    worker._courier._limits = Limits(lease=60.0, budget=50.0)
    running = asyncio.ensure_future(worker.run())
    await wait_until(lambda: worker.in_flight == 5, within=5.0)
    worker.stop()
    await asyncio.wait_for(running, 5.0)

    assert asyncio.get_running_loop().time() - began < 3.0
    assert await scene.states(some) == {State.IN_DOUBT}
    assert len(await scene.left()) == 5


async def test_stopping_again_breaks_off_at_once(scene: Scene) -> None:
    scene.a.always(Answer(delay=30.0))
    scene.a._timeout = 30.0
    await scene.publish(mails(5))
    worker = scene.worker(grace=20.0)
    worker._courier._limits = Limits(lease=60.0, budget=50.0)
    running = asyncio.ensure_future(worker.run())
    await wait_until(lambda: worker.in_flight == 5, within=5.0)
    worker.stop()
    worker.stop()

    await asyncio.wait_for(running, 3.0)
    assert worker.in_flight == 0


@pytest.mark.parametrize("when", ["before", "at once", "twice"])
async def test_stopping_at_any_time_is_fine(scene: Scene, when: str) -> None:
    worker = scene.worker()
    if when == "before":
        worker.stop()
    running = asyncio.ensure_future(worker.run())
    await asyncio.sleep(0)
    worker.stop()
    if when == "twice":
        worker.stop()

    await asyncio.wait_for(running, 5.0)


async def test_a_producer_serves_threads_and_asyncio_and_waits_for_all_when_it_closes(scene: Scene) -> None:
    some = mails(300)
    producer = Producer(lambda: scene.shards, clock=scene.clock)
    await asyncio.gather(*(producer.apublish(mail) for mail in some[:100]))
    futures = [producer.publish(mail) for mail in some[100:]]
    await asyncio.to_thread(producer.close)
    producer.close()

    assert [future.result(0) for future in futures] == [mail.id for mail in some[100:]]
    assert len(await scene.left()) == 300
    with pytest.raises(RuntimeError):
        producer.publish(some[0])


def test_a_producer_can_be_closed_unused() -> None:
    Producer(lambda: MemoryShards(Cluster(SystemClock())), clock=SystemClock()).close()


async def test_a_producer_publishes_again_when_the_queue_is_out_of_reach_for_a_while(scene: Scene) -> None:
    [one] = mails(1)
    scene.flaky(shard_for(one.id, SHARDS)).failures = 2
    async with Producer(lambda: scene.shards, clock=scene.clock) as producer:
        assert await producer.apublish(one) == one.id

    assert len(await scene.left()) == 1


async def test_a_producer_gives_up_with_the_queues_own_error(scene: Scene) -> None:
    [one] = mails(1)
    scene.flaky(shard_for(one.id, SHARDS)).failures = 1_000
    async with Producer(lambda: scene.shards, clock=scene.clock, patience=0.3) as producer:
        with pytest.raises(QueueUnavailableError):
            await producer.apublish(one)


async def test_a_surprise_in_one_shard_stops_no_other(scene: Scene) -> None:
    class Surprising(MemoryQueue):
        async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
            raise ValueError("an address: ann@example.org")

    scene.shards._queues[0] = Surprising("surprising", scene.clock, 10.0)
    some = [mail for mail in mails(40) if shard_for(mail.id, SHARDS)]
    await scene.publish(some)
    with structlog.testing.capture_logs() as logs:
        async with scene.working():
            await wait_until(lambda: len(scene.a.accepted) == len(some), within=5.0)

    failures = [event for event in logs if event["event"] == "pull_failed"]
    assert failures[0]["reason"] == "ValueError"
    assert "ann@example.org" not in str(logs)


async def test_a_setting_that_turns_out_wrong_ends_the_worker_after_a_drain(scene: Scene) -> None:
    class Wrong(MemoryQueue):
        async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
            await asyncio.sleep(0.1)
            raise ConfigError("the file is read-only")

    scene.a.always(Answer(delay=0.3))
    scene.shards._queues[0] = Wrong("wrong", scene.clock, 10.0)
    some = [mail for mail in mails(8) if shard_for(mail.id, SHARDS)]
    await scene.publish(some)
    with pytest.raises(ConfigError):
        await scene.worker().run()

    assert await scene.states(scene.a.attempts) == {State.SENT}


@pytest.mark.parametrize("attempt", [1, 1_500])
async def test_a_mail_that_surprises_is_given_back_and_its_place_is_free_again(scene: Scene, attempt: int) -> None:
    class Surprising(FakeProvider):
        async def send(self, mail: Mail, *, timeout: float | None = None) -> Receipt:
            self.attempts.append(mail)
            raise ValueError("an address: ann@example.org")

    scene.a = Surprising("a", clock=scene.clock, timeout=1.0)
    [one] = mails(1)
    await scene.publish([one])
    queue = scene.shards._queues[shard_for(one.id, SHARDS)]
    next(iter(queue._stored.values())).attempts = attempt - 1
    with structlog.testing.capture_logs() as logs:
        async with scene.working() as worker:
            await wait_until(lambda: scene.a.attempts, within=5.0)
            await wait_until(lambda: not worker.in_flight, within=5.0)
            assert worker._leases.kept == 0

    assert "ann@example.org" not in str(logs)
    assert await scene.left() == []


async def test_copies_of_one_id_with_other_bytes_are_letters_of_their_own(scene: Scene) -> None:
    dead = scene.shards.dead(0)
    for data in (b"first", b"first", b"second"):
        await dead.publish(Message(data, {"mail_id": "x", "dead_reason": "conflict"}))
    letters = DeadLetters(shards=scene.shards, ledger=scene.ledger)

    assert len(await letters.find(Choice())) == 2
    assert (await letters.replay(Choice(), reason="r")).published == 2
    assert sorted(delivery.message.data for delivery in await scene.left()) == [b"first", b"second"]


async def test_a_doubt_whose_dead_letter_the_ledger_does_not_know_yet_is_not_replayed(scene: Scene) -> None:
    [one] = mails(1)
    answer = await scene.ledger.claim(one.id, claim_id="c", digest="d", provider="a", lease=3.0)
    assert isinstance(answer, Claimed)
    await scene.ledger.record_doubt(answer.claim, reason="no answer")
    await scene.shards.dead(0).publish(Message(b"x", {"mail_id": one.id, "dead_reason": "in_doubt"}))
    letters = DeadLetters(shards=scene.shards, ledger=scene.ledger)

    assert (await letters.replay(Choice(), reason="r")).held == 1
    await scene.ledger.park(one.id)
    assert (await letters.replay(Choice(), reason="r")).published == 1


async def test_looking_at_dead_letters_ends_however_slowly_they_come(scene: Scene) -> None:
    class Slow(MemoryQueue):
        async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
            clock.jump(8.0)
            return await super().pull(max_deliveries=1, wait=wait)

    clock = Jumping()
    queue = Slow("slow", clock, 10.0)
    scene.shards._dead[0] = queue
    for number in range(20):
        await queue.publish(Message(b"x", {"mail_id": f"{number}", "dead_reason": "refused"}))
    found = await asyncio.wait_for(DeadLetters(shards=scene.shards, ledger=scene.ledger).find(Choice()), 5.0)

    assert len(found) == 20
    assert all(len(letter.copies) == 1 for letter in found)


async def test_looking_that_is_broken_off_gives_the_letters_back(scene: Scene) -> None:
    class Hanging(MemoryQueue):
        pulls = 0

        async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
            self.pulls += 1
            if self.pulls == 2:
                await asyncio.sleep(30.0)
            return await super().pull(max_deliveries=1, wait=wait)

    queue = Hanging("hanging", scene.clock, 10.0)
    scene.shards._dead[0] = queue
    await queue.publish(Message(b"x", {"mail_id": "1"}))
    looking = asyncio.ensure_future(DeadLetters(shards=scene.shards, ledger=scene.ledger).find(Choice()))
    await wait_until(lambda: queue.pulls == 2, within=5.0)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking

    assert len(await queue.pull(max_deliveries=1, wait=0)) == 1


async def test_a_surprise_while_it_settles_is_logged_and_its_place_is_free_again(scene: Scene) -> None:
    class Surprising(MemoryQueue):
        async def ack(self, delivery: Delivery) -> None:
            raise ValueError("an address: ann@example.org")

    [one] = mails(1)
    shard = shard_for(one.id, SHARDS)
    scene.shards._queues[shard] = Surprising("surprising", scene.clock, 10.0)
    await scene.publish([one])
    with structlog.testing.capture_logs() as logs:
        async with scene.working() as worker:
            await wait_until(lambda: scene.a.accepted and not worker.in_flight, within=5.0)

    assert [event["reason"] for event in logs if event["event"] == "not_settled"] == ["ValueError"]
    assert "ann@example.org" not in str(logs)
    assert worker._guard.held == 0
