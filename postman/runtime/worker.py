"""The worker: pulls from the shards, delivers, and drains when it is told to stop.

`Intake` decides where it pulls from, `Hands` what it deals with. It holds at
most *concurrency* mails in flight and a few more that wait.

Stopping has two stages. First: take no more, give back at once what was not
begun, finish what is in flight within *grace* seconds; what is still open then
is recorded as doubtful and given back. Second: break off now. A worker that the
fleet finds unfit stops by itself, in the same way.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Final

import structlog

from postman.core.backoff import Backoff
from postman.core.fleet.reports import STOPPED, DocumentSeen
from postman.core.mail import Mail
from postman.errors import LayoutError, LedgerUnavailableError, QueueError, QueueUnavailableError
from postman.ports.clock import Clock
from postman.ports.ledger import Ledger
from postman.ports.queue import ShardMap
from postman.ports.tasting import Taster
from postman.runtime.companion import Companion
from postman.runtime.courier import Courier, Limits
from postman.runtime.doubts import Doubts
from postman.runtime.failover import Failover
from postman.runtime.following import Following
from postman.runtime.freight import BUDGET, Freight
from postman.runtime.guard import Guard
from postman.runtime.hands import Hands, Tally
from postman.runtime.intake import Intake
from postman.runtime.lease import LeaseKeeper
from postman.runtime.meter import Meter
from postman.runtime.reporter import Reporter, Reporting
from postman.runtime.retired import Retired
from postman.runtime.settler import Settler
from postman.runtime.tasks import first_of
from postman.runtime.watched import WatchedLedger

__all__ = ["Tally", "Vitals", "Worker", "WorkerSettings"]

_LOG = structlog.get_logger("postman.worker")

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
    memory: int = BUDGET
    """Bytes of messages that are held, see `Freight`."""
    share: float = 0.5
    """Of the places, those that mails of one shard may take."""
    choices: int = 0
    """Among how many random shards a worker chooses, see `Selection`; 0: among all."""
    pull_wait: float = 2.0
    """How long a pull stands open; a worker that stops waits for the last ones, so much less than *grace*."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """How a worker does, for the probes of its platform. Ages in seconds, infinite for what never was."""

    is_draining: bool
    starting: float | None
    """Since it last tried to start; None once it pulls."""
    pulling: float
    """Since its pull loop last turned."""
    leasing: float
    """Since its lease loop last turned."""
    queue: float
    """Since the queue last answered well; infinite while no shard does."""
    ledger: float
    """Since the ledger last answered well; infinite while it does not."""


class Worker:
    """See the module. `run` returns after `stop` or `leave`, all else is inside. Without *reporting* none is told.

    *objection* says why a mail shall not be sent, as a `DeadReason`, a colon and words; empty where it may. What was
    handed out before is given to the *taster* first.
    """

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
        objection: Callable[[Mail], str] = lambda _: "",
        random: Random | None = None,
        companions: Sequence[Companion] = (),
        taster: Taster | None = None,
        following: Following | None = None,
        limits: Callable[[], Limits] | None = None,
        document: Callable[[], DocumentSeen] = DocumentSeen,
    ) -> None:
        limits = limits or (lambda: settings.limits)
        self._random = random or Random()  # noqa: S311 — spreads load, guards nothing
        self._shards = shards
        self._ledger = ledger
        self._failover = failover
        self._clock = clock
        self._settings = settings
        self._document = document
        self._following = following or Following.of(shards, clock)
        self._guard = Guard(settings.concurrency)
        self._freight = Freight(settings.memory)
        self._leases = LeaseKeeper(seconds=settings.ack_deadline, clock=clock)
        self._broken_off = asyncio.Event()
        self._was_told = False
        self._unfit = ""
        self._tried_at = clock.now()
        self._ledger_reached_at = -inf
        self._meter = Meter(clock, failover.past)
        ledger = WatchedLedger(ledger, clock, self._meter.ledger_called)
        doubts = Doubts(
            ledger=ledger,
            failover=failover,
            clock=clock,
            window=settings.doubt_window,
            lease=lambda: limits().lease,
            new_claim_id=new_claim_id,
        )
        courier = Courier(
            ledger=ledger,
            failover=failover,
            doubts=doubts,
            clock=clock,
            limits=limits,
            new_claim_id=new_claim_id,
            is_draining=lambda: self._guard.is_closed,
            objection=objection,
            others_send=lambda since: self._reporter.others_send(since) if self._reporter else None,
            taster=taster,
            meter=self._meter,
            random=self._random,
        )
        settler = Settler(shards=shards, ledger=ledger, clock=clock, following=self._following)
        self._hands = Hands(
            courier=courier,
            settler=settler,
            leases=self._leases,
            freight=self._freight,
            guard=self._guard,
            meter=self._meter,
            clock=clock,
            random=self._random,
            concurrency=settings.concurrency,
            share=settings.share,
        )
        self._intake = Intake(
            shards=shards,
            following=self._following,
            hands=self._hands,
            guard=self._guard,
            freight=self._freight,
            meter=self._meter,
            clock=clock,
            random=self._random,
            hindrance=lambda: max(self._hands.ledger_away_for, failover.wait()),
            rest=failover.rest,
            concurrency=settings.concurrency,
            pull_wait=settings.pull_wait,
            choices=settings.choices,
        )
        retired = Retired(
            shards=shards,
            following=self._following,
            settler=settler,
            guard=self._guard,
            clock=clock,
            random=self._random,
        )
        self._companions = (*companions, retired)
        self._reporter = self._reporter_for(reporting) if reporting else None

    @property
    def in_flight(self) -> int:
        """How many mails are being dealt with."""
        return self._hands.in_flight

    @property
    def tally(self) -> Tally:
        """What it did since it started."""
        return self._hands.tally

    @property
    def is_draining(self) -> bool:
        """Whether it was told to stop."""
        return self._guard.is_closed

    @property
    def unfit(self) -> str:
        """Why the fleet found that this worker had better leave; empty where it did not."""
        return self._unfit

    def vitals(self) -> Vitals:
        """Return how it does; asks nobody."""
        now = self._clock.now()
        return Vitals(
            is_draining=self.is_draining,
            starting=now - self._tried_at if self._intake.turned_at == -inf else None,
            pulling=now - self._intake.turned_at,
            leasing=now - self._leases.turned_at,
            queue=now - max(self._intake.reached_at, self._leases.reached_at),
            ledger=inf if self._hands.ledger_away_for > 0 else now - self._ledger_reached_at,
        )

    def nudge(self) -> None:
        """Let the pull loop turn, which otherwise rests while all places are taken."""
        self._guard.news.set()

    async def look_at_ledger(self) -> None:
        """Note whether the ledger answers."""
        try:
            await self._ledger.check()
        except Exception:  # noqa: BLE001 — whatever ails it, it cannot be used; who needs it for a mail logs that
            self._ledger_reached_at = -inf
        else:
            self._ledger_reached_at = self._clock.now()

    def stop(self) -> None:
        """Drain, then let `run` return; called again: break off now. May be called at any time, also before `run`."""
        if self._was_told:
            self._broken_off.set()
        self._was_told = True
        self._close()

    def leave(self, why: str) -> None:
        """Drain, because this worker is unfit; where it drains already, this changes nothing."""
        if not self._guard.is_closed:
            self._unfit = why
            self._close()

    def _close(self) -> None:
        """Take no more; whoever holds a mail for want of a provider gives it back at once."""
        self._guard.close()
        self._failover.wake_all()

    async def run(self) -> None:
        """Deliver until `stop`, waiting for a queue or ledger that is away; `ConfigError` where waiting cannot help."""
        await self._wait_until_reachable()
        self._tried_at = self._clock.now()
        await first_of(self._get_ready(), self._guard.wait_until_closed())
        if self.is_draining:
            return
        beside = [asyncio.create_task(each) for each in self._beside()]
        intake = asyncio.create_task(self._intake.run())
        _LOG.info(
            "worker_started",
            shards=len(self._following.read),
            concurrency=self._settings.concurrency,
            layout=self._following.layout.epoch,
        )
        try:
            await first_of(self._guard.wait_until_closed(), intake)
        finally:
            self._close()
            await self._drain()
            for task in (intake, *beside, *self._intake.pulls):
                task.cancel()
            await asyncio.gather(intake, *beside, *self._intake.pulls, return_exceptions=True)
        _LOG.info("worker_stopped", **self.tally.verdicts)

    def _beside(self) -> Sequence[Coroutine[object, object, None]]:
        """Return what goes on while mails are dealt with; none of it ends by itself."""
        reporter = [self._reporter.run()] if self._reporter else []
        return [self._leases.run(), self._following.run(), *reporter, *(each.run() for each in self._companions)]

    def _reporter_for(self, reporting: Reporting) -> Reporter:
        return Reporter(
            reporting,
            meter=self._meter,
            clock=self._clock,
            standings=self._failover.standings,
            local_fault=lambda: self._failover.local_fault,
            layout=lambda: self._following.layout,
            shards=self._intake.works,
            document=self._document,
            leave=self.leave,
        )

    def report_soon(self) -> None:
        """Report before the window ends: something changed that an operator waits to see."""
        if self._reporter is not None:
            self._reporter.say_soon()

    async def _say_goodbye(self) -> None:
        if self._reporter is not None:
            await self._reporter.say_goodbye(self._unfit or STOPPED)

    async def _get_ready(self) -> None:
        await asyncio.gather(*(companion.get_ready() for companion in self._companions))

    async def _wait_until_reachable(self) -> None:
        waits = Backoff(0.5, longest=_LONGEST_PAUSE, random=self._random.random)
        while not self._guard.is_closed:
            self._tried_at = self._clock.now()
            try:
                await first_of(self._check(), self._guard.wait_until_closed())
            except (QueueUnavailableError, LedgerUnavailableError, LayoutError) as error:
                pause = waits.next()
                _LOG.error("not_reachable", reason=str(error), retry_in=round(pause, 1))
                await self._pause(pause)
            else:
                if waits.failures:
                    _LOG.info("reachable_again")
                return

    async def _check(self) -> None:
        """Return when mails can be dealt with, and the layout is known; a shard that it adds is checked by its use."""
        await self._check_shards()
        await self._ledger.check()
        await self._following.look()

    async def _check_shards(self) -> None:
        """Tell of shards that cannot be used; where none can, or it is for a wrong setting, raise why."""
        read = self._following.read
        answers = await asyncio.gather(*map(self._shards.check, read), return_exceptions=True)
        problems = {shard: answer for shard, answer in zip(read, answers, strict=True) if answer is not None}
        for problem in problems.values():
            if not isinstance(problem, QueueError) or len(problems) == len(read):
                raise problem
        for shard, problem in problems.items():
            _LOG.error("shard_not_usable", shard=shard, reason=str(problem))

    async def _drain(self) -> None:
        waiting = self._hands.take_back()
        _LOG.info("worker_draining", in_flight=self.in_flight, given_back=len(waiting))
        last_words = min(_LAST_WORDS, self._settings.grace / 4)
        others = [*self._intake.pulls, *map(asyncio.create_task, (self._hands.give_back(waiting), self._say_goodbye()))]
        end = self._clock.sleep(self._settings.grace - last_words)
        await first_of(self._all_ended(others), self._broken_off.wait(), end)
        self._hands.break_off()
        pending = [] if self._broken_off.is_set() else others  # what an open pull still brings comes back in time
        await first_of(self._all_ended(pending), self._clock.sleep(last_words))

    async def _all_ended(self, others: "list[asyncio.Task[None]]") -> None:
        while pending := [task for task in (*self._hands.running, *others) if not task.done()]:
            await asyncio.wait(pending)

    async def _pause(self, seconds: float) -> None:
        """Wait, or until the gate closes."""
        await first_of(self._clock.sleep(seconds), self._guard.wait_until_closed())
