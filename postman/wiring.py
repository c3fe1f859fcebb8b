"""The only module that knows both sides: it finds adapters by URL or kind and joins them to the runtime."""

import os
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from importlib.metadata import entry_points, version
from pathlib import Path
from random import Random, SystemRandom
from secrets import token_hex
from typing import Any, Final, cast
from uuid import uuid4

import structlog

from postman.adapters.clock import SystemClock
from postman.breaker import CircuitBreaker, Recovery, Trip
from postman.config import ProviderEntry, Settings, read_providers
from postman.errors import ConfigError
from postman.ports.clock import Clock
from postman.ports.ledger import Ledger
from postman.ports.opening import Cluster, OpenLedger, OpenProvider, OpenRoster, OpenShards
from postman.ports.queue import ShardMap
from postman.ports.roster import Roster
from postman.runtime.courier import Limits
from postman.runtime.failover import Failover, Route
from postman.runtime.producer import Producer
from postman.runtime.reporter import Identity, Reporting
from postman.runtime.worker import Worker, WorkerSettings

__all__ = [
    "cluster_of",
    "open_failover",
    "open_ledger",
    "open_producer",
    "open_roster",
    "open_shards",
    "open_worker",
    "provider_entries",
    "shards_opener",
    "system_clock",
]

_LOG = structlog.get_logger("postman.wiring")

_NEEDS: Final = {"pubsub": "gcp", "firestore": "gcp"}
"""Which extra brings the libraries of an adapter of ours."""

_Closing = Callable[[], Coroutine[Any, Any, None]]

_PULL_WAIT: Final = 2.0
_MARGIN: Final = 3.0
"""Seconds that the calls to the ledger around an attempt may take."""
_LONGEST_OPEN: Final = 60.0
"""A minute after a provider came back it is used again, however long it was away: a probe costs one short attempt."""
_CLAIMING: Final = 5.0
"""Seconds between the leave for a probe and its attempt, in which its mail is claimed."""


def open_shards(settings: Settings, *, clock: Clock | None = None) -> ShardMap:
    """Return the queues that the settings name; no connection is made yet."""
    scheme, _, rest = settings.queue.partition(":")
    opening = cast("OpenShards", _load("postman.queues", scheme, "POSTMAN_QUEUE"))
    return opening(rest, cluster_of(settings, clock))


def open_ledger(settings: Settings, *, clock: Clock | None = None) -> Ledger:
    """Return the ledger that the settings name; no connection is made yet."""
    scheme, _, rest = settings.ledger.partition(":")
    opening = cast("OpenLedger", _load("postman.ledgers", scheme, "POSTMAN_LEDGER"))
    return opening(rest, cluster_of(settings, clock))


def open_roster(settings: Settings, *, clock: Clock | None = None) -> Roster | None:
    """Return the roster beside the ledger, None where that ledger's adapter keeps none; no connection is made yet."""
    scheme, _, rest = settings.ledger.partition(":")
    if scheme not in entry_points(group="postman.rosters").names:
        return None
    opening = cast("OpenRoster", _load("postman.rosters", scheme, "POSTMAN_LEDGER"))
    return opening(rest, cluster_of(settings, clock))


def shards_opener(settings: Settings) -> Callable[[], ShardMap]:
    """Return what opens the queues later, in another thread; a wrong setting shows now."""
    _load("postman.queues", settings.queue.partition(":")[0], "POSTMAN_QUEUE")
    return lambda: open_shards(settings)


def open_producer(settings: Settings) -> Producer:
    """Return a producer for these settings."""
    return Producer(shards_opener(settings), clock=SystemClock())


def system_clock() -> Clock:
    """Return the clock of the machine."""
    return SystemClock()


def open_failover(
    entries: Sequence[ProviderEntry], *, clock: Clock, rehome_after: float = 120.0, random: Random | None = None
) -> Failover:
    """Return the enabled providers, each behind a breaker of its own."""
    routes = [_route(entry, clock) for entry in entries if entry.enabled]
    return Failover(routes, clock=clock, rehome_after=rehome_after, random=random)


def open_worker(settings: Settings, environ: Mapping[str, str]) -> tuple[Worker, _Closing]:
    """Return a worker and what closes all that it uses."""
    clock = SystemClock()
    entries = provider_entries(settings, environ)
    failover = open_failover(entries, clock=clock, rehome_after=settings.rehome_after)
    budget = 2 * failover.longest_timeout + _MARGIN
    limits = Limits(lease=budget + _MARGIN, budget=budget)
    shards, ledger = open_shards(settings, clock=clock), open_ledger(settings, clock=clock)
    roster = _roster_for_reports(settings, clock)
    worker = Worker(
        shards=shards,
        ledger=ledger,
        failover=failover,
        clock=clock,
        settings=WorkerSettings(
            limits=limits,
            concurrency=settings.concurrency,
            ack_deadline=settings.ack_deadline,
            grace=settings.grace,
            doubt_window=settings.doubt_window,
            pull_wait=min(_PULL_WAIT, settings.grace / 4),
        ),
        new_claim_id=lambda: uuid4().hex,
        reporting=_reporting(roster, settings, clock) if roster else None,
    )

    async def close() -> None:
        await failover.aclose()
        await shards.aclose()
        await ledger.aclose()
        if roster:
            await roster.aclose()

    return worker, close


def provider_entries(settings: Settings, environ: Mapping[str, str]) -> Sequence[ProviderEntry]:
    """Return the providers of the document that the settings name, enabled or not."""
    if not settings.providers:
        raise ConfigError("POSTMAN_PROVIDERS: is not set; it names the TOML file of the providers")
    if settings.providers.startswith("firestore:"):
        raise ConfigError("POSTMAN_PROVIDERS: only the path of a TOML file is supported")
    return read_providers(Path(settings.providers).expanduser(), environ)


def cluster_of(settings: Settings, clock: Clock | None = None) -> Cluster:
    """Return what queues and ledgers are told when they are opened."""
    return Cluster(
        clock=clock or SystemClock(),
        project=settings.project,
        prefix=settings.prefix,
        shards=settings.shards,
        ack_deadline=settings.ack_deadline,
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


def _route(entry: ProviderEntry, clock: Clock) -> Route:
    opening = cast("OpenProvider", _load("postman.providers", entry.spec.kind, f"provider {entry.spec.name}: kind"))
    provider = opening(entry.spec)
    breaker = CircuitBreaker(
        entry.spec.name,
        Trip(slow_after=provider.timeout / 2),
        Recovery(max_open=_LONGEST_OPEN, lease=provider.timeout + _CLAIMING),
        clock=clock.now,
    )
    return Route(provider, breaker, weight=entry.weight, rate=entry.rate, concurrency=entry.concurrency)


def _load(group: str, name: str, setting: str) -> object:
    known = entry_points(group=group)
    if name not in known.names:
        raise ConfigError(f"{setting}: {name!r} is not known; installed are {', '.join(sorted(known.names))}")
    try:
        return known[name].load()
    except ImportError as error:
        extra = f"; install postman[{_NEEDS[name]}]" if name in _NEEDS else ""
        raise ConfigError(f"{setting}: {name!r} lacks a library: {error.name}{extra}") from error
