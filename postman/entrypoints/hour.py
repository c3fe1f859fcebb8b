"""The last hour of the whole fleet, minute by minute, put together from what each worker tells of its own.

Workers that left or died within the hour are in it as far as they told. A
minute of which nobody told is unknown, which is not the same as idle; one of
which a worker that works has yet to tell is not whole.

Minutes are those of the workers' clocks. One whose report is dated later than
now is ahead by at least as much, and its minutes are put back by that; a clock
that is behind cannot be told from a report that is old, and its minutes are
taken as they are.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from postman.core.fleet.past import Finished, Latency, Minute, ProviderMinute, summed
from postman.core.fleet.reports import WorkerReport
from postman.core.fleet.rules import Rules

__all__ = ["MINUTES", "FleetMinute", "Hour", "hour_document", "hour_of"]

MINUTES: Final = 60

_SECONDS: Final = 60
_LATEST: Final = 50
_SILENT: Final = Rules().silent_after


@dataclass(frozen=True, slots=True)
class FleetMinute:
    """One minute of all workers together."""

    begins: float
    """Seconds since 1970."""
    seconds: float
    """How much of it is over: 60, and less for the last."""
    sums: Minute
    """The counts of all workers; all zero where nobody told."""
    workers: int
    """How many told of it."""
    is_whole: bool
    """Whether all who worked told of all of it, as far as anybody can know."""
    breakers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By provider, how many workers saw its breaker in which worst state."""

    @property
    def is_known(self) -> bool:
        """Whether anybody told of it: what is unknown is not idle."""
        return self.workers > 0

    @property
    def rate(self) -> float | None:
        """Mails accepted a second; None where it is unknown."""
        return self.sums.accepted / self.seconds if self.is_known and self.seconds > 0 else None

    def share(self, provider: str) -> float | None:
        """Return which part of the accepted mails *provider* took, 0 to 1; None where there were none."""
        accepted = self.sums.accepted
        return self.sums.providers.get(provider, ProviderMinute()).accepted / accepted if accepted else None


@dataclass(frozen=True, slots=True)
class Hour:
    """Sixty minutes, of which the last has begun and is not over."""

    at: float
    """Seconds since 1970."""
    minutes: Sequence[FleetMinute]
    """Oldest first, without gaps."""
    providers: Sequence[str]
    """All that are named in it, sorted."""
    total: Minute
    """The counts of all minutes."""
    latest: Sequence[Finished]
    """The mails that ended last, newest first."""

    @property
    def known(self) -> int:
        """Of how many minutes anybody told."""
        return sum(minute.is_known for minute in self.minutes)

    @property
    def latency(self) -> Latency:
        """From publishing to acceptance."""
        return self.total.latency

    def share(self, provider: str) -> float | None:
        """Return which part of the accepted mails *provider* took, 0 to 1; None where there were none."""
        accepted = self.total.accepted
        return self.total.providers.get(provider, ProviderMinute()).accepted / accepted if accepted else None

    def __str__(self) -> str:
        total = self.total
        counts = f"{total.moved:,} failovers, {total.in_doubt:,} doubts, {total.prevented:,} duplicates prevented"
        others = f"{counts}, {total.refused:,} refused" if total.refused else counts
        sent = f"{total.accepted:,} sent{_latency_words(total.latency)}, {others}"
        if not self.known:
            return "last hour: nobody told of it"
        return f"last hour: {sent}" + (f" (known: {self.known} of {MINUTES} min)" if self.known < MINUTES else "")


def hour_of(reports: Sequence[WorkerReport], now: float) -> Hour:
    """Return the hour before *now*, in seconds since 1970; of two reports of one worker the later counts."""
    latest = {report.worker: report for report in sorted(reports, key=lambda report: report.at)}
    told = [_Told.of(report, now) for report in latest.values()]
    last = int(now // _SECONDS)
    minutes = [_minute(begins, told, now) for begins in range(last - MINUTES + 1, last + 1)]
    total = summed((minute.sums for minute in minutes), begins=last - MINUTES + 1)
    ended = sorted((one for each in told for one in each.report.latest), key=lambda one: one.at, reverse=True)
    return Hour(now, minutes, sorted(total.providers), total, ended[:_LATEST])


def hour_document(hour: Hour) -> dict[str, Any]:
    """Return *hour* for JSON: its totals, and of each minute the counts; null where it is unknown."""
    return {
        "known_minutes": hour.known,
        **_counts(hour.total),
        "minutes": [_minute_document(minute) for minute in hour.minutes],
    }


@dataclass(frozen=True, slots=True)
class _Told:
    """What one worker told, its minutes by their beginning."""

    report: WorkerReport
    minutes: Mapping[int, Minute]
    told_until: float
    """Seconds since 1970: what came later it has not told yet."""
    works: bool
    """Whether it is expected to tell more."""

    @classmethod
    def of(cls, report: WorkerReport, now: float) -> "_Told":
        ahead = max(0.0, report.at - now)
        back = -int(-ahead // _SECONDS)
        is_silent = now - report.at > _SILENT * report.window
        return cls(
            report=report,
            minutes={minute.begins - back: minute for minute in report.past},
            told_until=report.at - ahead,
            works=not report.leaving and not is_silent,
        )

    def owes(self, ends: float) -> bool:
        """Whether it has something to tell of what was before *ends*."""
        return self.works and self.report.started < ends and self.told_until < ends


def _minute(begins: int, told: Iterable[_Told], now: float) -> FleetMinute:
    tellers = list(told)
    minutes = [found for each in tellers if (found := each.minutes.get(begins)) is not None]
    starts, ends = float(begins * _SECONDS), float((begins + 1) * _SECONDS)
    return FleetMinute(
        begins=starts,
        seconds=min(float(_SECONDS), now - starts),
        sums=summed(minutes, begins=begins),
        workers=len(minutes),
        is_whole=bool(minutes) and ends <= now and not any(each.owes(ends) for each in tellers),
        breakers=_breakers(minutes),
    )


def _breakers(minutes: Iterable[Minute]) -> dict[str, dict[str, int]]:
    seen: dict[str, Counter[str]] = {}
    for minute in minutes:
        for name, each in minute.providers.items():
            seen.setdefault(name, Counter())[each.breaker] += 1
    return {name: dict(sorted(seen[name].items())) for name in sorted(seen)}


def _minute_document(minute: FleetMinute) -> dict[str, Any] | None:
    if not minute.is_known:
        return None
    breakers = {name: dict(states) for name, states in minute.breakers.items()}
    return {
        "begins": minute.begins,
        "workers": minute.workers,
        "whole": minute.is_whole,
        **_counts(minute.sums),
        "breakers": breakers,
    }


def _counts(sums: Minute) -> dict[str, Any]:
    return {
        "accepted": {name: sums.providers[name].accepted for name in sorted(sums.providers)},
        "failed": {name: sums.providers[name].failed for name in sorted(sums.providers)},
        "refused": sums.refused,
        "in_doubt": sums.in_doubt,
        "failovers": sums.moved,
        "prevented": sums.prevented,
        "dead": sums.dead,
        "latency": {f"p{percent}": _rounded(sums.latency.quantile(percent / 100)) for percent in (50, 95, 99)},
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _latency_words(latency: Latency) -> str:
    half, most = latency.quantile(0.5), latency.quantile(0.99)
    return f", p50/p99 {_seconds(half)}/{_seconds(most)} s" if half is not None and most is not None else ""


def _seconds(seconds: float) -> str:
    return f"{seconds:.2g}" if seconds < 10 else f"{seconds:.0f}"
