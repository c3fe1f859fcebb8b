from collections.abc import AsyncIterator

import pytest

from postman.adapters.memory.queue import MemoryShards, open_shards
from postman.errors import ConfigError
from postman.ports.opening import Cluster
from postman.ports.queue import ShardMap
from postman.testing.clock import FakeClock
from postman.testing.queue import OpenAgain, QueueSuite


def _cluster(clock: FakeClock) -> Cluster:
    return Cluster(clock, shards=2, ack_deadline=10.0)


class TestMemoryQueue(QueueSuite):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    async def shards(self, clock: FakeClock) -> AsyncIterator[MemoryShards]:
        shards = open_shards("", _cluster(clock))
        await shards.ensure()
        yield shards
        await shards.aclose()

    @pytest.fixture
    def open_again(self, shards: MemoryShards) -> OpenAgain:
        """Another worker shares the messages by sharing the object."""
        return lambda: shards

    @pytest.fixture
    def unmade(self, clock: FakeClock) -> ShardMap:
        return open_shards("", _cluster(clock))


def test_nothing_may_follow_the_scheme() -> None:
    with pytest.raises(ConfigError, match="memory"):
        open_shards("somewhere", _cluster(FakeClock()))
