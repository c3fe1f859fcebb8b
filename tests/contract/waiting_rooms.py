"""Fills the queues of a `ShardMap`, as if it had been done some time ago."""

from collections.abc import Callable, Sequence

from postman.ports.queue import Message, ShardMap
from postman.testing.clock import FakeClock

__all__ = ["PastClock", "QueueRoom"]


class PastClock(FakeClock):
    """May be *behind* by some seconds."""

    behind = 0.0

    def time(self) -> float:
        return super().time() - self.behind


class QueueRoom:
    """A `WaitingRoom`; *open_shards* is called once for each prefix."""

    def __init__(self, open_shards: Callable[[str], ShardMap], clock: PastClock) -> None:
        self._open_shards = open_shards
        self._clock = clock
        self._opened: dict[str, ShardMap] = {}

    def shards(self, prefix: str = "postman") -> ShardMap:
        if prefix not in self._opened:
            self._opened[prefix] = self._open_shards(prefix)
        return self._opened[prefix]

    async def fill(self, shard: int, ages: Sequence[float], *, dead: bool = False, prefix: str = "postman") -> None:
        """Publish the oldest first, as it was."""
        shards = self.shards(prefix)
        queue = shards.dead(shard) if dead else shards.queue(shard)
        for self._clock.behind in sorted(ages, reverse=True):
            await queue.publish(Message(b"{}", {}))
        self._clock.behind = 0.0

    async def aclose(self) -> None:
        for shards in self._opened.values():
            await shards.aclose()
