"""The reporter: tells the fleet how this worker does, and lets it leave when the fleet finds it unfit.

At the end of each window it writes the worker's report, then reads the others'
and judges; if the judgement lets this worker leave, the worker drains. Every
worker comes to the same judgement and acts on itself alone.

It never takes a worker down, and never holds one up: what cannot be written is
in the next report, what cannot be read is judged next time, and an outage is
logged once. The first report comes at a random moment of the first window, so
that the workers of a fleet do not write at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, TypeVar

import structlog

from postman.breaker import State
from postman.core.fleet.health import FleetJudgement, Health
from postman.core.fleet.judgement import judge
from postman.core.fleet.reports import DocumentSeen, ProviderStanding, ShardWork, WorkerReport
from postman.core.fleet.rules import Rules
from postman.core.layout import Layout
from postman.ports.clock import Clock
from postman.ports.roster import Roster
from postman.runtime.meter import History, Meter
from postman.runtime.surprise import reason_of
from postman.runtime.tasks import first_of

__all__ = ["Identity", "Reporter", "Reporting"]

_LOG = structlog.get_logger("postman.reporter")
_T = TypeVar("_T")

_MANY: Final = 20
"""From so many workers on each looks more rarely, so that the fleet's reads grow with its size, not its square."""
_STALE: Final = 3
"""Windows after which what another worker said of its providers is old."""
_LAST_WORD: Final = 0.5
"""Seconds for the last report, of those that a worker has to drain."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who reports; see `WorkerReport`."""

    worker: str
    host: str
    pid: int
    version: str
    started: float
    slots: int


@dataclass(frozen=True, slots=True)
class Reporting:
    """Where a worker reports, as whom, and every how many seconds."""

    roster: Roster
    identity: Identity
    window: float
    random: Random


class Reporter:
    """See the module. *leave* is called with the reason, once at the most, when this worker is to drain."""

    def __init__(
        self,
        reporting: Reporting,
        *,
        meter: Meter,
        clock: Clock,
        standings: Callable[[], Mapping[str, ProviderStanding]],
        local_fault: Callable[[], str],
        layout: Callable[[], Layout],
        shards: Callable[[], Mapping[str, ShardWork]],
        document: Callable[[], DocumentSeen],
        leave: Callable[[str], None],
    ) -> None:
        self._reporting = reporting
        self._meter = meter
        self._clock = clock
        self._standings = standings
        self._local_fault = local_fault
        self._layout = layout
        self._shards = shards
        self._document = document
        self._soon = asyncio.Event()
        self._leave = leave
        self._rules = Rules()
        self._history = History()
        self._writing = asyncio.Lock()
        self._next_look = clock.now()
        self._leaving = ""
        self._failing: set[str] = set()
        self._health = Health.UNKNOWN
        self._fleet_slow = ""
        self._others_at = float("-inf")
        """When another worker last said that a provider works for it, in seconds since 1970."""

    def others_send(self, since: float) -> bool | None:
        """Whether another worker said at *since* or later that a provider works for it; None where nobody can know."""
        if self._clock.now() > self._next_look + _STALE * self._reporting.window:
            return None
        return self._others_at >= since

    async def run(self) -> None:
        """Report and judge, window by window, until cancelled."""
        window = self._reporting.window
        due = self._clock.now() + window * self._reporting.random.random()
        while True:
            await first_of(self._clock.sleep(due - self._clock.now()), self._soon.wait())
            self._soon.clear()
            await self._say()
            if self._clock.now() < due:
                continue
            if not self._leaving and self._clock.now() >= self._next_look:
                await self._look()
            missed = max(0.0, self._clock.now() - due) // window
            due += window * (1 + missed)

    def say_soon(self) -> None:
        """Report before the window ends: something changed that an operator waits to see."""
        self._soon.set()

    async def say_goodbye(self, why: str) -> None:
        """Report that this worker leaves, and why; gives up after half a second."""
        self._leaving = why
        saying = asyncio.ensure_future(self._say())
        alarm = asyncio.ensure_future(self._clock.sleep(_LAST_WORD))
        try:
            await asyncio.wait({saying, alarm}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            saying.cancel()
            alarm.cancel()
            await asyncio.gather(saying, alarm, return_exceptions=True)

    async def _say(self) -> None:
        """One at a time: what is said last must arrive last."""
        async with self._writing:
            self._history.add(self._meter.close_window())
            await self._attempt("report", self._write())

    async def _write(self) -> None:
        await self._reporting.roster.report(self._report())

    async def _look(self) -> None:
        now, window = self._clock.time(), self._reporting.window
        since = now - max(self._rules.departures_within, self._rules.gone_after)
        reports = await self._attempt("look", self._reporting.roster.reports(since))
        if reports is None:
            return
        self._next_look = self._clock.now() + window * (max(1.0, len(reports) / _MANY) - 0.5)
        self._others_at = max((report.at for report in reports if self._sends(report)), default=self._others_at)
        judgement = await self._attempt("judge", self._judge(reports, now))
        if judgement is not None:
            self._act_on(judgement)

    async def _judge(self, reports: Sequence[WorkerReport], now: float) -> FleetJudgement:
        """A large fleet takes long to judge, and mails wait for the event loop."""
        if len(reports) < _MANY:
            return judge(reports, now=now, rules=self._rules)
        return await asyncio.to_thread(judge, reports, now=now, rules=self._rules)

    def _act_on(self, judgement: FleetJudgement) -> None:
        worker = self._reporting.identity.worker
        if judgement.fleet_slow and not self._fleet_slow:
            _LOG.warning("fleet_slow", reason=judgement.fleet_slow)
        self._fleet_slow = judgement.fleet_slow
        own = judgement.workers.get(worker)
        if own is None:
            return
        if own.health is not self._health:
            self._health = own.health
            _LOG.info("health", worker=worker, health=str(own.health), reason=own.reason)
        if worker in judgement.leave and not self._leaving:
            self._leaving = own.reason
            _LOG.warning("unfit", worker=worker, health=str(own.health), reason=own.reason)
            self._leave(own.reason)

    def _sends(self, report: WorkerReport) -> bool:
        """Whether another worker says that a provider works for it."""
        is_other = report.worker != self._reporting.identity.worker and not report.leaving
        return is_other and any(each.breaker == State.CLOSED for each in report.providers.values())

    def _report(self) -> WorkerReport:
        who, layout, standings = self._reporting.identity, self._layout(), self._standings()
        return WorkerReport(
            worker=who.worker,
            host=who.host,
            pid=who.pid,
            version=who.version,
            started=who.started,
            at=self._clock.time(),
            slots=who.slots,
            window=self._reporting.window,
            windows=self._history.windows,
            baseline=self._history.baseline,
            providers=standings,
            layout=layout.epoch,
            reads=layout.consume,
            shards=self._shards(),
            document=self._document(),
            local_fault=self._local_fault(),
            leaving=self._leaving,
            past=self._meter.past.minutes(standings),
            latest=self._meter.past.latest,
        )

    async def _attempt(self, what: str, action: Awaitable[_T]) -> _T | None:
        """Return what *action* gives; None where it fails, which is logged once until it works again."""
        try:
            result = await action
        except Exception as error:  # noqa: BLE001 — whatever ails the reports, the worker's mails must not wait for it
            if what not in self._failing:
                _LOG.warning("not_reported" if what == "report" else "fleet_unknown", **reason_of(error))
            self._failing.add(what)
            return None
        if what in self._failing:
            self._failing.discard(what)
            _LOG.info("reported_again" if what == "report" else "fleet_known_again")
        return result
