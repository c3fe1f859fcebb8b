"""A cluster in memory and in virtual time whose mails are pushed to a worker."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from random import Random
from typing import Any

from postman.breaker import CircuitBreaker, Trip
from postman.core.entry import Entry
from postman.core.ids import MailId
from postman.core.layout import Layout
from postman.core.message import Message
from postman.core.wire import message_for
from postman.runtime.failover import Failover, Route
from postman.runtime.following import Following
from postman.runtime.pushed import Pushed
from postman.runtime.pushworker import PushSettings, PushWorker
from postman.testing.provider import FakeProvider
from tests.unit.runtime.pulling_scene import Pulling, mail_for

__all__ = ["Pushing"]


class Pushing(Pulling):
    """A cluster whose mails are pushed to a worker; others may pull from it as well."""

    def __init__(self, count_: int = 4, *, ack_deadline: float = 30.0, timeout: float = 10.0) -> None:
        super().__init__(count_, ack_deadline=ack_deadline)
        self.provider = FakeProvider("a", timeout=timeout, clock=self.clock)
        self.failover = Failover(
            [Route(self.provider, CircuitBreaker("a", Trip(consecutive=2), clock=self.clock.now))],
            clock=self.clock,
            random=Random(1),
        )
        self.companions: list[Any] = []
        self.objection = ""

    def push_worker(self, **options: Any) -> PushWorker:
        claims = count()
        return PushWorker(
            shards=self.shards,
            ledger=self.ledger,
            failover=self.failover,
            clock=self.clock,
            settings=PushSettings(**({"ack_deadline": self.ack_deadline, "concurrency": 10} | options)),
            new_claim_id=lambda: f"push-{next(claims)}",
            objection=lambda _: self.objection,
            random=Random(1),
            companions=self.companions,
            following=Following(Layout.of(self.count), clock=self.clock, store=self.layouts),
        )

    @asynccontextmanager
    async def pushing(self, **options: Any) -> AsyncIterator[PushWorker]:
        """Let a worker be there until the block ends; nothing may be left in its hands."""
        await self.shards.ensure()
        worker = self.push_worker(**options)
        running = asyncio.ensure_future(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await running
        assert (worker._guard.held, worker._hands._freight.held, worker.in_flight, len(worker._answers)) == (0, 0, 0, 0)

    def pushed(self, mail_id: str = "m-1", *, attempt: int = 1, shard: int | None = 2, **changes: Any) -> Pushed:
        return self.brought(message_for(mail_for(MailId(mail_id), **changes)), attempt=attempt, shard=shard)

    def brought(self, message: Message, *, attempt: int = 1, shard: int | None = 2) -> Pushed:
        now = self.clock.now()
        return Pushed(message, attempt, self.clock.time(), now + self.ack_deadline, shard)

    async def entry(self, mail_id: str = "m-1") -> Entry:
        entry = await self.ledger.find(MailId(mail_id))
        assert entry is not None
        return entry

    async def dead(self, shard: int = 2) -> Sequence[Message]:
        deliveries = await self.shards.dead(shard).pull(max_deliveries=100, wait=0.0)
        return [delivery.message for delivery in deliveries]
