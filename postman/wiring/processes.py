"""Workers and proxies, joined from their parts."""

import os
import socket
from collections.abc import Callable, Coroutine, Mapping
from importlib.metadata import version
from itertools import count
from random import SystemRandom
from secrets import token_hex
from typing import Any, Final

import structlog

from postman.adapters.clock import SystemClock
from postman.adapters.memory import MemorySuppressions
from postman.adapters.tasting import ChildTaster
from postman.config import Settings
from postman.core.layout import Layout
from postman.errors import ConfigError
from postman.ports.clock import Clock
from postman.ports.roster import Roster
from postman.ports.suppressions import Suppressions
from postman.runtime.courier import Limits
from postman.runtime.failover import Failover
from postman.runtime.following import Following
from postman.runtime.observer import Observer
from postman.runtime.reporter import Identity, Reporting
from postman.runtime.suppressed import SuppressionList
from postman.runtime.worker import Worker, WorkerSettings
from postman.wiring.providers import behind_proxy, observed_providers, open_failover, provider_entries
from postman.wiring.stores import open_layouts, open_ledger, open_roster, open_shards, open_suppressions

__all__ = ["open_observer", "open_worker"]

_LOG = structlog.get_logger("postman.wiring")

_RENDERINGS: Final = (
    "postman.adapters._sendgrid_payload:sendgrid_payload",
    "postman.adapters._mailgun_payload:mailgun_form",
)
"""What is tried with a mail besides reading it, where that may have ended a worker."""

_Closing = Callable[[], Coroutine[Any, Any, None]]

_PULL_WAIT: Final = 2.0
_MARGIN: Final = 3.0
"""Seconds that the calls to the ledger around an attempt may take."""


def open_worker(settings: Settings, environ: Mapping[str, str]) -> tuple[Worker, _Closing]:
    """Return a worker and what closes all that it uses."""
    clock = SystemClock()
    entries = behind_proxy(provider_entries(settings, environ), settings.proxy)
    failover = open_failover(entries, clock=clock, rehome_after=settings.rehome_after)
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
        settings=_worker_settings(settings, failover),
        new_claim_id=_claim_ids(),
        reporting=_reporting(roster, settings, clock) if roster else None,
        objection=suppressed.objection,
        companions=[suppressed],
        taster=taster,
        following=Following(settled, clock=clock, store=layouts),
    )

    async def close() -> None:
        await taster.aclose()
        await failover.aclose()
        await shards.aclose()
        await ledger.aclose()
        await suppressions.aclose()
        for store in (roster, layouts):
            if store is not None:
                await store.aclose()

    return worker, close


def open_observer(settings: Settings, environ: Mapping[str, str]) -> tuple[Observer, _Closing]:
    """Return what the observing proxy does, and what closes all that it uses; no key is read."""
    if settings.ledger.startswith("memory:"):
        raise ConfigError("POSTMAN_LEDGER: memory: is of one process alone, and the proxy is another than the workers")
    clock = SystemClock()
    providers = observed_providers(settings, environ)
    ledger = open_ledger(settings, clock=clock)
    observer = Observer(ledger=ledger, providers=providers, clock=clock)

    async def close() -> None:
        await observer.aclose()
        await ledger.aclose()

    return observer, close


def _worker_settings(settings: Settings, failover: Failover) -> WorkerSettings:
    budget = 2 * failover.longest_timeout + _MARGIN
    return WorkerSettings(
        limits=Limits(lease=budget + _MARGIN, budget=budget),
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
