"""Workers and proxies, joined from their parts."""

import os
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from importlib.metadata import version
from itertools import count
from random import SystemRandom
from secrets import token_hex
from typing import Any, Final

import structlog

from postman.adapters.clock import SystemClock
from postman.adapters.memory import MemorySuppressions
from postman.adapters.tasting import ChildTaster
from postman.config import ProviderEntry, Settings
from postman.core.layout import Layout
from postman.errors import ConfigError
from postman.ports.clock import Clock
from postman.ports.roster import Roster
from postman.ports.suppressions import Suppressions
from postman.runtime.courier import Limits
from postman.runtime.failover import Failover, Lineup
from postman.runtime.following import Following
from postman.runtime.observer import Observer
from postman.runtime.providing import Providing
from postman.runtime.reporter import Identity, Reporting
from postman.runtime.suppressed import SuppressionList
from postman.runtime.worker import Worker, WorkerSettings
from postman.wiring.documents import DocumentReader, Keys
from postman.wiring.providers import Assembly, behind_proxy
from postman.wiring.stores import open_layouts, open_ledger, open_roster, open_shards, open_suppressions

__all__ = ["Opened", "open_observer", "open_worker"]

_LOG = structlog.get_logger("postman.wiring")

_RENDERINGS: Final = (
    "postman.adapters._sendgrid_payload:sendgrid_payload",
    "postman.adapters._mailgun_payload:mailgun_form",
)
"""What is tried with a mail besides reading it, where that may have ended a worker."""

_Closing = Callable[[], Coroutine[Any, Any, None]]

Opened = tuple[Worker, _Closing]
"""A worker, and what closes all that it uses."""

_PULL_WAIT: Final = 2.0
_MARGIN: Final = 3.0
"""Seconds that the calls to the ledger around an attempt may take."""


async def open_worker(settings: Settings, environ: Mapping[str, str]) -> Opened:
    """Return a worker and what closes all that it uses.

    Raises `ConfigError` and `DocumentError`, and where the providers' document or a key cannot be reached now
    `LedgerUnavailableError` or `SecretUnavailableError`.
    """
    clock = SystemClock()
    lineups = _Lineups(settings, environ, clock)
    try:
        first = await lineups.first()
    except BaseException:
        await lineups.aclose()
        raise
    failover = Failover(first.routes, clock=clock, rehome_after=settings.rehome_after, asked=first.asked)
    limits = _limits_of(failover)
    providing = Providing(failover, first, look=lineups.next, clock=clock, claim=lambda: limits().lease)
    shards, ledger = open_shards(settings, clock=clock), open_ledger(settings, clock=clock)
    suppressions = _suppressions_for_mails(settings, clock)
    suppressed = SuppressionList(suppressions, clock)
    roster = _roster_for_reports(settings, clock)
    taster = ChildTaster(clock, renderings=_RENDERINGS)
    layouts = open_layouts(settings, clock=clock)
    settled = Layout.of(settings.shards, hand=settings.shard_hand)
    worker = Worker(
        shards=shards,
        ledger=ledger,
        failover=failover,
        clock=clock,
        settings=_worker_settings(settings, limits()),
        limits=limits,
        new_claim_id=_claim_ids(),
        reporting=_reporting(roster, settings, clock) if roster else None,
        objection=suppressed.objection,
        companions=[suppressed, providing],
        taster=taster,
        following=Following(settled, clock=clock, store=layouts, only=settings.shards_only),
        document=lambda: providing.seen,
    )
    providing.on_change = worker.report_soon

    async def close() -> None:
        await taster.aclose()
        await providing.aclose()
        await failover.aclose()
        await lineups.aclose()
        await shards.aclose()
        await ledger.aclose()
        await suppressions.aclose()
        for store in (roster, layouts):
            if store is not None:
                await store.aclose()

    return worker, close


class _Lineups:
    """What the providers' document says, as lineups."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], clock: Clock) -> None:
        self._reader = DocumentReader(settings, environ, keys=Keys.SENDING, clock=clock)
        self._assembly = Assembly(clock)
        self._proxy = settings.proxy
        self._last: tuple[str, Sequence[ProviderEntry]] | None = None

    async def first(self) -> Lineup:
        return await self.next() or Lineup("", ())

    async def next(self) -> Lineup | None:
        """Return the lineup where it is another than the last one, None where it is the same."""
        found = await self._reader.read()
        if found == self._last:
            return None
        version, entries = found
        lineup = self._assembly.lineup(version, behind_proxy(entries, self._proxy))
        self._last = found
        return lineup

    async def aclose(self) -> None:
        await self._reader.aclose()


def open_observer(settings: Settings) -> tuple[Observer, _Closing]:
    """Return what the observing proxy does, and what closes all that it uses; it stands before nobody yet."""
    if settings.ledger.startswith("memory:"):
        raise ConfigError("POSTMAN_LEDGER: memory: is of one process alone, and the proxy is another than the workers")
    clock = SystemClock()
    ledger = open_ledger(settings, clock=clock)
    observer = Observer(ledger=ledger, providers=[], clock=clock)

    async def close() -> None:
        await observer.aclose()
        await ledger.aclose()

    return observer, close


def _limits_of(failover: Failover) -> Callable[[], Limits]:
    """Return what tells how long a claim may take by the providers that there are now: two attempts."""

    def limits() -> Limits:
        budget = 2 * failover.longest_timeout + _MARGIN
        return Limits(lease=budget + _MARGIN, budget=budget)

    return limits


def _worker_settings(settings: Settings, limits: Limits) -> WorkerSettings:
    return WorkerSettings(
        limits=limits,
        concurrency=settings.concurrency,
        memory=settings.memory,
        ack_deadline=settings.ack_deadline,
        share=settings.shard_share,
        choices=settings.shard_choices,
        grace=settings.grace,
        doubt_window=settings.doubt_window,
        pull_wait=min(_PULL_WAIT, settings.grace / 4),
    )


def _claim_ids() -> Callable[[], str]:
    """Return what makes ids that nobody else makes, and by which two claims of one process are known as such."""
    worker, numbers = token_hex(8), count(1)
    return lambda: f"{worker}.{next(numbers)}"


def _roster_for_reports(settings: Settings, clock: Clock) -> Roster | None:
    roster = open_roster(settings, clock=clock) if settings.health_window else None
    if settings.health_window and roster is None:
        _LOG.warning("no_roster", reason="this kind of ledger keeps no reports of workers: none are written or judged")
    return roster


def _suppressions_for_mails(settings: Settings, clock: Clock) -> Suppressions:
    suppressions = open_suppressions(settings, clock=clock)
    if suppressions is None:
        _LOG.warning("no_suppressions", reason="this kind of ledger keeps no suppression list: no address is refused")
        return MemorySuppressions(clock)
    return suppressions


def _reporting(roster: Roster, settings: Settings, clock: Clock) -> Reporting:
    identity = Identity(
        worker=token_hex(4),
        host=socket.gethostname(),
        pid=os.getpid(),
        version=version("postman"),
        started=clock.time(),
        slots=settings.concurrency,
    )
    return Reporting(roster, identity, settings.health_window, SystemRandom())
