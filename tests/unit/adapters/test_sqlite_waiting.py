"""Waiting at many queues costs one look for all of them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from postman.adapters.sqlite import open_shards
from postman.errors import ConfigError
from postman.ports.opening import Cluster
from postman.ports.queue import Message, ShardMap
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


async def test_all_who_wait_are_told_that_the_file_became_unusable(path: Path) -> None:
    clock = FakeClock(auto=False)
    shards = open_shards(str(path), Cluster(clock))
    await shards.ensure()
    pulls = [asyncio.ensure_future(shards.queue(shard).pull(max_deliveries=1, wait=60.0)) for shard in range(3)]
    await shards.queue(7).publish(Message(b"a"))
    for file in path.parent.iterdir():
        file.unlink()
    path.write_text("my notes\n" * 1_000)
    while not all(pull.done() for pull in pulls):
        await clock.advance(0.15)
    outcomes = await asyncio.gather(*pulls, return_exceptions=True)
    await shards.aclose()

    assert [type(outcome) for outcome in outcomes] == [ConfigError] * 3
