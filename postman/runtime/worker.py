"""The worker: pulls from all shards, delivers, and drains when it is told to stop.

One long pull stands open at every shard, so an idle worker hears of a mail at
once wherever it lands. It holds at most *concurrency* mails in flight and a few
more that wait, whose leases are kept. No pull is ever cancelled: a cancelled
pull takes messages along that nobody sees until their leases end.

Stopping has two stages. First: take no more, give back at once what was not
begun, finish what is in flight within *grace* seconds; what is still open then
is recorded as doubtful and given back. Second: break off now. A worker that the
fleet finds unfit stops by itself, in the same way.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Final

import structlog

from postman.core.backoff import Backoff
from postman.core.fleet.reports import STOPPED
from postman.core.verdict import GiveBack, Verdict
from postman.errors import ConfigError, LedgerUnavailableError, QueueUnavailableError
from postman.ports.clock import Clock
from postman.ports.ledger import Ledger
from postman.ports.queue import Delivery, ShardMap
from postman.runtime.courier import Courier, Limits
from postman.runtime.doubts import Doubts
from postman.runtime.failover import Failover
from postman.runtime.guard import Guard
from postman.runtime.lease import LeaseKeeper
from postman.runtime.meter import Meter
from postman.runtime.reporter import Reporter, Reporting
from postman.runtime.settler import Settler
from postman.runtime.surprise import reason_of

__all__ = ["Tally", "Worker", "WorkerSettings"]

_LOG = structlog.get_logger("postman.worker")

_LARGEST_PULL: Final = 100
_LONGEST_PAUSE: Final = 15.0
_LAST_WORDS: Final = 1.5
"""Of *grace*, the seconds kept for recording what did not end."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Times in seconds."""

    limits: Limits
    concurrency: int = 50
    """Mails in flight at the most."""
    ack_deadline: float = 30.0
    grace: float = 8.0
    doubt_window: float = 600.0
    pull_wait: float = 2.0
    """How long a pull stands open; a worker that stops waits for the last ones, so much less than *grace*."""


@dataclass(slots=True)
class Tally:
    """What this worker did since it started."""

    verdicts: dict[str, int] = field(default_factory=dict)

    def count(self, verdict: Verdict) -> None:
        name = type(verdict).__name__
        self.verdicts[name] = self.verdicts.get(name, 0) + 1


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    shard: int
    delivery: Delivery


class Worker:
    """See the module. `run` returns after `stop` or `leave`, all else is inside. Without *reporting* none is told."""

    def __init__(
        self,
        *,
        shards: ShardMap,
        ledger: Ledger,
        failover: Failover,
        clock: Clock,
        settings: WorkerSettings,
        new_claim_id: Callable[[], str],
        reporting: Reporting | None = None,
    ) -> None:
        self.tally = Tally()
        self._shards = shards
        self._ledger = ledger
        self._failover = failover
        self._clock = clock
        self._settings = settings
        self._guard = Guard(settings.concurrency + shards.count)
        self._leases = LeaseKeeper(seconds=settings.ack_deadline, clock=clock)
        self._settler = Settler(shards=shards, ledger=ledger, clock=clock)
        self._waiting: deque[_Held] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._ledger_waits = Backoff(0.5, longest=_LONGEST_PAUSE)
        self._ledger_back_at = 0.0
        self._broken_off = asyncio.Event()
        self._was_told = False
        self._unfit = ""
        self._meter = Meter(clock)
        doubts = Doubts(ledger=ledger, failover=failover, clock=clock, window=settings.doubt_window)
        self._courier = Courier(
            ledger=ledger,
            failover=failover,
            doubts=doubts,
            clock=clock,
            limits=settings.limits,
            new_claim_id=new_claim_id,
            is_draining=lambda: self._guard.is_closed,
            meter=self._meter,
        )
        self._reporter = self._reporter_for(reporting) if reporting else None

    @property
    def in_flight(self) -> int:
        """How many mails are being dealt with."""
        return len(self._running)

    @property
    def is_draining(self) -> bool:
        """Whether it was told to stop."""
        return self._guard.is_closed

    @property
    def unfit(self) -> str:
        """Why the fleet found that this worker had better leave; empty where it did not."""
        return self._unfit

    def stop(self) -> None:
        """Drain, then let `run` return; called again: break off now. May be called at any time, also before `run`."""
        if self._was_told:
            self._broken_off.set()
        self._was_told = True
        self._guard.close()

    def leave(self, why: str) -> None:
        """Drain, because this worker is unfit; where it drains already, this changes nothing."""
        if not self._guard.is_closed:
            self._unfit = why
            self._guard.close()

    async def run(self) -> None:
        """Deliver until `stop`, waiting for a queue or ledger that is away; `ConfigError` where waiting cannot help."""
        await self._wait_until_reachable()
        if self.is_draining:
            return
        leases = asyncio.create_task(self._leases.run())
        reports = asyncio.create_task(self._report())
        pulls = [asyncio.create_task(self._pull_from(shard)) for shard in range(self._shards.count)]
        _LOG.info("worker_started", shards=self._shards.count, concurrency=self._settings.concurrency)
        try:
            await self._first_of(self._guard.wait_until_closed(), leases, *pulls)
        finally:
            self._guard.close()
            await self._drain(pulls)
            for task in (leases, reports, *pulls):
                task.cancel()
            await asyncio.gather(leases, reports, *pulls, return_exceptions=True)
        _LOG.info("worker_stopped", **self.tally.verdicts)

    def _reporter_for(self, reporting: Reporting) -> Reporter:
        return Reporter(
            reporting,
            meter=self._meter,
            clock=self._clock,
            standings=self._failover.standings,
            local_fault=lambda: self._failover.local_fault,
            leave=self.leave,
        )

    async def _report(self) -> None:
        if self._reporter is not None:
            await self._reporter.run()

    async def _say_goodbye(self) -> None:
        if self._reporter is not None:
            await self._reporter.say_goodbye(self._unfit or STOPPED)

    async def _wait_until_reachable(self) -> None:
        waits = Backoff(0.5, longest=_LONGEST_PAUSE)
        while not self._guard.is_closed:
            try:
                await self._first_of(self._check(), self._guard.wait_until_closed())
            except (QueueUnavailableError, LedgerUnavailableError) as error:
                pause = waits.next()
                _LOG.error("not_reachable", reason=str(error), retry_in=round(pause, 1))
                await self._pause(pause)
            else:
                if waits.failures:
                    _LOG.info("reachable_again")
                return

    async def _check(self) -> None:
        await self._shards.check()
        await self._ledger.check()

    async def _pull_from(self, shard: int) -> None:
        waits = Backoff(0.5, longest=_LONGEST_PAUSE)
        was_full = False
        while await self._wait_until_sensible():
            places = await self._guard.enter(_LARGEST_PULL if was_full else self._listening_places())
            if not places:
                return
            held: list[_Held] = []
            try:
                held = await self._pull(shard, places)
            except ConfigError:
                raise
            except Exception as error:  # noqa: BLE001 — one shard's surprise must not stop the others
                pause = waits.next()
                _LOG.error("pull_failed", shard=shard, retry_in=round(pause, 1), **reason_of(error))
                await self._pause(pause)
            else:
                if waits.failures:
                    _LOG.info("pull_recovered", shard=shard)
                waits.reset()
            finally:
                self._guard.exit(places - len(held))
            was_full = 2 * len(held) >= places
            await self._accept(held)

    async def _pull(self, shard: int, places: int) -> list[_Held]:
        queue = self._shards.queue(shard)
        deliveries = await queue.pull(max_deliveries=places, wait=self._settings.pull_wait)
        self._leases.keep(queue, deliveries)
        return [_Held(shard, delivery) for delivery in deliveries]

    async def _accept(self, held: list[_Held]) -> None:
        if self._guard.is_closed:
            await self._give_back(held)
            return
        self._waiting.extend(held)
        self._start_waiting()

    def _start_waiting(self) -> None:
        while self._waiting and len(self._running) < self._settings.concurrency and not self._guard.is_closed:
            task = asyncio.create_task(self._deliver(self._waiting.popleft()))
            self._running.add(task)
            task.add_done_callback(self._delivered)
        self._meter.set_full(is_full=len(self._running) >= self._settings.concurrency)

    def _delivered(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._start_waiting()

    async def _deliver(self, held: _Held) -> None:
        try:
            verdict = await self._verdict_on(held)
        except asyncio.CancelledError:
            await self._settle(held, GiveBack())
            raise
        await self._settle(held, verdict)

    async def _verdict_on(self, held: _Held) -> Verdict:
        delivery = held.delivery
        structlog.contextvars.bind_contextvars(shard=held.shard, attempt=delivery.attempt)
        try:
            verdict = await self._courier.deal_with(delivery)
        except LedgerUnavailableError as error:
            return GiveBack(self._ledger_failed(error))
        except Exception as error:  # noqa: BLE001 — the outermost loop: one mail's surprise must not stop the others
            _LOG.error("unexpected", mail_id=delivery.message.attributes.get("mail_id"), **reason_of(error))
            return GiveBack(min(60.0, 2.0 ** min(delivery.attempt, 6)))
        self._ledger_waits.reset()
        self.tally.count(verdict)
        return verdict

    async def _settle(self, held: _Held, verdict: Verdict) -> None:
        self._leases.drop(held.delivery)
        try:
            await self._settler.carry_out(held.shard, held.delivery, verdict)
        finally:
            self._guard.exit()

    async def _give_back(self, held: list[_Held]) -> None:
        await asyncio.gather(*(self._settle(one, GiveBack()) for one in held))

    def _ledger_failed(self, error: LedgerUnavailableError) -> float:
        """Hold the pulls back once for all the mails that meet the same outage; return the delay for this one."""
        now = self._clock.now()
        if now >= self._ledger_back_at:
            pause = self._ledger_waits.next()
            self._ledger_back_at = now + pause
            _LOG.error("ledger_unavailable", reason=str(error), retry_in=round(pause, 1))
        return self._ledger_back_at - now

    async def _wait_until_sensible(self) -> bool:
        """Return when a mail that is pulled could be sent; False once the gate is closed."""
        while not self._guard.is_closed:
            wait = max(self._ledger_back_at - self._clock.now(), self._failover.wait())
            if wait <= 0:
                return True
            with self._meter.pause():
                await self._pause(wait)
        return False

    def _listening_places(self) -> int:
        return max(1, self._settings.concurrency // (2 * self._shards.count))

    async def _drain(self, pulls: "list[asyncio.Task[None]]") -> None:
        _LOG.info("worker_draining", in_flight=self.in_flight, given_back=len(self._waiting))
        last_words = min(_LAST_WORDS, self._settings.grace / 4)
        not_begun = [self._waiting.popleft() for _ in range(len(self._waiting))]
        others = [*pulls, *map(asyncio.create_task, (self._give_back(not_begun), self._say_goodbye()))]
        end = self._clock.sleep(self._settings.grace - last_words)
        await self._first_of(self._all_ended(others), self._broken_off.wait(), end)
        for task in self._running:
            task.cancel()
        pending = [] if self._broken_off.is_set() else others  # what an open pull still brings comes back in time
        await self._first_of(self._all_ended(pending), self._clock.sleep(last_words))

    async def _all_ended(self, others: "list[asyncio.Task[None]]") -> None:
        while pending := [task for task in (*self._running, *others) if not task.done()]:
            await asyncio.wait(pending)

    async def _pause(self, seconds: float) -> None:
        """Wait, or until the gate closes."""
        await self._first_of(self._clock.sleep(seconds), self._guard.wait_until_closed())

    @staticmethod
    async def _first_of(*things: "Coroutine[object, object, object] | asyncio.Task[None]") -> None:
        """Return when one of *things* ended, with what it raised; coroutines that did not end are cancelled."""
        tasks = [thing if isinstance(thing, asyncio.Task) else asyncio.ensure_future(thing) for thing in things]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task, thing in zip(tasks, things, strict=True):
                if thing is not task:
                    task.cancel()
        for task in done:
            if not task.cancelled() and (error := task.exception()):
                raise error
