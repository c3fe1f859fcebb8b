"""What the queue in memory promises beyond the contract."""

import asyncio

import pytest

from postman.adapters.memory import MemoryShards, open_shards
from postman.errors import QueueUnavailableError
from postman.ports.opening import Cluster
from postman.ports.queue import Message
from postman.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(auto=False)


@pytest.fixture
def shards(clock: FakeClock) -> MemoryShards:
    return open_shards("", Cluster(clock, prefix="letters", shards=3, ack_deadline=10.0))


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_queues_are_named_as_on_a_cloud(shards: MemoryShards) -> None:
    assert [shards.queue(shard).name for shard in range(3)] == ["letters-mail-0", "letters-mail-1", "letters-mail-2"]
    assert shards.dead(2).name == "letters-mail-2-dead"


async def test_messages_come_oldest_first(shards: MemoryShards) -> None:
    queue = shards.queue(0)
    for text in (b"a", b"b", b"c"):
        await queue.publish(Message(text))
    first = await queue.pull(max_deliveries=2, wait=0.0)
    await queue.nack(first[0])
    rest = await queue.pull(max_deliveries=5, wait=0.0)

    assert [delivery.message.data for delivery in first] == [b"a", b"b"]
    assert [delivery.message.data for delivery in rest] == [b"a", b"c"]


async def test_a_lease_ends_to_the_moment(shards: MemoryShards, clock: FakeClock) -> None:
    queue = shards.queue(0)
    await queue.publish(Message(b"a"))
    [delivery] = await queue.pull(max_deliveries=1, wait=0.0)
    await clock.advance(9.999)
    early = await queue.pull(max_deliveries=1, wait=0.0)
    await clock.advance(0.002)
    late = await queue.pull(max_deliveries=1, wait=0.0)

    assert delivery.lease_ends - 1_000.0 == 10.0
    assert early == []
    assert [again.attempt for again in late] == [2]


async def test_a_lease_that_is_over_cannot_be_extended(shards: MemoryShards, clock: FakeClock) -> None:
    queue = shards.queue(0)
    await queue.publish(Message(b"a"))
    [delivery] = await queue.pull(max_deliveries=1, wait=0.0)
    await clock.advance(11.0)
    await queue.extend([delivery], 60.0)

    assert len(await queue.pull(max_deliveries=1, wait=0.0)) == 1


async def test_a_late_ack_takes_effect_as_long_as_nobody_else_was_handed_the_message(
    shards: MemoryShards, clock: FakeClock
) -> None:
    queue = shards.queue(0)
    await queue.publish(Message(b"a"))
    [delivery] = await queue.pull(max_deliveries=1, wait=0.0)
    await clock.advance(11.0)
    await queue.ack(delivery)

    assert await queue.pull(max_deliveries=1, wait=0.0) == []


async def test_a_pull_waits_by_the_clock_handed_in(shards: MemoryShards, clock: FakeClock) -> None:
    pulling = asyncio.ensure_future(shards.queue(0).pull(max_deliveries=1, wait=3_600.0))
    await _turns()
    await clock.advance(3_599.0)
    was_waiting = not pulling.done()
    await clock.advance(2.0)

    assert was_waiting
    assert pulling.done()
    assert pulling.result() == []


async def test_a_waiting_pull_gets_a_lapsed_message_to_the_moment(shards: MemoryShards, clock: FakeClock) -> None:
    queue = shards.queue(0)
    await queue.publish(Message(b"a"))
    await queue.pull(max_deliveries=1, wait=0.0)
    pulling = asyncio.ensure_future(queue.pull(max_deliveries=1, wait=3_600.0))
    await _turns()
    await clock.advance(9.999)
    was_waiting = not pulling.done()
    await clock.advance(0.002)

    assert was_waiting
    assert pulling.done()
    assert [delivery.attempt for delivery in pulling.result()] == [2]


async def test_all_who_wait_see_what_arrives_without_the_clock_moving(shards: MemoryShards) -> None:
    queue = shards.queue(0)
    pulls = [asyncio.ensure_future(queue.pull(max_deliveries=1, wait=60.0)) for _ in range(3)]
    await _turns()
    await asyncio.gather(*(queue.publish(Message(bytes([n]))) for n in range(3)))
    async with asyncio.timeout(1.0):
        found = await asyncio.gather(*pulls)

    assert sorted(delivery.message.data[0] for [delivery] in found) == [0, 1, 2]


async def test_a_pull_that_is_cancelled_takes_nothing_along(shards: MemoryShards) -> None:
    queue = shards.queue(0)
    pulling = asyncio.ensure_future(queue.pull(max_deliveries=1, wait=60.0))
    await _turns()
    pulling.cancel()
    await asyncio.gather(pulling, return_exceptions=True)
    await queue.publish(Message(b"a"))

    assert len(await queue.pull(max_deliveries=1, wait=0.0)) == 1


async def test_closing_keeps_what_another_worker_shares(shards: MemoryShards) -> None:
    await shards.queue(0).publish(Message(b"a"))
    await shards.aclose()

    assert len(await shards.queue(0).pull(max_deliveries=1, wait=0.0)) == 1


async def test_making_names_every_queue(shards: MemoryShards) -> None:
    assert len(await shards.ensure()) == 6


async def test_what_was_made_for_some_is_missing_for_others(shards: MemoryShards) -> None:
    """As on a cloud, each shard is made by itself."""
    await shards.ensure([1, 7])
    await shards.check(7)
    with pytest.raises(QueueUnavailableError, match=r"letters-mail-2 .*postman init"):
        await shards.check(2)

    assert list(await shards.ensure()) == [
        "letters-mail-0",
        "letters-mail-2",
        "letters-mail-0-dead",
        "letters-mail-2-dead",
    ]
