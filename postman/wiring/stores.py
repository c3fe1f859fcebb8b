"""Queues, ledgers and what lies beside them, by their URLs."""

from typing import cast

from postman.adapters.clock import SystemClock
from postman.config import Settings
from postman.ports.backlog import Backlogs, OpenBacklogs
from postman.ports.clock import Clock
from postman.ports.layouts import Layouts
from postman.ports.ledger import Ledger
from postman.ports.opening import Cluster, OpenLayouts, OpenLedger, OpenRoster, OpenShards, OpenSuppressions
from postman.ports.queue import ShardMap
from postman.ports.records import OpenRecords, Records
from postman.ports.roster import Roster
from postman.ports.suppressions import Suppressions
from postman.wiring.loading import has, load

__all__ = [
    "cluster_of",
    "open_backlogs",
    "open_layouts",
    "open_ledger",
    "open_records",
    "open_roster",
    "open_shards",
    "open_suppressions",
    "system_clock",
]


def open_shards(settings: Settings, *, clock: Clock | None = None) -> ShardMap:
    """Return the queues that the settings name; no connection is made yet."""
    scheme, _, rest = settings.queue.partition(":")
    opening = cast("OpenShards", load("postman.queues", scheme, "POSTMAN_QUEUE"))
    return opening(rest, cluster_of(settings, clock))


def open_ledger(settings: Settings, *, clock: Clock | None = None) -> Ledger:
    """Return the ledger that the settings name; no connection is made yet."""
    scheme, _, rest = settings.ledger.partition(":")
    opening = cast("OpenLedger", load("postman.ledgers", scheme, "POSTMAN_LEDGER"))
    return opening(rest, cluster_of(settings, clock))


def open_layouts(settings: Settings, *, clock: Clock | None = None) -> Layouts | None:
    """Return the layout's store beside the ledger, None where its adapter keeps none; no connection is made yet."""
    scheme, _, rest = settings.ledger.partition(":")
    if not has("postman.layouts", scheme):
        return None
    opening = cast("OpenLayouts", load("postman.layouts", scheme, "POSTMAN_LEDGER"))
    return opening(rest, cluster_of(settings, clock))


def open_roster(settings: Settings, *, clock: Clock | None = None) -> Roster | None:
    """Return the roster beside the ledger, None where that ledger's adapter keeps none; no connection is made yet."""
    scheme, _, rest = settings.ledger.partition(":")
    if not has("postman.rosters", scheme):
        return None
    opening = cast("OpenRoster", load("postman.rosters", scheme, "POSTMAN_LEDGER"))
    return opening(rest, cluster_of(settings, clock))


def open_suppressions(settings: Settings, *, clock: Clock | None = None) -> Suppressions | None:
    """Return the suppression list beside the ledger, None where its adapter keeps none; no connection is made yet."""
    scheme, _, rest = settings.ledger.partition(":")
    if not has("postman.suppressions", scheme):
        return None
    opening = cast("OpenSuppressions", load("postman.suppressions", scheme, "POSTMAN_LEDGER"))
    return opening(rest, cluster_of(settings, clock))


def open_backlogs(settings: Settings, *, clock: Clock | None = None) -> Backlogs | None:
    """Return who tells what waits in the queues, None where nobody does; no connection is made yet."""
    scheme, _, rest = settings.queue.partition(":")
    if not has("postman.backlogs", scheme):
        return None
    opening = cast("OpenBacklogs", load("postman.backlogs", scheme, "POSTMAN_QUEUE"))
    return opening(rest, cluster_of(settings, clock))


def open_records(settings: Settings, *, clock: Clock | None = None) -> Records | None:
    """Return who reads the ledger over many mails, None where its adapter cannot; no connection is made yet."""
    scheme, _, rest = settings.ledger.partition(":")
    if not has("postman.records", scheme):
        return None
    opening = cast("OpenRecords", load("postman.records", scheme, "POSTMAN_LEDGER"))
    return opening(rest, cluster_of(settings, clock))


def system_clock() -> Clock:
    """Return the clock of the machine."""
    return SystemClock()


def cluster_of(settings: Settings, clock: Clock | None = None) -> Cluster:
    """Return what queues and ledgers are told when they are opened."""
    return Cluster(
        clock=clock or SystemClock(),
        project=settings.project,
        prefix=settings.prefix,
        shards=settings.shards,
        ack_deadline=settings.ack_deadline,
    )
