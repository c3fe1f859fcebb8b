"""Looks into the shards that were given up: a producer that learned of nothing may still put mails there.

What is found is put into the shard where it belongs now, then acked there: a
crash in between makes a second message of one mail, which the ledger sees. It
costs one pull a minute for each such shard, until its queue is removed.
"""

import asyncio
from random import Random
from typing import Final

import structlog

from postman.errors import QueueError
from postman.ports.clock import Clock
from postman.ports.queue import ShardMap
from postman.runtime.following import Following
from postman.runtime.guard import Guard
from postman.runtime.settler import Settler
from postman.runtime.surprise import reason_of

__all__ = ["Retired"]

_LOG = structlog.get_logger("postman.layout")

_EVERY: Final = 60.0
_AT_ONCE: Final = 10
"""Few, because what is here is not counted by `Freight`, and each may be as large as a message may be."""


class Retired:
    """A companion of a worker, see the module."""

    def __init__(
        self,
        *,
        shards: ShardMap,
        following: Following,
        settler: Settler,
        guard: Guard,
        clock: Clock,
        random: Random,
    ) -> None:
        self._shards = shards
        self._following = following
        self._settler = settler
        self._guard = guard
        self._clock = clock
        self._random = random

    async def get_ready(self) -> None:
        """Nothing has to be done before mails are pulled."""

    async def run(self) -> None:
        """Look again and again, until cancelled; the first time at a random moment, for workers may live shortly."""
        await self._clock.sleep(_EVERY * self._random.random())
        while True:
            waiting = list(self._following.layout.retired)
            while waiting:  # one pull each in turn: a busy one keeps nobody from the others
                waiting = [shard for shard in waiting if await self._empty(shard)]
            await self._clock.sleep(_EVERY)

    async def _empty(self, shard: int) -> bool:
        """Return whether there may be more."""
        try:
            return await self._move_some(shard)
        except QueueError as error:
            _LOG.debug("retired_shard_not_read", shard=shard, reason=str(error))
        except Exception as error:  # noqa: BLE001 — a companion goes on
            _LOG.error("retired_shard_not_read", shard=shard, **reason_of(error))
        return False

    async def _move_some(self, shard: int) -> bool:
        """Return whether there were any; none where the shard is read again, and mails belong there, or at the end."""
        if self._guard.is_closed or shard not in self._following.layout.retired:
            return False
        deliveries = await self._shards.queue(shard).pull(max_deliveries=_AT_ONCE, wait=0)
        moves = (self._settler.move(shard, delivery, delay=_EVERY) for delivery in deliveries)
        await asyncio.gather(*moves, return_exceptions=True)
        if deliveries:
            _LOG.warning("mails_in_retired_shard", shard=shard, count=len(deliveries))
        return bool(deliveries)
