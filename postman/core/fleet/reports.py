"""What a worker says of itself: how much it did at each provider, and with how much in its hands.

The judgement of a worker's health rests on two sums per provider and window:
how many mails it finished, and for how long, added up over mails, they lay in
its hands. Their quotient is one over the mean time that a mail spends in the
worker (Little's law), whatever the load; and a worker that hangs finishes
nothing while its sum of seconds grows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from postman.core.fleet.past import Finished, Minute

__all__ = ["STOPPED", "DocumentSeen", "ProviderStanding", "ProviderWork", "ShardWork", "WorkWindow", "WorkerReport"]

STOPPED = "stopped"
"""Why a worker leaves that was told to by its operator or its platform: no fault of its own."""


@dataclass(frozen=True, slots=True)
class ProviderWork:
    """A worker's work at one provider during some time."""

    done: float = 0.0
    """Mails that left its hands, however they ended. A whole number, but in sums that forget."""
    outstanding: float = 0.0
    """Seconds during which mails lay in its hands, added up over mails, ended or not."""
    took: float = 0.0
    """Seconds from beginning to end, added up over the mails that are *done*."""
    took_squared: float = 0.0
    """The same, each squared."""

    def __add__(self, other: "ProviderWork") -> "ProviderWork":
        return ProviderWork(
            self.done + other.done,
            self.outstanding + other.outstanding,
            self.took + other.took,
            self.took_squared + other.took_squared,
        )

    def times(self, factor: float) -> "ProviderWork":
        """Return each sum times *factor*: to forget the past by degrees."""
        return ProviderWork(
            self.done * factor, self.outstanding * factor, self.took * factor, self.took_squared * factor
        )


@dataclass(frozen=True, slots=True)
class WorkWindow:
    """One stretch of time of a worker; stretches follow each other without gaps."""

    ends: float
    """Seconds since 1970."""
    seconds: float
    work: Mapping[str, ProviderWork] = field(default_factory=dict)
    """By provider."""
    oldest: float = 0.0
    """Age in seconds, at the end, of the mail that lay longest in its hands; 0 with none."""
    full_for: float = 0.0
    """Seconds during which it had no place for another mail."""
    paused_for: float = 0.0
    """Seconds during which it took no mails, because no provider or no ledger could be used."""
    ledger_calls: int = 0
    """Calls to the ledger that ended, well or not."""
    ledger_took: float = 0.0
    """Seconds that they took, added up."""


@dataclass(frozen=True, slots=True)
class ProviderStanding:
    """A provider as this worker sees it now."""

    breaker: str
    """The state of its breaker."""
    retry_after: float = 0.0
    """Seconds until it may be tried; 0 where it may now."""
    in_flight: int = 0
    limit: int = 0
    """Mails in flight at the most, at present."""
    is_home: bool = False
    """Whether this worker's mails go there when all is well."""
    problem: str = ""
    """The last failure in words; empty where there was none."""
    weight: float = 1.0
    """Its share of the traffic, against those of the others."""
    forced: str = ""
    """How the document holds its breaker, `open` or `closed`, whatever becomes of mails; empty: not at all."""


@dataclass(frozen=True, slots=True)
class DocumentSeen:
    """The providers' document as a worker goes by it."""

    version: str = ""
    """The number that its store gave it, or the beginning of its SHA-256 for a file; empty: an older postman."""
    problem: str = ""
    """Why the latest document, or a key, cannot be used, so that what was before holds on; empty where it can."""
    keys_at: float = 0.0
    """When the worker last began to use other keys than before, in seconds since 1970; 0: never since it started."""


@dataclass(frozen=True, slots=True)
class ShardWork:
    """A shard as this worker sees it now. Seconds since 1970; 0 where there was none."""

    held: int = 0
    """Mails from it that are in this worker's hands."""
    pulled_at: float = 0.0
    """When it last brought a mail, also one that had been here before."""
    published_at: float = 0.0
    """When the newest mail that it brought was published."""
    problem: str = ""
    """Why it cannot be read; empty where it can."""


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What one worker process last said; it replaces what it said before."""

    worker: str
    """Unique for each process: a worker that is started again has another."""
    host: str
    pid: int
    version: str
    started: float
    """Seconds since 1970, as all times here."""
    at: float
    """When this was said."""
    slots: int
    """Mails that it deals with at a time."""
    window: float
    """Seconds between two reports."""
    windows: tuple[WorkWindow, ...] = ()
    """The latest, oldest first, at the most ten."""
    baseline: Mapping[str, ProviderWork] = field(default_factory=dict)
    """By provider, what came before those windows, forgotten with a half-life of an hour."""
    providers: Mapping[str, ProviderStanding] = field(default_factory=dict)
    layout: int = 0
    """The epoch of the layout that it follows."""
    reads: int = 0
    """How many shards this layout lets workers read; 0: an older postman did not say."""
    shards: Mapping[str, ShardWork] = field(default_factory=dict)
    """By number, those that brought a mail within the last hour, of which it holds mails, or which it cannot read."""
    document: DocumentSeen = field(default_factory=DocumentSeen)
    local_fault: str = ""
    """Why this worker thinks that the fault is on its own side: it can reach no provider at all. Empty: it does not."""
    leaving: str = ""
    """Why it drains, or drained: `STOPPED`, or its own judgement in words. Empty: it works."""
    past: tuple[Minute, ...] = ()
    """Its last hour, oldest first, without gaps: 61 minutes at the most, of which the last is not over."""
    latest: tuple[Finished, ...] = ()
    """The mails that it ended last, oldest first, at the most twenty."""
