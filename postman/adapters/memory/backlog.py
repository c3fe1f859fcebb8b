"""The backlog of queues in this process's memory, exact at every look."""

from collections.abc import Mapping, Sequence

from postman.adapters.memory.queue import MemoryQueue, MemoryShards, open_shards
from postman.ports.backlog import Backlog
from postman.ports.clock import Clock
from postman.ports.opening import Cluster

__all__ = ["MemoryBacklogs", "open_backlogs"]


class MemoryBacklogs:
    """Counts the queues of *shards*."""

    def __init__(self, shards: MemoryShards, clock: Clock) -> None:
        self._shards = shards
        self._clock = clock

    async def look(self, shards: Sequence[int]) -> Mapping[int, Backlog]:
        return {shard: self._backlog(self._shards.kept(shard)) for shard in shards}

    async def look_dead(self, shards: Sequence[int]) -> Mapping[int, Backlog]:
        return {shard: self._backlog(self._shards.kept(shard, dead=True)) for shard in shards}

    async def aclose(self) -> None:
        """Nothing to close; the queues are others'."""

    def _backlog(self, queue: MemoryQueue) -> Backlog:
        now, since = self._clock.time(), queue.oldest
        return Backlog(queue.depth, 0.0 if since is None else max(0.0, now - since), now)


def open_backlogs(rest: str, cluster: Cluster) -> MemoryBacklogs:
    """Return the backlog of new, empty queues. Raises `ConfigError` if *rest* is not empty."""
    return MemoryBacklogs(open_shards(rest, cluster), cluster.clock)
