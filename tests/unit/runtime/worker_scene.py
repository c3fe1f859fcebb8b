"""A cluster in memory, with as many workers as a test wants, and what can befall it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from postman import Address, Mail
from postman.adapters.clock import SystemClock
from postman.adapters.memory import MemoryLedger, MemoryQueue, MemoryShards
from postman.breaker import CircuitBreaker, Recovery, Trip
from postman.core.ids import MailId
from postman.core.message import Message
from postman.core.shards import shard_for
from postman.core.wire import message_for
from postman.errors import (
    EntryOfNewerVersionError,
    LedgerUnavailableError,
    QueueUnavailableError,
)
from postman.ports.opening import Cluster
from postman.ports.queue import Delivery
from postman.runtime.courier import Limits
from postman.runtime.failover import Failover, Route
from postman.runtime.reporter import Reporting
from postman.runtime.worker import Worker, WorkerSettings
from postman.testing.provider import FakeProvider

SHARDS = 4


__all__ = ["SHARDS", "Broken", "FlakyQueue", "Jumping", "Scene", "mails", "sent"]


class Broken(MemoryLedger):
    """A ledger that can be out of reach."""

    is_away = False
    newer: frozenset[str] = frozenset()
    """Mails whose entries are of a newer postman."""

    async def check(self) -> None:
        self._look()

    async def _apply(self, mail_id: MailId, transition: Any) -> Any:
        self._look()
        if mail_id in self.newer:
            raise EntryOfNewerVersionError("its state is unknown")
        return await super()._apply(mail_id, transition)

    def _look(self) -> None:
        if self.is_away:
            raise LedgerUnavailableError("out of reach")


class FlakyQueue(MemoryQueue):
    """A queue that is out of reach for its next *failures* calls."""

    failures = 0

    async def publish(self, message: Message) -> None:
        self._look()
        await super().publish(message)

    async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
        self._look()
        return await super().pull(max_deliveries=max_deliveries, wait=wait)

    def _look(self) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise QueueUnavailableError("out of reach")


class Jumping(SystemClock):
    """The machine's clock, which can be set forward."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead

    def jump(self, seconds: float) -> None:
        self.ahead += seconds


class Scene:
    """A cluster in memory, with as many workers as a test wants."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.shards = MemoryShards(Cluster(self.clock, shards=SHARDS, ack_deadline=10.0))
        self.ledger = Broken(self.clock)
        self.a = FakeProvider("a", clock=self.clock, timeout=1.0)
        self.b = FakeProvider("b", clock=self.clock, timeout=1.0)
        self._ids = count()

    def flaky(self, shard: int) -> FlakyQueue:
        """Return the queue of *shard*, which can be out of reach from now on."""
        queue = FlakyQueue(f"flaky-{shard}", self.clock, 10.0)
        self.shards._queues[shard] = queue
        return queue

    def worker(self, *, concurrency: int = 10, grace: float = 1.0, reporting: Reporting | None = None) -> Worker:
        routes = [
            Route(provider, CircuitBreaker(provider.name, Trip(consecutive=2), Recovery(open_for=0.3)), weight=weight)
            for provider, weight in ((self.a, 1.0), (self.b, 0.0))
        ]
        return Worker(
            shards=self.shards,
            ledger=self.ledger,
            failover=Failover(routes, clock=self.clock),
            clock=self.clock,
            settings=WorkerSettings(
                limits=Limits(lease=3.0, budget=2.0),
                concurrency=concurrency,
                ack_deadline=10.0,
                grace=grace,
                pull_wait=0.1,
            ),
            new_claim_id=lambda: f"claim-{next(self._ids)}",
            reporting=reporting,
        )

    @asynccontextmanager
    async def working(self, **options: Any) -> AsyncIterator[Worker]:
        worker = self.worker(**options)
        running = asyncio.ensure_future(worker.run())
        try:
            yield worker
        finally:
            if not worker.is_draining:
                worker.stop()
            await asyncio.wait_for(running, 5.0)

    async def publish(self, mails: Sequence[Mail]) -> None:
        for mail in mails:
            await self.shards.queue(shard_for(mail.id, SHARDS)).publish(message_for(mail))

    async def states(self, mails: Sequence[Mail]) -> set[str]:
        entries = [await self.ledger.find(mail.id) for mail in mails]
        return {str(entry.state) if entry else "absent" for entry in entries}

    async def left(self) -> list[Delivery]:
        """Take what any worker could take now."""
        taken = [await self.shards.queue(n).pull(max_deliveries=1_000, wait=0) for n in range(SHARDS)]
        return [delivery for deliveries in taken for delivery in deliveries]


def mails(number: int) -> list[Mail]:
    sender, to = Address(email="a@example.org"), (Address(email="b@example.org"),)
    return [Mail(from_=sender, to=to, subject=f"{n}", text="t") for n in range(number)]


def sent(*providers: FakeProvider) -> list[str]:
    return sorted(mail.id for provider in providers for mail in provider.accepted)
