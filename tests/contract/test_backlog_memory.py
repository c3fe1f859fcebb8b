"""The memory queues' backlog keeps the contract, and counts what is in a worker's hands."""

import pytest

from postman.adapters.memory import MemoryBacklogs, MemoryShards, open_backlogs
from postman.errors import ConfigError
from postman.ports.opening import Cluster
from postman.testing.backlog_suite import BacklogSuite
from postman.testing.clock import FakeClock
from tests.contract.waiting_rooms import PastClock, QueueRoom


@pytest.fixture
def clock() -> PastClock:
    return PastClock()


@pytest.fixture
def shards(clock: PastClock) -> MemoryShards:
    return MemoryShards(Cluster(clock))


@pytest.fixture
def waiting_room(shards: MemoryShards, clock: PastClock) -> QueueRoom:
    return QueueRoom(
        lambda prefix: shards if prefix == "postman" else MemoryShards(Cluster(clock, prefix=prefix)), clock
    )


@pytest.fixture
def backlogs(shards: MemoryShards, clock: PastClock) -> MemoryBacklogs:
    return MemoryBacklogs(shards, clock)


class TestMemoryBacklogs(BacklogSuite):
    """The contract."""


async def test_what_is_in_a_workers_hands_is_counted(
    backlogs: MemoryBacklogs, shards: MemoryShards, waiting_room: QueueRoom
) -> None:
    """It comes back if that worker dies; once settled it is gone."""
    await waiting_room.fill(0, [30.0, 20.0])
    [oldest] = await shards.queue(0).pull(max_deliveries=1, wait=0.0)

    assert (await backlogs.look([0]))[0].count == 2

    await shards.queue(0).ack(oldest)
    left = (await backlogs.look([0]))[0]
    assert (left.count, left.oldest_age) == (1, 20.0)


def test_memory_has_no_place() -> None:
    """A path after `memory:` is a misunderstanding, and is told so."""
    assert isinstance(open_backlogs("", Cluster(FakeClock())), MemoryBacklogs)
    with pytest.raises(ConfigError, match="memory:"):
        open_backlogs("file.db", Cluster(FakeClock()))
