"""Waiting at many queues costs one look for all of them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from postman.adapters.sqlite import open_shards
from postman.adapters.sqlite._database import Database
from postman.adapters.sqlite.queue import SqliteShards
from postman.errors import ConfigError, QueueUnavailableError
from postman.ports.opening import Cluster
from postman.ports.queue import Delivery, Message, ShardMap
from postman.testing.clock import FakeClock


class CountingClock(FakeClock):
    """Counts the waits, of which there is one before each look."""

    def __init__(self) -> None:
        super().__init__()
        self.sleeps = 0

    async def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        await super().sleep(seconds)


@pytest.fixture
def clock() -> CountingClock:
    return CountingClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "postman.db"


@pytest.fixture
async def shards(path: Path, clock: CountingClock) -> AsyncIterator[ShardMap]:
    opened = open_shards(str(path), Cluster(clock))
    yield opened
    await opened.aclose()


async def test_eight_idle_queues_share_seven_looks_a_second(shards: ShardMap, clock: CountingClock) -> None:
    pulls = (shards.queue(shard).pull(max_deliveries=1, wait=60.0) for shard in range(8))

    assert await asyncio.gather(*pulls) == [[]] * 8
    assert clock.sleeps <= 60 / 0.15 + 15


async def test_each_waits_as_long_as_it_asked(shards: ShardMap, clock: CountingClock) -> None:
    async def waited(shard: int, wait: float) -> float:
        start = clock.now()
        await shards.queue(shard).pull(max_deliveries=1, wait=wait)
        return clock.now() - start

    times = await asyncio.gather(waited(0, 0.5), waited(0, 2.0), waited(1, 5.0), waited(2, 0.0))

    assert times == pytest.approx([0.5, 2.0, 5.0, 0.0], abs=0.16)


async def test_of_those_who_wait_only_the_right_one_is_given_a_message(shards: ShardMap, path: Path) -> None:
    """Also where another process published it."""
    real = open_shards(str(path), Cluster(FakeClock(auto=False)))
    await real.queue(3).publish(Message(b"a"))
    pulls = (shards.queue(shard).pull(max_deliveries=1, wait=1.0) for shard in range(8))
    found = await asyncio.gather(*pulls)
    await real.aclose()

    assert [len(deliveries) for deliveries in found] == [0, 0, 0, 1, 0, 0, 0, 0]


async def test_a_message_given_back_for_later_ends_a_wait_when_it_is_due(
    shards: ShardMap, clock: CountingClock
) -> None:
    await shards.queue(0).publish(Message(b"a"))
    [delivery] = await shards.queue(0).pull(max_deliveries=1, wait=0.0)
    await shards.queue(0).nack(delivery, delay=30.0)
    start = clock.now()
    [again] = await shards.queue(0).pull(max_deliveries=1, wait=60.0)

    assert again.message.data == b"a"
    assert clock.now() - start == pytest.approx(30.0, abs=0.2)


@pytest.fixture
async def still(path: Path) -> AsyncIterator[SqliteShards]:
    """Queues for which no time passes: no look at the file ends a wait."""
    opened = SqliteShards(Database(path, QueueUnavailableError), Cluster(FakeClock(auto=False)))
    yield opened
    await opened.aclose()


async def _start_waiting(shards: SqliteShards) -> "asyncio.Task[Sequence[Delivery]]":
    pulling = asyncio.create_task(shards.queue(0).pull(max_deliveries=1, wait=60.0))
    async with asyncio.timeout(5.0):
        while not shards._waiting._waiters:  # noqa: ASYNC110 — it has no event, and needs none
            await asyncio.sleep(0)
    return pulling


async def test_what_this_process_publishes_ends_a_wait_at_once(still: SqliteShards) -> None:
    """However seldom the looks have become."""
    pulling = await _start_waiting(still)
    await still.queue(0).publish(Message(b"a"))
    async with asyncio.timeout(5.0):
        [delivery] = await pulling

    assert delivery.message.data == b"a"


async def test_what_this_process_gives_back_ends_a_wait_at_once(still: SqliteShards) -> None:
    await still.queue(0).publish(Message(b"a"))
    [held] = await still.queue(0).pull(max_deliveries=1, wait=0.0)
    pulling = await _start_waiting(still)
    await still.queue(0).nack(held)
    async with asyncio.timeout(5.0):
        [delivery] = await pulling

    assert delivery.attempt == 2


async def test_closing_ends_a_wait(still: SqliteShards) -> None:
    pulling = await _start_waiting(still)
    await still.aclose()
    async with asyncio.timeout(5.0):
        assert await pulling == []


def _replace_with_notes(path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()
    path.write_text("my notes\n" * 1_000)


async def test_all_who_wait_are_told_that_the_file_became_unusable(path: Path) -> None:
    clock = FakeClock(auto=False)
    shards = open_shards(str(path), Cluster(clock))
    await shards.ensure()
    pulls = [asyncio.ensure_future(shards.queue(shard).pull(max_deliveries=1, wait=60.0)) for shard in range(3)]
    await shards.queue(7).publish(Message(b"a"))
    _replace_with_notes(path)
    while not all(pull.done() for pull in pulls):
        await clock.advance(0.15)
    outcomes = await asyncio.gather(*pulls, return_exceptions=True)
    await shards.aclose()

    assert [type(outcome) for outcome in outcomes] == [ConfigError] * 3
