"""Dollars for counted operations: list prices, what a design takes a mail, what a fleet takes a month, and the limits.

Nothing here measures or reads anything; `costs` counts, and `cost_page` writes the tables of `docs/costs.md`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from math import ceil, log
from types import MappingProxyType
from typing import Final

__all__ = [
    "BASE",
    "DAY",
    "LIMITS",
    "MILLION",
    "MONTH",
    "PLACES",
    "PRICES",
    "UTILISATION",
    "Amounts",
    "Counts",
    "Fleet",
    "Item",
    "Limit",
    "Part",
    "Price",
    "amounts_of",
    "by_part",
    "charged",
    "designs",
    "dollars",
    "instance",
    "instances_for",
    "month",
    "polling",
    "ramp_minutes",
    "together",
    "windows_between_looks",
]

MILLION: Final = 1e6
DAY: Final = 86_400.0
MONTH: Final = 30.42 * DAY
"""Seconds; a twelfth of a year."""
UTILISATION: Final = 0.6
"""Of an instance's processor, the part that is used when the fleet is as large as its load wants."""
MEMORY: Final = 0.5
"""GiB of an instance."""
KEPT: Final = 3.0
"""Months for which an entry stays: 90 days, and the day or so until the TTL policy acts."""
PEAK: Final = 3.0
"""So many times the day's mean is its busiest hour."""
BASE: Final = MILLION / DAY * PEAK
"""Mails a second in the busiest hour of a sender of a million a day."""
LEAST: Final = 1_000
"""Bytes that Pub/Sub charges for a request at the least."""
FILTERS: Final = 16
BODY: Final = 2_000
PLACES: Final = 50
"""Mails in flight in one worker at the most."""
ROUND_TRIP: Final = 0.2
"""Seconds that a mail keeps its place, most of them the provider's; assumed."""
PUSHED: Final = 0.3
"""Seconds of a push request for one mail, most of them spent waiting."""

_GIB: Final = 2.0**30


class Item(StrEnum):
    """What Google charges for."""

    PUBSUB = "Pub/Sub, published or delivered"
    READ = "Firestore, document reads"
    WRITE = "Firestore, document writes"
    DELETE = "Firestore, document deletes"
    STORED = "Firestore, stored"
    VCPU = "Cloud Run worker pool, vCPU"
    MEMORY = "Cloud Run worker pool, memory"
    BUSY_VCPU = "Cloud Run service billed by request, vCPU"
    BUSY_MEMORY = "Cloud Run service billed by request, memory"
    REQUEST = "Cloud Run service billed by request, requests"
    SECRET = "Secret Manager, accesses"
    LOG = "Cloud Logging"
    EGRESS = "Network, to the internet"


class Part(StrEnum):
    """The columns of a bill."""

    PUBSUB = "Pub/Sub"
    LEDGER = "Firestore, operations"
    STORAGE = "Firestore, storage"
    COMPUTE = "Cloud Run"
    OTHERS = "log, network, secrets"


@dataclass(frozen=True, slots=True)
class Price:
    """A list price: *dollars* for *per* of what is charged, which the list calls *unit*."""

    dollars: float
    unit: str
    per: float
    source: str
    is_read: bool = False
    """Whether it was read somewhere, at the date that *source* names; else it is remembered, and wants checking."""

    @property
    def each(self) -> float:
        return self.dollars / self.per


_PAGE: Final = "price page as it stood on 2026-09-20"
_NOTES: Final = "notes of 2026-08 that quote the page; us-central1 and its like"
_REMEMBERED: Final = "from memory"

PRICES: Final[Mapping[Item, Price]] = MappingProxyType(
    {
        Item.PUBSUB: Price(40.0, "TiB", 2.0**40, _PAGE, is_read=True),
        Item.READ: Price(0.03, "100,000", 1e5, _NOTES, is_read=True),
        Item.WRITE: Price(0.09, "100,000", 1e5, _NOTES, is_read=True),
        Item.DELETE: Price(0.01, "100,000", 1e5, _NOTES, is_read=True),
        Item.STORED: Price(0.15, "GiB-month", _GIB, _NOTES, is_read=True),
        Item.VCPU: Price(0.011244, "1,000 s", 1e3, "announcement of 2025-09, tier 1", is_read=True),
        Item.MEMORY: Price(0.001235, "1,000 GiB-s", 1e3, _REMEMBERED),
        Item.BUSY_VCPU: Price(0.024, "1,000 s", 1e3, _REMEMBERED),
        Item.BUSY_MEMORY: Price(0.0025, "1,000 GiB-s", 1e3, _REMEMBERED),
        Item.REQUEST: Price(0.40, "million", 1e6, _REMEMBERED),
        Item.SECRET: Price(0.03, "10,000", 1e4, _REMEMBERED),
        Item.LOG: Price(0.50, "GiB", _GIB, _REMEMBERED),
        Item.EGRESS: Price(0.12, "GiB", _GIB, _REMEMBERED),
    }
)

_PARTS: Final[Mapping[Item, Part]] = MappingProxyType(
    {
        Item.PUBSUB: Part.PUBSUB,
        Item.READ: Part.LEDGER,
        Item.WRITE: Part.LEDGER,
        Item.DELETE: Part.LEDGER,
        Item.STORED: Part.STORAGE,
        Item.VCPU: Part.COMPUTE,
        Item.MEMORY: Part.COMPUTE,
        Item.BUSY_VCPU: Part.COMPUTE,
        Item.BUSY_MEMORY: Part.COMPUTE,
        Item.REQUEST: Part.COMPUTE,
        Item.SECRET: Part.OTHERS,
        Item.LOG: Part.OTHERS,
        Item.EGRESS: Part.OTHERS,
    }
)

Amounts = Mapping[Item, float]
"""How much of each item; bytes, operations, seconds, byte-months."""


def dollars(amounts: Amounts) -> float:
    """Return what *amounts* cost by the list, without anything that is free."""
    return sum(amount * PRICES[item].each for item, amount in amounts.items())


def by_part(amounts: Amounts) -> Mapping[Part, float]:
    """Return the same, column by column."""
    bill = dict.fromkeys(Part, 0.0)
    for item, amount in amounts.items():
        bill[_PARTS[item]] += amount * PRICES[item].each
    return bill


def together(*several: Amounts, times: float = 1.0) -> Amounts:
    """Return the sum of *several*, *times* over."""
    items = {item for amounts in several for item in amounts}
    return {item: times * sum(amounts.get(item, 0.0) for amounts in several) for item in items}


def charged(size: int) -> int:
    """Return the bytes that Pub/Sub charges for a request whose messages have *size* bytes together."""
    return max(LEAST, size)


def instance(seconds: float) -> Amounts:
    """Return what an instance of one vCPU takes in *seconds*, idle or not."""
    return {Item.VCPU: seconds, Item.MEMORY: MEMORY * seconds}


@dataclass(frozen=True, slots=True)
class Counts:
    """What one mail took, on the average of a run."""

    situation: str
    mails: int
    calls: float
    """Requests to Pub/Sub and Firestore, together."""
    published: float
    """Bytes that Pub/Sub charges for publishing, dead letters included."""
    pulled: float
    writes: float
    """Of Firestore documents, also those whose condition failed."""
    in_vain: float
    """Those of *writes* whose condition failed."""
    reads: float
    document: float
    """Bytes of its entry at the end, by Firestore's rule for stored documents."""
    requests: float
    """Bytes of its requests to providers."""
    log: float
    """Bytes of the worker's log."""
    cpu: float
    """Milliseconds of the worker process."""


def amounts_of(counts: Counts) -> Amounts:
    """Return what a mail takes where the fleet is as large as its load wants; its entry is deleted in the end."""
    return {
        Item.PUBSUB: counts.published + counts.pulled,
        Item.WRITE: counts.writes,
        Item.READ: counts.reads,
        Item.DELETE: 1.0,
        Item.STORED: counts.document * KEPT,
        Item.LOG: counts.log,
        Item.EGRESS: counts.requests,
        **_computing(counts),
    }


def designs(ours: Counts, naive: Counts) -> Mapping[str, Amounts]:
    """Return what a mail takes of postman, and of a naive program that is made worse, one step after the other."""
    steps: dict[str, Amounts] = {"postman": amounts_of(ours), naive.situation: amounts_of(naive)}

    def step(name: str, *additions: Amounts) -> None:
        steps[name] = together(list(steps.values())[-1], *additions)

    step("+ the mail's body kept in the ledger", {Item.STORED: BODY * KEPT})
    step(f"+ one topic with {FILTERS} filtered subscriptions", {Item.PUBSUB: (FILTERS - 1) * naive.pulled})
    step("+ the provider's key read for each mail", {Item.SECRET: 1.0})
    pushed = {Item.BUSY_VCPU: PUSHED, Item.BUSY_MEMORY: MEMORY * PUSHED, Item.REQUEST: 1.0}
    step(f"+ pushed one at a time, {PUSHED:g} s each", pushed, together(_computing(naive), times=-1.0))
    return steps


def _computing(counts: Counts) -> Amounts:
    return instance(counts.cpu / 1e3 / UTILISATION)


@dataclass(frozen=True, slots=True)
class Fleet:
    """The worker processes of a cluster, one on each instance, and how often each of them asks. Times in seconds."""

    processes: int
    shards: int = 8
    layout_every: float = 5.0
    suppressions_every: float = 5.0
    providers_every: float = 3.0
    """The document of the providers, where it is in Firestore; 0: it is a file."""
    keys: int = 2
    """Of providers, in Secret Manager and not pinned to a version."""
    keys_every: float = 60.0
    report_every: float = 30.0
    pull_wait: float = 2.0
    many: int = 20
    """From so many processes on each looks at the reports more rarely."""


def windows_between_looks(fleet: Fleet) -> int:
    """Return how many reports a worker writes for each time that it reads those of all."""
    return max(1, ceil(max(1.0, fleet.processes / fleet.many) - 0.5))


def polling(fleet: Fleet, seconds: float) -> Amounts:
    """Return what the fleet takes beside its mails in *seconds*: empty pulls, the layout, lists, keys, reports.

    A question that finds nothing is charged as one read, and an empty pull is taken to be charged as a request.
    """
    periods = (fleet.layout_every, fleet.suppressions_every, fleet.providers_every)
    asked = sum(1.0 / period for period in periods if period)
    looked = fleet.processes / fleet.report_every / windows_between_looks(fleet)
    return {
        Item.READ: fleet.processes * (asked + looked) * seconds,
        Item.WRITE: fleet.processes / fleet.report_every * seconds,
        Item.PUBSUB: fleet.processes * fleet.shards / fleet.pull_wait * LEAST * seconds,
        Item.SECRET: fleet.processes * fleet.keys / fleet.keys_every * seconds,
    }


def instances_for(rate: float, counts: Counts) -> int:
    """Return how many instances *rate* mails a second want, for their CPU and for their places.

    Two at the least, so that one may fail.
    """
    return max(2, ceil(rate * counts.cpu / 1e3 / UTILISATION), ceil(rate * ROUND_TRIP / PLACES / UTILISATION))


def month(mails_a_day: float, counts: Counts) -> tuple[int, Amounts]:
    """Return the instances, as many all month as the busiest hour wants, and what they and the mails take in it."""
    count = instances_for(mails_a_day / DAY * PEAK, counts)
    mails = together(amounts_of(replace(counts, cpu=0.0)), times=mails_a_day * MONTH / DAY)
    return count, together(mails, polling(Fleet(count), MONTH), instance(count * MONTH))


@dataclass(frozen=True, slots=True)
class Limit:
    """How much there can be in a second, and which of a mail's counts takes it."""

    name: str
    capacity: float
    unit: str
    takes: Mapping[str, float]
    """Names of `Counts`, each with its weight; besides "deletes", one a mail, and "places", seconds of one."""
    remark: str = ""

    def of_a_mail(self, counts: Counts) -> float:
        known: dict[str, float] = {**asdict(counts), "deletes": 1.0, "places": ROUND_TRIP}
        return sum((weight * known[name] for name, weight in self.takes.items()), 0.0)

    def reached_at(self, counts: Counts) -> float:
        """Return the mails a second that take all of it."""
        return self.capacity / self.of_a_mail(counts)


LIMITS: Final = (
    Limit("An index on a time that only grows", 500.0, "writes/s", {"writes": 1.0}, "none with the indexes off"),
    Limit("Firestore, one database", 10_000.0, "writes/s", {"writes": 1.0, "deletes": 1.0}, "an older page's figure"),
    Limit("Pub/Sub, published, a small region", 50.0, "MB/s", {"published": 1e-6}, "can be raised"),
    Limit("Pub/Sub, published, a large region", 200.0, "MB/s", {"published": 1e-6}, "can be raised"),
    Limit("Cloud Run, the CPU of 100 instances", 100 * UTILISATION, "vCPU", {"cpu": 1e-3}, "or several pools"),
    Limit(
        "Cloud Run, the places of 100 instances",
        100 * PLACES * UTILISATION,
        "mails at once",
        {"places": 1.0},
        "`POSTMAN_CONCURRENCY`",
    ),
)


def ramp_minutes(rate: float) -> float:
    """Return the minutes until an empty collection takes *rate* operations a second: 500, then half more every five."""
    return max(0.0, 5.0 * log(rate / 500.0) / log(1.5))
