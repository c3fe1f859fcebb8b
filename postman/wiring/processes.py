"""Workers and proxies, joined from their parts."""

import os
import socket
from collections.abc import Callable, Coroutine, Mapping
from importlib.metadata import version
from random import SystemRandom
from secrets import token_hex
from typing import Any, Final

import structlog

from postman.adapters.clock import SystemClock
from postman.config import Settings
from postman.errors import ConfigError
from postman.ports.clock import Clock
from postman.ports.roster import Roster
from postman.runtime.courier import Limits
from postman.runtime.failover import Failover
from postman.runtime.observer import Observer
from postman.runtime.reporter import Identity, Reporting
from postman.runtime.worker import Worker, WorkerSettings
from postman.wiring.equipment import claim_ids, open_equipment
from postman.wiring.stores import open_ledger, open_roster

__all__ = ["Opened", "open_observer", "open_worker"]

_LOG = structlog.get_logger("postman.wiring")

_Closing = Callable[[], Coroutine[Any, Any, None]]

Opened = tuple[Worker, _Closing]
"""A worker, and what closes all that it uses."""

_PULL_WAIT: Final = 2.0
_MARGIN: Final = 3.0
"""Seconds that the calls to the ledger around an attempt may take."""


async def open_worker(settings: Settings, environ: Mapping[str, str]) -> Opened:
    """Return a worker and what closes all that it uses; raises as `open_equipment`."""
    equipment = await open_equipment(settings, environ, lease=lambda failover: _limits(failover).lease)
    failover, providing = equipment.failover, equipment.providing
    roster = _roster_for_reports(settings, equipment.clock)
    worker = Worker(
        shards=equipment.shards,
        ledger=equipment.ledger,
        failover=failover,
        clock=equipment.clock,
        settings=_worker_settings(settings, _limits(failover)),
        limits=lambda: _limits(failover),
        new_claim_id=claim_ids(),
        reporting=_reporting(roster, settings, equipment.clock) if roster else None,
        objection=equipment.suppressed.objection,
        companions=[equipment.suppressed, providing],
        taster=equipment.taster,
        following=equipment.following,
        document=lambda: providing.seen,
    )
    providing.on_change = worker.report_soon

    async def close() -> None:
        await equipment.aclose()
        if roster is not None:
            await roster.aclose()

    return worker, close


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


def _limits(failover: Failover) -> Limits:
    """Return how long a claim may take by the providers that there are now: two attempts."""
    budget = 2 * failover.longest_timeout + _MARGIN
    return Limits(lease=budget + _MARGIN, budget=budget)


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


def _roster_for_reports(settings: Settings, clock: Clock) -> Roster | None:
    roster = open_roster(settings, clock=clock) if settings.health_window else None
    if settings.health_window and roster is None:
        _LOG.warning("no_roster", reason="this kind of ledger keeps no reports of workers: none are written or judged")
    return roster


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
