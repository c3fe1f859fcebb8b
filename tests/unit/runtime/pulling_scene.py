"""A cluster in memory and in virtual time whose layout changes, with queues that can be watched and can fail."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import wraps
from itertools import count
from random import Random
from typing import Any

from postman import Address, Mail
from postman.adapters._numbered import Numbered
from postman.adapters.memory import MemoryLayouts, MemoryLedger, MemoryQueue, MemoryShards
from postman.breaker import CircuitBreaker
from postman.core.ids import MailId
from postman.core.layout import Layout
from postman.core.wire import message_for
from postman.errors import ProviderError, QueueUnavailableError
from postman.ports.clock import Clock
from postman.ports.opening import Cluster
from postman.ports.provider import Receipt
from postman.ports.queue import Delivery, Message
from postman.runtime.courier import Limits
from postman.runtime.failover import Failover, Route
from postman.runtime.following import Following
from postman.runtime.freight import BUDGET
from postman.runtime.worker import Worker, WorkerSettings
from postman.testing.virtual import VirtualClock, run_virtually

__all__ = ["Pulling", "Service", "WatchedQueue", "mail_for", "number_of", "virtually"]

PULL_WAIT = 2.0


def virtually(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Let *test* run on a loop whose time jumps."""

    @wraps(test)
    def run(*args: object, **options: object) -> None:
        run_virtually(test(*args, **options))

    return run


class WatchedQueue(MemoryQueue):
    """A queue that tells what is asked of it, and can be in *trouble*."""

    def __init__(self, name: str, clock: Clock, ack_deadline: float) -> None:
        super().__init__(name, clock, ack_deadline)
        self.trouble: Exception | None = None
        self.settling_trouble: QueueUnavailableError | None = None
        self.extending_fails = 0
        """How many of the next extensions fail."""
        self.asked = 0
        """For how many the open pulls ask; 0: none is open."""
        self.most_asked = 0
        self.open = 0
        self.most_open = 0
        self.pulls = 0
        self.cancelled = 0
        self.extended: list[int] = []
        """How many leases each extension was for."""
        self.attempts: Counter[str] = Counter()
        """How often each mail was handed out."""

    async def publish(self, message: Message) -> None:
        self._fail()
        await super().publish(message)

    async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
        self.pulls += 1
        self._fail()
        self.asked += max_deliveries
        self.most_asked = max(self.most_asked, self.asked)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            deliveries = await super().pull(max_deliveries=max_deliveries, wait=wait)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.asked -= max_deliveries
            self.open -= 1
        self._fail()
        self.attempts.update(each.message.attributes["mail_id"] for each in deliveries)
        return deliveries

    async def extend(self, deliveries: Sequence[Delivery], seconds: float) -> None:
        if self.extending_fails:
            self.extending_fails -= 1
            raise QueueUnavailableError("away")
        self.extended.append(len(deliveries))
        await super().extend(deliveries, seconds)

    async def ack(self, delivery: Delivery) -> None:
        self._fail_to_settle()
        await super().ack(delivery)

    async def nack(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        self._fail_to_settle()
        await super().nack(delivery, delay=delay)

    def _fail_to_settle(self) -> None:
        if self.settling_trouble is not None:
            raise self.settling_trouble.with_traceback(None)

    def _fail(self) -> None:
        if self.trouble is not None:
            raise self.trouble.with_traceback(None)


@dataclass
class Service:
    """A provider that takes a mail as long as its shard says, by default 0.05 s."""

    clock: Clock
    takes: dict[int, float] = field(default_factory=dict)
    sent: list[tuple[float, MailId]] = field(default_factory=list)
    """When each mail was taken, since 1970."""
    busy_with: Counter[int] = field(default_factory=Counter)
    """How many mails of each shard are being taken."""
    most_of: Counter[int] = field(default_factory=Counter)
    surprises: int = 0
    """How many of the next mails meet a bug."""
    name: str = "a"
    timeout: float = 100.0
    look_up_after: float = 0.0
    idempotent_for: float = 0.0

    async def send(self, mail: Mail, *, timeout: float | None = None) -> Receipt:
        if self.surprises:
            self.surprises -= 1
            raise ZeroDivisionError
        shard = number_of(mail.id)
        self.busy_with[shard] += 1
        self.most_of[shard] = max(self.most_of[shard], self.busy_with[shard])
        try:
            await self.clock.sleep(self.takes.get(shard, 0.05))
        finally:
            self.busy_with[shard] -= 1
        self.sent.append((self.clock.time(), mail.id))
        return Receipt(self.name, mail.id)

    async def look_up(self, mail: Mail) -> Receipt | None:
        raise ProviderError("cannot be asked", provider=self.name)

    async def aclose(self) -> None:
        """Nothing to close."""


class Pulling:
    """A cluster of *count* shards whose layout can change; mails are put into the shard that a test names."""

    def __init__(self, count_: int = 4, *, clock: VirtualClock | None = None, ack_deadline: float = 30.0) -> None:
        self.clock = clock or VirtualClock()
        self.count = count_
        self.ack_deadline = ack_deadline
        self.shards = MemoryShards(Cluster(self.clock, shards=count_, ack_deadline=ack_deadline))
        self.queues = Numbered(lambda shard: WatchedQueue(f"q-{shard}", self.clock, ack_deadline))
        self.shards._queues = Numbered(lambda shard: self.queues[shard])
        self.ledger = MemoryLedger(self.clock)
        self.layouts = MemoryLayouts()
        self.service = Service(self.clock)
        self.published: dict[MailId, float] = {}
        self._claims = count()

    def worker(
        self, *, concurrency: int = 10, share: float = 0.5, grace: float = 8.0, memory: int = BUDGET, seed: int = 1
    ) -> Worker:
        return Worker(
            shards=self.shards,
            ledger=self.ledger,
            failover=Failover([Route(self.service, CircuitBreaker("a"))], clock=self.clock, random=Random(seed)),
            clock=self.clock,
            settings=WorkerSettings(
                limits=Limits(lease=200.0, budget=190.0),
                concurrency=concurrency,
                ack_deadline=self.ack_deadline,
                share=share,
                grace=grace,
                memory=memory,
                pull_wait=PULL_WAIT,
            ),
            new_claim_id=lambda: f"claim-{next(self._claims)}",
            random=Random(seed),
            following=Following(Layout.of(self.count), clock=self.clock, store=self.layouts),
        )

    @asynccontextmanager
    async def working(self, **options: Any) -> AsyncIterator[Worker]:
        """Let a worker run until the block ends, and then drain; nothing may be left in its hands."""
        await self.shards.ensure()
        worker = self.worker(**options)
        running = asyncio.ensure_future(worker.run())
        await self.clock.sleep(0.01)
        try:
            yield worker
        finally:
            if not worker.is_draining:
                worker.stop()
            await running
        assert (worker._guard.held, worker._freight.held, worker._leases.kept) == (0, 0, 0)

    async def warm_up(self, worker: Worker) -> None:
        """Send quick mails until the worker trusts the provider with as many at a time as it deals with."""
        takes, self.service.takes = self.service.takes, {}
        concurrency, rounds = worker._settings.concurrency, count(1)
        while worker._failover.standings()["a"].limit < concurrency:
            begin = -1_000 * next(rounds)
            for shard in range(self.count):
                await self.publish(shard, max(1, 2 * concurrency // self.count), begin=begin)
            await self.until(lambda: len(self.sent()) == len(self.published), within=20.0)
        self.service.takes = takes
        self.service.sent.clear()
        self.service.most_of.clear()
        for queue in self.queues.values():
            queue.attempts.clear()
            queue.extended.clear()

    async def publish(self, shard: int, number: int, *, begin: int = 0) -> list[MailId]:
        """Put *number* mails into *shard*, whatever the layout says of it."""
        ids = [MailId(f"{shard}-{each}") for each in range(begin, begin + number)]
        for mail_id in ids:
            self.published[mail_id] = self.clock.time()
            await self.queues[shard].publish(message_for(mail_for(mail_id)))
        return ids

    async def change(self, change: Callable[[Layout], Layout]) -> Layout:
        """Make the next layout from the latest."""
        latest = await self.layouts.read() or Layout.of(self.count)
        changed = change(latest)
        await self.layouts.change(changed)
        return changed

    def open_at(self) -> set[int]:
        """Return the shards at which a pull is open."""
        return {shard for shard, queue in self.queues.items() if queue.asked}

    def sent(self) -> list[MailId]:
        return [mail_id for _, mail_id in self.service.sent]

    def delays(self, *shards: int) -> list[float]:
        """Return how long each mail of *shards* took that was sent, from its being published."""
        return [at - self.published[each] for at, each in self.service.sent if number_of(each) in shards]

    async def until(self, condition: Callable[[], bool], *, within: float, every: float = 0.01) -> None:
        """Wait until *condition* holds; `AssertionError` after *within* seconds."""
        limit = self.clock.now() + within
        while not condition():
            assert self.clock.now() < limit, f"it did not come true within {within} s"
            await self.clock.sleep(every)


def mail_for(mail_id: MailId, **changes: Any) -> Mail:
    sender, to = Address(email="a@example.org"), (Address(email="b@example.org"),)
    return Mail(**({"id": mail_id, "from_": sender, "to": to, "subject": "s", "text": "t"} | changes))


def number_of(mail_id: MailId) -> int:
    """Return the shard into which the scene put a mail."""
    return int(mail_id.split("-")[0])
