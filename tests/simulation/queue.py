"""The queues: stores that hand messages out under leases, and what a process sees of them.

Delivery semantics: at least once. Chance hands a message out before its lease is over, makes two of one, and puts them
out of order; acks, extensions and givings-back may be lost without an error, as on Pub/Sub. A pull that waits is woken
by what happens, not by time, so that waiting costs no steps.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from postman.adapters._numbered import Numbered
from postman.adapters._settling import Settling
from postman.errors import DeliverySettledError, QueueUnavailableError
from postman.ports.queue import Delivery, Message
from tests.simulation.network import Line, Respond
from tests.simulation.process import Process
from tests.simulation.stage import Stage
from tests.simulation.watch import Watch

__all__ = ["QueueStore", "SimQueue", "SimShards", "Town"]

_MAY_BE_DROPPED: Final = ("ack", "nack", "extend")


@dataclass(slots=True, eq=False)
class _Stored:
    number: int
    message: Message
    published_at: float
    free_at: float
    attempts: int = 0
    receipt: str = ""


@dataclass(slots=True, eq=False)
class _Pull:
    most: int
    respond: Respond
    is_over: bool = False


class QueueStore:
    """One queue, as its service keeps it; *is_dead* for dead letters."""

    def __init__(self, stage: Stage, watch: Watch, name: str, *, ack_deadline: float, is_dead: bool) -> None:
        self.name = name
        self.is_dead = is_dead
        self.ack_deadline = ack_deadline
        self._stage = stage
        self._watch = watch
        self._random = stage.random(f"queue {name}")
        self._numbers = 0
        self._stored: dict[int, _Stored] = {}
        self._held: dict[str, _Stored] = {}
        self._pulls: list[_Pull] = []

    @property
    def messages(self) -> Sequence[Message]:
        """Return all that is there, handed out or not."""
        return [stored.message for stored in self._stored.values()]

    def publish(self, process: Process, message: Message) -> None:
        self._numbers += 1
        now = self._stage.loop.time()
        self._stored[self._numbers] = _Stored(self._numbers, message, self._stage.time(), now)
        self._watch.published(process, message, is_dead=self.is_dead)
        self._look()

    def pull(self, process: Process, most: int, wait: float, respond: Respond) -> None:
        if not self.is_dead:
            self._watch.pulled(process, self.name)
        pull = _Pull(most, respond)
        self._pulls.append(pull)
        self._look()
        if not pull.is_over and wait > 0:
            self._stage.after(wait, self._end, pull)
        elif not pull.is_over:
            self._end(pull)

    def extend(self, receipts: Sequence[str], seconds: float) -> None:
        now = self._stage.loop.time()
        for receipt in receipts:
            stored = self._held.get(receipt)
            if stored is not None and stored.free_at > now:
                stored.free_at = now + seconds
        self._stage.after(seconds, self._look)

    def ack(self, process: Process, receipt: str) -> None:
        stored = self._held.pop(receipt, None)
        if stored is not None:
            del self._stored[stored.number]
            self._watch.acked(process, stored.message, is_dead=self.is_dead)

    def nack(self, receipt: str, delay: float) -> None:
        stored = self._held.pop(receipt, None)
        if stored is not None:
            self._free_after(stored, delay)

    def _free_after(self, stored: _Stored, delay: float) -> None:
        stored.free_at = self._stage.loop.time() + delay
        if delay > 0:
            self._stage.after(delay, self._look)
        else:
            self._look()

    def _look(self) -> None:
        """Hand out what is free to those who wait."""
        while self._pulls:
            now = self._stage.loop.time()
            free = [stored for stored in self._stored.values() if stored.free_at <= now]
            if not free:
                return
            pull = self._pulls.pop(0)
            if self._stage.chance(self._random, "queue.disorder"):
                self._random.shuffle(free)
            pull.is_over = True
            pull.respond([self._hand_out(stored, now) for stored in free[: pull.most]])

    def _hand_out(self, stored: _Stored, now: float) -> tuple[Message, str, int, float]:
        if stored.receipt in self._held:
            self._stage.reached("a lease at the queue ran out")
            del self._held[stored.receipt]
        stored.attempts += 1
        stored.receipt = f"{stored.number}.{stored.attempts}"
        self._held[stored.receipt] = stored
        stored.free_at = now + self.ack_deadline
        if self._stage.chance(self._random, "queue.early"):
            self._stage.reached("handed out before the lease was over")
            self._free_early(stored, self._random.random() * self.ack_deadline / 2)
        else:
            self._stage.after(self.ack_deadline, self._look)
        if self._stage.chance(self._random, "queue.copied"):
            self._stage.reached("one message became two")
            self._numbers += 1
            self._stored[self._numbers] = _Stored(self._numbers, stored.message, stored.published_at, now)
            self._stage.after(0.0, self._look)
        return stored.message, stored.receipt, stored.attempts, stored.published_at

    def _free_early(self, stored: _Stored, delay: float) -> None:
        stored.free_at = self._stage.loop.time() + delay
        self._stage.after(delay, self._look)

    def _end(self, pull: _Pull) -> None:
        if not pull.is_over:
            pull.is_over = True
            self._pulls.remove(pull)
            pull.respond([])


class Town:
    """All stores of a cluster's queues; *count* of its shards are those of the settings."""

    def __init__(self, stage: Stage, watch: Watch, *, count: int, ack_deadline: float) -> None:
        self.count = count
        self.by_number = Numbered(
            lambda shard: QueueStore(stage, watch, f"mail-{shard}", ack_deadline=ack_deadline, is_dead=False)
        )
        self.dead_by_number = Numbered(
            lambda shard: QueueStore(stage, watch, f"mail-{shard}-dead", ack_deadline=ack_deadline, is_dead=True)
        )

    @property
    def queues(self) -> Sequence[QueueStore]:
        """Return those that anybody asked for."""
        return list(self.by_number.values())

    @property
    def dead(self) -> Sequence[QueueStore]:
        """Return the dead letters that anybody asked for."""
        return list(self.dead_by_number.values())

    @property
    def is_empty(self) -> bool:
        """Whether no mail waits or is handed out."""
        return not any(queue.messages for queue in self.queues)


class SimQueue:
    """What a process sees of one queue."""

    def __init__(self, stage: Stage, process: Process, store: QueueStore, line: Line) -> None:
        self._stage = stage
        self._process = process
        self._store = store
        self._line = line
        self._settling = Settling()

    @property
    def name(self) -> str:
        return self._store.name

    async def publish(self, message: Message) -> None:
        subject = f"{message.attributes.get('mail_id')} to {self.name}"
        await self._line.call("publish", subject, lambda: self._store.publish(self._process, message))

    async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
        handed = await self._line.ask(
            "pull", self.name, lambda respond: self._store.pull(self._process, max_deliveries, wait, respond), wait=wait
        )
        ends = self._process.clock.now() + self._store.ack_deadline
        return [Delivery(message, receipt, attempt, ends, at) for message, receipt, attempt, at in handed]

    async def extend(self, deliveries: Sequence[Delivery], seconds: float) -> None:
        receipts = [delivery.receipt for delivery in deliveries]
        await self._line.call(
            "extend", self.name, lambda: self._store.extend(receipts, seconds), droppable=_MAY_BE_DROPPED
        )

    async def ack(self, delivery: Delivery) -> None:
        with self._once(delivery):
            await self._line.call(
                "ack",
                f"{delivery.message.attributes.get('mail_id')}",
                lambda: self._store.ack(self._process, delivery.receipt),
                droppable=_MAY_BE_DROPPED,
            )

    async def nack(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        with self._once(delivery):
            await self._line.call(
                "nack",
                f"{delivery.message.attributes.get('mail_id')} for {delay:.1f} s",
                lambda: self._store.nack(delivery.receipt, delay),
                droppable=_MAY_BE_DROPPED,
            )

    async def aclose(self) -> None:
        """Nothing to let go of."""

    @contextmanager
    def _once(self, delivery: Delivery) -> Iterator[None]:
        try:
            with self._settling.once(delivery.receipt):
                yield
        except DeliverySettledError:
            if self._process.name != "operator":  # a replay that is broken off gives back also what it has acked
                mail_id = delivery.message.attributes.get("mail_id")
                self._stage.wrong(f"surprise: {self._process.label} settles a delivery of {mail_id} twice")
            raise


class SimShards:
    """What a process sees of all queues."""

    def __init__(self, stage: Stage, process: Process, town: Town) -> None:
        line = Line(stage, process, "queue", stage.random(f"queue of {process.label}"), QueueUnavailableError)
        self._line = line
        self._town = town
        self._queues = Numbered(lambda shard: SimQueue(stage, process, town.by_number[shard], line))
        self._dead = Numbered(lambda shard: SimQueue(stage, process, town.dead_by_number[shard], line))

    @property
    def count(self) -> int:
        return self._town.count

    def queue(self, shard: int) -> SimQueue:
        return self._queues[shard]

    def dead(self, shard: int) -> SimQueue:
        return self._dead[shard]

    async def ensure(self, shards: Sequence[int] | None = None) -> Sequence[str]:
        return []

    async def check(self, shard: int) -> None:
        await self._line.call("check", self._queues[shard].name, lambda: None)

    async def depth(self, shard: int) -> int:
        store = self._town.by_number[shard]
        return await self._line.call("depth", store.name, lambda: len(store.messages))

    async def aclose(self) -> None:
        """Nothing to close."""
