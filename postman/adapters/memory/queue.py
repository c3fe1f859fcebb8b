"""Queues in memory, for tests, demonstrations and simulations.

Delivery semantics: at least once, within this process; oldest first. Attempts
are counted exactly, leases are kept by the clock handed in. Workers share the
messages by sharing the `ShardMap`, which closing does not empty. A queue works
before `ensure`; only `check` asks for it, as it would of a cloud.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice

from postman.adapters._numbered import Numbered
from postman.adapters._settling import Settling
from postman.errors import ConfigError, QueueUnavailableError
from postman.ports.clock import Clock
from postman.ports.opening import Cluster
from postman.ports.queue import Delivery, Message, Queue

__all__ = ["MemoryQueue", "MemoryShards", "open_shards"]

_LOOK = 0.05
"""Seconds that a wait sleeps at a time, at the least, so that a clock which jumps does not jump over what arrives."""


@dataclass(slots=True, eq=False)
class _Stored:
    message: Message
    published_at: float
    free_at: float
    attempts: int = 0


class MemoryQueue:
    """One queue; its messages are gone with it."""

    def __init__(self, name: str, clock: Clock, ack_deadline: float) -> None:
        self._name = name
        self._clock = clock
        self._ack_deadline = ack_deadline
        self._settling = Settling()
        self._numbers = count(1)
        self._stored: dict[int, _Stored] = {}
        self._held: dict[str, int] = {}
        self._news = asyncio.Event()

    @property
    def name(self) -> str:
        return self._name

    @property
    def depth(self) -> int:
        """How many messages are here, free or not."""
        return len(self._stored)

    @property
    def oldest(self) -> float | None:
        """When the oldest of them was published, in seconds since 1970."""
        return min((stored.published_at for stored in self._stored.values()), default=None)

    async def publish(self, message: Message) -> None:
        self._stored[next(self._numbers)] = _Stored(message, self._clock.time(), self._clock.now())
        self._tell()

    async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
        until = self._clock.now() + wait
        while not (taken := self._take(max_deliveries)) and self._clock.now() < until:
            due = min((stored.free_at for stored in self._stored.values()), default=until)
            await self._wait(min(min(due, until) - self._clock.now(), max(_LOOK, wait / 100)))
        return taken

    async def extend(self, deliveries: Sequence[Delivery], seconds: float) -> None:
        now = self._clock.now()
        for delivery in deliveries:
            number = self._held.get(delivery.receipt)
            if number is not None and self._stored[number].free_at > now:
                self._stored[number].free_at = now + seconds

    async def ack(self, delivery: Delivery) -> None:
        with self._settling.once(delivery.receipt):
            number = self._held.pop(delivery.receipt, None)
            if number is not None:
                del self._stored[number]

    async def nack(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        with self._settling.once(delivery.receipt):
            number = self._held.pop(delivery.receipt, None)
            if number is not None:
                self._stored[number].free_at = self._clock.now() + delay
                self._tell()

    async def aclose(self) -> None:
        """Keep what is stored: another may be using it."""

    def _take(self, limit: int) -> list[Delivery]:
        now = self._clock.now()
        free = (number for number, stored in self._stored.items() if stored.free_at <= now)
        return [self._hand_out(number, now) for number in list(islice(free, limit))]

    def _hand_out(self, number: int, now: float) -> Delivery:
        stored = self._stored[number]
        self._held.pop(f"{number}.{stored.attempts}", None)
        stored.attempts += 1
        stored.free_at = now + self._ack_deadline
        receipt = f"{number}.{stored.attempts}"
        self._held[receipt] = number
        return Delivery(stored.message, receipt, stored.attempts, stored.free_at, stored.published_at)

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _wait(self, seconds: float) -> None:
        tasks = {asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(self._news.wait())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()


class MemoryShards:
    """All queues of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        base = f"{cluster.prefix}-mail-"
        self._count = cluster.shards
        self._queues = Numbered(lambda shard: MemoryQueue(f"{base}{shard}", cluster.clock, cluster.ack_deadline))
        self._dead = Numbered(lambda shard: MemoryQueue(f"{base}{shard}-dead", cluster.clock, cluster.ack_deadline))
        self._made: set[int] = set()

    @property
    def count(self) -> int:
        return self._count

    def queue(self, shard: int) -> Queue:
        return self._queues[shard]

    def dead(self, shard: int) -> Queue:
        return self._dead[shard]

    def kept(self, shard: int, *, dead: bool = False) -> MemoryQueue:
        """Return the queue itself, for who looks into it."""
        return (self._dead if dead else self._queues)[shard]

    async def ensure(self, shards: Sequence[int] | None = None) -> Sequence[str]:
        wanted = range(self._count) if shards is None else shards
        missing = [shard for shard in wanted if shard not in self._made]
        names = [queues[shard].name for queues in (self._queues, self._dead) for shard in missing]
        self._made.update(missing)
        return names

    async def check(self, shard: int) -> None:
        if shard not in self._made:
            raise QueueUnavailableError(f"queue {self._queues[shard].name} does not exist: run `postman init`")

    async def depth(self, shard: int) -> int:
        return self._queues[shard].depth

    async def aclose(self) -> None:
        """Keep what is stored: another may be using it."""


def open_shards(rest: str, cluster: Cluster) -> MemoryShards:
    """Return new, empty queues. Raises `ConfigError` if *rest*, what follows `memory:`, is not empty."""
    if rest:
        raise ConfigError(f"nothing may follow memory: in the queue's URL, not {rest!r}")
    return MemoryShards(cluster)
