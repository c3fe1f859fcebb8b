"""What a worker holds is bounded in bytes, whatever lies in the queues, and no mail waits for ever because of it."""

import asyncio
from collections.abc import Sequence
from itertools import count

import pytest

from postman import Mail
from postman.adapters.clock import SystemClock
from postman.adapters.memory import MemoryLedger, MemoryQueue, MemoryShards
from postman.breaker import CircuitBreaker
from postman.core.message import Message
from postman.core.shards import shard_for
from postman.core.wire import message_for
from postman.ports.opening import Cluster
from postman.ports.queue import Delivery
from postman.runtime.courier import Limits
from postman.runtime.failover import Failover, Route
from postman.runtime.freight import LARGEST, Freight, weight_of
from postman.runtime.worker import Worker, WorkerSettings
from postman.testing.provider import Answer, FakeProvider
from postman.testing.waiting import wait_until
from tests.unit.runtime.courier_scene import mail

MEGABYTE = 1 << 20


def test_a_pull_asks_for_what_would_fit_if_all_were_as_large_as_can_be() -> None:
    freight = Freight(10 * LARGEST)
    assert freight.room(100) == 11
    assert freight.room(3) == 3
    with freight.expecting(5):
        assert freight.room(100) == 7
        freight.load(3 * LARGEST + 1)
        assert freight.room(100) == 3
    assert freight.room(100) == 7


def test_one_may_be_asked_for_as_long_as_there_is_any_room() -> None:
    """So pulls that only listen leave the room to those that bring many."""
    freight = Freight(2 * LARGEST)
    with freight.expecting(1), freight.expecting(1), freight.expecting(1):
        assert freight.room(100) == 3
    with freight.expecting(3):
        assert freight.room(100) == 1
        assert not freight.is_full
    freight.load(2 * LARGEST)
    assert freight.is_full


def test_a_mail_is_begun_beside_others_only_within_a_share_and_alone_always() -> None:
    freight = Freight(400)
    assert freight.may_begin(1_000)
    freight.begin(60)
    assert freight.may_begin(40)
    assert not freight.may_begin(41)
    freight.end(60)
    assert freight.may_begin(1_000)


class Watched(MemoryQueue):
    """Tells how many messages it is asked for, and counts the bytes that were handed out and not settled."""

    open_pulls: dict["Watched", int] = {}  # noqa: RUF012 — shared on purpose: what all queues together are asked for
    out = 0
    most_out = 0
    most_asked = 0

    async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
        self.open_pulls[self] = max_deliveries
        Watched.most_asked = max(Watched.most_asked, sum(self.open_pulls.values()))
        deliveries = await super().pull(max_deliveries=max_deliveries, wait=wait)
        del self.open_pulls[self]
        Watched.out += sum(weight_of(each.message) for each in deliveries)
        Watched.most_out = max(Watched.most_out, Watched.out)
        return deliveries

    async def ack(self, delivery: Delivery) -> None:
        Watched.out -= weight_of(delivery.message)
        await super().ack(delivery)

    async def nack(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        Watched.out -= weight_of(delivery.message)
        await super().nack(delivery, delay=delay)


class Scene:
    """A worker in memory with little memory."""

    def __init__(self, *, shards: int = 4) -> None:
        self.clock = SystemClock()
        self.shards = MemoryShards(Cluster(self.clock, shards=shards, ack_deadline=30.0))
        self.shards._queues.update({n: Watched(f"q-{n}", self.clock, 30.0) for n in range(shards)})
        self.provider = FakeProvider("a", clock=self.clock, timeout=10.0)
        self.ledger = MemoryLedger(self.clock)
        Watched.open_pulls, Watched.out, Watched.most_out, Watched.most_asked = {}, 0, 0, 0

    def worker(self, *, memory: int, concurrency: int = 50) -> Worker:
        ids = count()
        route = Route(self.provider, CircuitBreaker("a"), weight=1.0)
        return Worker(
            shards=self.shards,
            ledger=self.ledger,
            failover=Failover([route], clock=self.clock),
            clock=self.clock,
            settings=WorkerSettings(
                limits=Limits(lease=30.0, budget=25.0), concurrency=concurrency, memory=memory, pull_wait=0.1, grace=2.0
            ),
            new_claim_id=lambda: f"c-{next(ids)}",
        )

    async def publish(self, mails: Sequence[Mail]) -> None:
        await self.shards.ensure()
        for one in mails:
            await self.shards.queue(shard_for(one.id, self.shards.count)).publish(message_for(one))


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def finish(worker: Worker, running: "asyncio.Future[None]") -> None:
    worker.stop()
    await asyncio.wait_for(running, 10.0)


async def test_no_more_is_held_than_the_budget_and_a_largest_message_for_each_shard(scene: Scene) -> None:
    """Mails of every size lie there, more of them than would fit; all are sent."""
    memory = 4 * LARGEST
    sizes = [4 * MEGABYTE] * 40 + [1_000] * 200 + [MEGABYTE] * 60
    mails = [mail(id=f"m-{number}", text="x" * size) for number, size in enumerate(sizes)]
    await scene.publish(mails)
    worker = scene.worker(memory=memory)
    running = asyncio.ensure_future(worker.run())
    await wait_until(lambda: len(scene.provider.accepted) == len(mails), within=60.0)
    await finish(worker, running)

    assert Watched.most_out <= memory + scene.shards.count * LARGEST
    assert Watched.most_out > memory / 2, "it is the bound that held it, not the want of mails"
    assert Watched.most_asked <= max(memory // LARGEST, 0) + scene.shards.count
    assert (Watched.out, worker._freight.held, worker._freight._busy) == (0, 0, 0)


async def test_no_more_is_dealt_with_at_a_time_than_a_quarter_of_the_budget(scene: Scene) -> None:
    """Reading a mail and writing it anew takes a few times its size; small ones are dealt with all the same."""
    mails = [mail(id=f"m-{number}", text="x" * 2 * MEGABYTE) for number in range(12)]
    scene.provider.always(Answer(delay=0.05))
    await scene.publish(mails)
    worker = scene.worker(memory=32 * MEGABYTE)
    running = asyncio.ensure_future(worker.run())
    most = 0
    while len(scene.provider.accepted) < len(mails):
        most = max(most, worker._freight._busy)
        await asyncio.sleep(0.002)
    await finish(worker, running)

    assert 2 * MEGABYTE < most <= 8 * MEGABYTE


async def test_a_mail_larger_than_its_share_is_sent_alone(scene: Scene) -> None:
    mails = [mail(id=f"m-{number}", text="x" * 9 * MEGABYTE) for number in range(3)]
    await scene.publish(mails)
    worker = scene.worker(memory=MEGABYTE)
    running = asyncio.ensure_future(worker.run())
    await wait_until(lambda: len(scene.provider.accepted) == 3, within=10.0)
    await finish(worker, running)


async def test_a_worker_that_is_full_drains_and_gives_back_what_it_did_not_begin(scene: Scene) -> None:
    mails = [mail(id=f"m-{number}", text="x" * MEGABYTE) for number in range(30)]
    scene.provider.always(Answer(delay=0.3))
    await scene.publish(mails)
    worker = scene.worker(memory=2 * MEGABYTE)
    running = asyncio.ensure_future(worker.run())
    await wait_until(lambda: worker._freight.is_full, within=5.0)
    await finish(worker, running)

    assert Watched.out == 0
    left = [len(queue._stored) for queue in scene.shards._queues.values()]
    assert sum(left) + len(scene.provider.accepted) == len(mails)


async def test_small_mails_are_pulled_by_the_dozen(scene: Scene) -> None:
    """The bound costs the usual mails nothing: with the usual budget a backlog is pulled in large groups."""
    await scene.publish([mail(id=f"m-{number}") for number in range(400)])
    worker = scene.worker(memory=256 * MEGABYTE)
    running = asyncio.ensure_future(worker.run())
    await wait_until(lambda: len(scene.provider.accepted) == 400, within=20.0)
    await finish(worker, running)

    assert Watched.most_asked > 20


@pytest.mark.parametrize("shards", [1, 8, 64])
async def test_an_idle_worker_listens_at_every_shard(shards: int) -> None:
    scene = Scene(shards=shards)
    await scene.shards.ensure()
    worker = scene.worker(memory=32 * MEGABYTE)
    running = asyncio.ensure_future(worker.run())
    await wait_until(lambda: len(Watched.open_pulls) == shards, within=2.0)
    await finish(worker, running)


def test_attributes_count() -> None:
    assert weight_of(Message(b"123", {"ab": "cdef"})) == 9
