"""The mails that a worker holds: those it deals with, and a few that wait for a place.

No shard's mails take more than a share of the places, so that one whose mails
are slow leaves room for the others. The leases of all that is held are kept.
No more are asked for than can be begun within half of a lease: a worker whose
mails take long leaves the rest in the queue to others. What pulls bring that
were opened while it was idle, one for each shard at the most, waits besides.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final

import structlog

from postman.core.backoff import Backoff
from postman.core.selection import most_of_one_shard
from postman.core.verdict import GiveBack, Verdict
from postman.errors import EntryOfNewerVersionError, LedgerUnavailableError
from postman.ports.clock import Clock
from postman.ports.queue import Delivery, Queue
from postman.runtime.courier import Courier
from postman.runtime.freight import Freight, weight_of
from postman.runtime.guard import Guard
from postman.runtime.lease import LeaseKeeper
from postman.runtime.meter import Meter
from postman.runtime.settler import Settler
from postman.runtime.surprise import reason_of

__all__ = ["Hands", "Held", "Tally"]

_LOG = structlog.get_logger("postman.worker")

_LONGEST_PAUSE: Final = 15.0
_LONGEST_REST: Final = 60.0
_WEIGHT_OF_LAST: Final = 0.1
"""Of the mail that ended last, in the mean of how long mails take."""


@dataclass(slots=True)
class Tally:
    """What this worker did since it started."""

    verdicts: dict[str, int] = field(default_factory=dict)

    def count(self, verdict: Verdict) -> None:
        name = type(verdict).__name__
        self.verdicts[name] = self.verdicts.get(name, 0) + 1


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """One delivery in a worker's hands, of *size* bytes."""

    shard: int
    delivery: Delivery
    size: int


class Hands:
    """See the module. *concurrency* mails are dealt with at a time, *share* of them of one shard at the most."""

    def __init__(
        self,
        *,
        courier: Courier,
        settler: Settler,
        leases: LeaseKeeper,
        freight: Freight,
        guard: Guard,
        meter: Meter,
        clock: Clock,
        random: Random,
        concurrency: int,
        share: float,
    ) -> None:
        self.tally = Tally()
        self.shards = 1
        self._courier = courier
        self._settler = settler
        self._leases = leases
        self._freight = freight
        self._guard = guard
        self._meter = meter
        self._clock = clock
        self._concurrency = concurrency
        self._share = share
        self._waiting: dict[Held, None] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._running_of: Counter[int] = Counter()
        self._held_of: Counter[int] = Counter()
        self._took = 0.0
        self._ledger_waits = Backoff(0.5, longest=_LONGEST_PAUSE, random=random.random)
        self._ledger_back_at = 0.0

    @property
    def running(self) -> Sequence["asyncio.Task[None]"]:
        """The mails that are being dealt with."""
        return list(self._running)

    @property
    def in_flight(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many mails wait for a place."""
        return len(self._waiting)

    @property
    def has_place(self) -> bool:
        """Whether another mail would begin at once, if its shard's mails do not take their share already."""
        return len(self._running) < self._concurrency

    @property
    def ahead(self) -> int:
        """How many mails may wait: half as many as are dealt with, and no more than are begun within half a lease."""
        most = self._concurrency // 2
        if self._took > 0:
            most = min(most, int(self._concurrency * self._leases.seconds / (2 * self._took)))
        return max(1, most)

    @property
    def ledger_away_for(self) -> float:
        """Seconds for which no mail can be dealt with, because the ledger is out of reach; 0 or less: it is not."""
        return self._ledger_back_at - self._clock.now()

    def held_of(self, shard: int) -> int:
        """Return how many mails of *shard* are here."""
        return self._held_of[shard]

    def most_of(self) -> int:
        """Return how many mails of one shard may be here."""
        return self._most_running() + self.ahead

    def take(self, shard: int, queue: Queue, deliveries: Sequence[Delivery]) -> Sequence[Held]:
        """Keep *deliveries* until each is settled; they have their places at the gate."""
        self._leases.keep(queue, deliveries)
        taken = [Held(shard, delivery, weight_of(delivery.message)) for delivery in deliveries]
        self._freight.load(sum(held.size for held in taken))
        self._held_of[shard] += len(taken)
        return taken

    def begin(self, taken: Sequence[Held]) -> None:
        """Deal with what was *taken*, as places get free."""
        self._waiting.update(dict.fromkeys(taken))
        self._begin_waiting()

    def take_back(self, shard: int | None = None) -> list[Held]:
        """Return what waits, of *shard* or of all, which then is the caller's."""
        taken = [held for held in self._waiting if shard is None or held.shard == shard]
        for held in taken:
            del self._waiting[held]
        return taken

    async def give_back(self, taken: Sequence[Held]) -> None:
        """Let another worker have what was not begun."""
        await asyncio.gather(*map(self._give_one_back, taken))

    def break_off(self) -> None:
        """Let each mail that is being dealt with record what is known of it, and go back."""
        for task in self._running:
            task.cancel()

    def _begin_waiting(self) -> None:
        while not self._guard.is_closed and (held := self._next()) is not None:
            del self._waiting[held]
            self._freight.begin(held.size)
            self._running_of[held.shard] += 1
            task = asyncio.create_task(self._deliver(held))
            self._running.add(task)
            task.add_done_callback(partial(self._delivered, held, self._clock.now()))
        self._meter.set_full(is_full=not self.has_place or self._first() is not None)

    def _next(self) -> Held | None:
        """Return the first that may begin; one for which memory has no room waits for it, before all others."""
        first = self._first() if self.has_place else None
        return first if first is not None and self._freight.may_begin(first.size) else None

    def _first(self) -> Held | None:
        """Return the first of those of which their shard lets another one begin."""
        most = self._most_running()
        return next((held for held in self._waiting if self._running_of[held.shard] < most), None)

    def _most_running(self) -> int:
        return most_of_one_shard(self._concurrency, self.shards, self._share)

    def _delivered(self, held: Held, begun: float, task: "asyncio.Task[None]") -> None:
        self._freight.end(held.size)
        self._running_of[held.shard] -= 1
        self._running.discard(task)
        took = self._clock.now() - begun
        self._took += (took - self._took) * (_WEIGHT_OF_LAST if self._took else 1.0)
        self._begin_waiting()
        self._let_go(held)

    async def _deliver(self, held: Held) -> None:
        try:
            verdict = await self._verdict_on(held)
        except asyncio.CancelledError:
            await self._settle(held, GiveBack())
            raise
        await self._settle(held, verdict)

    async def _verdict_on(self, held: Held) -> Verdict:
        delivery = held.delivery
        structlog.contextvars.bind_contextvars(shard=held.shard, attempt=delivery.attempt)
        try:
            verdict = await self._courier.deal_with(delivery)
        except EntryOfNewerVersionError as error:
            _LOG.warning("left_alone", mail_id=delivery.message.attributes.get("mail_id"), reason=str(error))
            return GiveBack(_LONGEST_REST)
        except LedgerUnavailableError as error:
            return GiveBack(self._ledger_failed(error))
        except Exception as error:  # noqa: BLE001 — the outermost loop: one mail's surprise must not stop the others
            _LOG.error("unexpected", mail_id=delivery.message.attributes.get("mail_id"), **reason_of(error))
            return GiveBack(min(_LONGEST_REST, 2.0 ** min(delivery.attempt, 6)))
        self._ledger_waits.reset()
        self.tally.count(verdict)
        self._meter.past.ended(held.shard, delivery, verdict)
        return verdict

    async def _give_one_back(self, held: Held) -> None:
        try:
            await self._settle(held, GiveBack())
        finally:
            self._let_go(held)

    async def _settle(self, held: Held, verdict: Verdict) -> None:
        self._leases.drop(held.delivery)
        await self._settler.carry_out(held.shard, held.delivery, verdict)

    def _let_go(self, held: Held) -> None:
        """Leave its place; last of all, because whoever hears of it looks at once at what is here."""
        self._freight.unload(held.size)
        self._held_of[held.shard] -= 1
        self._guard.exit()

    def _ledger_failed(self, error: LedgerUnavailableError) -> float:
        """Hold the pulls back once for all the mails that meet the same outage; return the delay for this one."""
        if self.ledger_away_for <= 0:
            pause = self._ledger_waits.next()
            self._ledger_back_at = self._clock.now() + pause
            _LOG.error("ledger_unavailable", reason=str(error), retry_in=round(pause, 1))
        return self.ledger_away_for
