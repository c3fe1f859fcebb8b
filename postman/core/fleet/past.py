"""The last hour of a worker, minute by minute, and the mails that it ended last.

A page that shows the fleet has no store of its own: what it draws of the last
hour comes from the workers' reports. So each report holds an hour of counts,
small enough to be written twice a minute, and of such a kind that those of
all workers can be added up: also the percentiles, which come from a histogram
with the same buckets everywhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "BOUNDS",
    "MOST_LATEST",
    "MOST_MINUTES",
    "Finished",
    "Latency",
    "Minute",
    "ProviderMinute",
    "summed",
    "worst",
]

MOST_MINUTES: Final = 61
"""An hour, and the minute that has begun."""
MOST_LATEST: Final = 20

BOUNDS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Where the histogram's buckets end, in seconds; the end belongs to its bucket. One more bucket has what is beyond."""

_BADNESS: Final = {"closed": 0, "disabled": 1, "held_closed": 2, "half_open": 3, "held_open": 4, "open": 5}


@dataclass(frozen=True, slots=True)
class Latency:
    """How long mails took from being published (or due, if that is later) until a provider's acceptance is recorded."""

    seconds: float = 0.0
    """Added up over mails, in whole milliseconds."""
    buckets: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    """How many mails fell in which bucket of `BOUNDS`."""

    @property
    def count(self) -> int:
        """Of how many mails this tells."""
        return sum(self.buckets)

    @property
    def mean(self) -> float | None:
        """Seconds; None where there was no mail."""
        return self.seconds / self.count if self.count else None

    def quantile(self, share: float) -> float | None:
        """Return the seconds within which *share* (0 to 1) of the mails were accepted; None where there was none.

        Within a bucket the mails are taken to be spread evenly, so that it is exact at a bucket's ends only. Of mails
        beyond the last bound no more is known than that: the bound is returned.
        """
        rank, before = share * self.count, 0
        for index, count in enumerate(self.buckets):
            if count and before + count >= rank:
                return _within(index, (rank - before) / count)
            before += count
        return None

    def __add__(self, other: "Latency") -> "Latency":
        buckets = tuple(map(sum, zip(self.buckets, other.buckets, strict=True)))
        return Latency(self.seconds + other.seconds, buckets)


@dataclass(frozen=True, slots=True)
class ProviderMinute:
    """A provider in one minute."""

    accepted: int = 0
    """Mails that it took, as far as that was learnt in this minute."""
    failed: int = 0
    """Attempts that failed, or of which nobody knows whether they did; not those that refused a mail for what it is."""
    breaker: str = "closed"
    """The worst state of its breaker."""

    def __add__(self, other: "ProviderMinute") -> "ProviderMinute":
        return ProviderMinute(
            self.accepted + other.accepted, self.failed + other.failed, worst(self.breaker, other.breaker)
        )


@dataclass(frozen=True, slots=True)
class Minute:
    """What happened in one minute, by the clock of the worker's host."""

    begins: int
    """Whole minutes since 1970."""
    providers: Mapping[str, ProviderMinute] = field(default_factory=dict)
    """By name, each that the worker knew."""
    refused: int = 0
    """Mails that a provider refused for what they are."""
    in_doubt: int = 0
    """Times that an attempt left a mail in doubt; not those whose worker ended, which only the ledger knows of."""
    moved: int = 0
    """Times that a mail went on to another provider."""
    prevented: int = 0
    """Times that the ledger kept a mail from being sent: it was settled already, or another worker's, or no such."""
    dead: int = 0
    """Mails that were put among the dead letters; the refused are among them."""
    latency: Latency = field(default_factory=Latency)

    @property
    def accepted(self) -> int:
        """Mails that any provider took."""
        return sum(provider.accepted for provider in self.providers.values())

    @property
    def failed(self) -> int:
        """Attempts that failed at any provider."""
        return sum(provider.failed for provider in self.providers.values())


@dataclass(frozen=True, slots=True)
class Finished:
    """A mail that a worker is done with."""

    mail_id: str
    """Empty where the message named none that is valid."""
    outcome: str
    """`sent`, `settled` (an earlier delivery ended it, or an operator put it aside), or a `DeadReason`."""
    provider: str
    """That took or refused it; empty: none."""
    at: float
    """Seconds since 1970."""
    took: float
    """Seconds since it was published, or due."""
    shard: int


def worst(one: str, other: str) -> str:
    """Return which of two states of a breaker lets fewer mails through; a state that is not known counts little."""
    return max(one, other, key=lambda state: _BADNESS.get(state, 0))


def summed(minutes: Iterable[Minute], *, begins: int) -> Minute:
    """Return *minutes*, of one worker or of several, as one that *begins* then."""
    listed = list(minutes)
    providers: dict[str, ProviderMinute] = {}
    for minute in listed:
        for name, each in minute.providers.items():
            providers[name] = providers[name] + each if name in providers else each
    return Minute(
        begins=begins,
        providers=providers,
        refused=sum(minute.refused for minute in listed),
        in_doubt=sum(minute.in_doubt for minute in listed),
        moved=sum(minute.moved for minute in listed),
        prevented=sum(minute.prevented for minute in listed),
        dead=sum(minute.dead for minute in listed),
        latency=sum((minute.latency for minute in listed), Latency()),
    )


def _within(index: int, share: float) -> float:
    if index == len(BOUNDS):
        return BOUNDS[-1]
    begins = BOUNDS[index - 1] if index else 0.0
    return begins + (BOUNDS[index] - begins) * max(0.0, share)
