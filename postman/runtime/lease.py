"""Keeps the leases of the mails that a worker holds.

One task extends, shard by shard and in groups, whatever is past half of its
time. An extension that fails is tried again at the next turn; a lease that ran
out meanwhile is only reported: the ledger, not the lease, keeps a mail from
being sent twice.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from math import inf
from typing import Final

import structlog

from postman.errors import QueueError
from postman.ports.clock import Clock
from postman.ports.queue import Delivery, Queue
from postman.runtime.surprise import reason_of

__all__ = ["LeaseKeeper"]

_LOG = structlog.get_logger("postman.lease")

_LONGEST_TURN: Final = 20.0
"""Seconds: long leases need no more, but whoever asks whether this still turns does."""


class LeaseKeeper:
    """Extends by *seconds* what it was told to keep, until it is told to drop it."""

    def __init__(self, *, seconds: float, clock: Clock) -> None:
        self.seconds = seconds
        self.turned_at = -inf
        """When the loop last turned, on the clock's scale."""
        self.reached_at = -inf
        """When the queue last took an extension."""
        self._clock = clock
        self._kept: dict[Delivery, tuple[Queue, float]] = {}

    @property
    def kept(self) -> int:
        """How many deliveries are kept."""
        return len(self._kept)

    def keep(self, queue: Queue, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._kept[delivery] = (queue, delivery.lease_ends)

    def drop(self, delivery: Delivery) -> None:
        self._kept.pop(delivery, None)

    async def run(self) -> None:
        """Extend until cancelled."""
        while True:
            self.turned_at = self._clock.now()
            await self._clock.sleep(min(self.seconds / 6, _LONGEST_TURN))
            try:
                await self.extend_due()
            except Exception as error:  # noqa: BLE001 — without this task every lease would run out
                _LOG.error("leases_not_extended", **reason_of(error))

    async def extend_due(self) -> None:
        """Extend what is past half of its time, once."""
        due: dict[Queue, list[Delivery]] = defaultdict(list)
        limit = self._clock.now() + self.seconds / 2
        for delivery, (queue, ends) in self._kept.items():
            if ends <= limit:
                due[queue].append(delivery)
        await asyncio.gather(*(self._extend(queue, deliveries) for queue, deliveries in due.items()))

    async def _extend(self, queue: Queue, deliveries: list[Delivery]) -> None:
        asked = self._clock.now()
        try:
            await queue.extend(deliveries, self.seconds)
        except QueueError as error:
            _LOG.warning("lease_not_extended", queue=queue.name, count=len(deliveries), reason=str(error))
            return
        self.reached_at = self._clock.now()
        for delivery in deliveries:
            if delivery in self._kept:
                self._kept[delivery] = (queue, asked + self.seconds)
