"""The fleet as an operator sees it, made of the workers' reports: for the command `postman status` and for pages."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from postman.core.fleet.health import Health, Judgement
from postman.core.fleet.judgement import judge
from postman.core.fleet.reports import STOPPED, DocumentSeen, ProviderStanding, WorkerReport
from postman.core.fleet.rules import Rules

__all__ = ["LOOK_BACK", "SLOW_LEDGER", "Fleet", "LedgerLine", "ProviderLine", "WorkerLine", "fleet_of"]

_RULES: Final = Rules()

LOOK_BACK: Final = max(_RULES.departures_within, _RULES.gone_after)
"""Seconds; older reports do not matter."""

SLOW_LEDGER: Final = 1.0
"""Seconds that a call takes on average from which on the ledger is called slow; Firestore's are 0.01 to 0.1."""

_CLOSED: Final = "closed"
_PAUSED: Final = "paused"
_LATEST: Final = 3
"""Windows of which rates and shares are made."""


@dataclass(frozen=True, slots=True)
class WorkerLine:
    """One worker."""

    worker: str
    host: str
    pid: int
    version: str
    health: Health
    reason: str
    rate: float
    """Mails finished a second in its latest windows."""
    in_flight: int
    slots: int
    started: float
    """Seconds since 1970, as all times here."""
    said_at: float
    since: float | None
    """When its trouble began; None where it has none."""
    document: DocumentSeen
    """The providers' document as it goes by it."""


@dataclass(frozen=True, slots=True)
class ProviderLine:
    """One provider, as the workers that work see it."""

    provider: str
    share: float
    """Of the mails that were finished in the latest windows; 0 to 1."""
    rate: float
    """Mails finished there a second, by all workers together."""
    breakers: Mapping[str, int]
    """How many workers see its breaker in which state; *paused*: closed, but held back, as when throttled."""
    retry_after: float
    """Seconds until the first worker that is held back may try again; 0 where none is, or where one may now."""
    weights: Sequence[float]
    """Its share of the traffic in the document, as the workers know it; more than one while they follow a change."""
    problem: str
    """The last failure, of a worker whose breaker is not closed if there is one."""


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """The ledger in the workers' latest windows."""

    calls: int
    """How many ended."""
    mean: float | None
    """Seconds that one took; None where there was none."""
    slow: str
    """That it is slow, in words; empty: it is not, or nobody can tell."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """All of it, at a moment."""

    at: float
    workers: Sequence[WorkerLine]
    providers: Sequence[ProviderLine]
    slow: str
    """Why the whole fleet is slow, which is no worker's fault; empty: it is not."""
    leave: frozenset[str]
    """Workers that are to leave now."""
    departures: int
    """How many left for their health within the last hour."""
    ledger: LedgerLine = LedgerLine(0, None, "")
    """How the ledger does, as the workers that work see it."""


def fleet_of(reports: Sequence[WorkerReport], now: float) -> Fleet:
    """Return what *reports* say at *now*, in seconds since 1970."""
    judgement = judge(reports, now=now, rules=_RULES)
    latest = {report.worker: report for report in sorted(reports, key=lambda report: report.at)}
    known = [latest[worker] for worker in judgement.workers]
    working = [report for report in known if not report.leaving and not _is_silent(report, now)]
    recent = [report for report in latest.values() if now - report.at <= _RULES.departures_within]
    return Fleet(
        at=now,
        workers=[_worker(report, judgement.workers[report.worker], now) for report in sorted(known, key=_place)],
        providers=_providers(working, now),
        slow=judgement.fleet_slow,
        leave=judgement.leave,
        departures=sum(report.leaving not in ("", STOPPED) for report in recent),
        ledger=_ledger(working),
    )


def _place(report: WorkerReport) -> tuple[str, int, str]:
    return report.host, report.pid, report.worker


def _is_silent(report: WorkerReport, now: float) -> bool:
    return now - report.at > _RULES.silent_after * report.window


def _worker(report: WorkerReport, judgement: Judgement, now: float) -> WorkerLine:
    is_there = not report.leaving and not _is_silent(report, now)
    return WorkerLine(
        worker=report.worker,
        host=report.host,
        pid=report.pid,
        version=report.version,
        health=judgement.health,
        reason=judgement.reason,
        rate=sum(_rates(report).values()) if is_there else 0.0,
        in_flight=sum(standing.in_flight for standing in report.providers.values()),
        slots=report.slots,
        started=report.started,
        said_at=report.at,
        since=judgement.since,
        document=report.document,
    )


def _rates(report: WorkerReport) -> dict[str, float]:
    """Return mails finished a second in the latest windows, by provider."""
    windows = report.windows[-_LATEST:]
    seconds = sum(window.seconds for window in windows)
    done = _sums({provider: work.done for provider, work in window.work.items()} for window in windows)
    return {provider: count / seconds for provider, count in done.items()} if seconds > 0 else {}


def _providers(working: Sequence[WorkerReport], now: float) -> list[ProviderLine]:
    rates = _sums(_rates(report) for report in working)
    total = sum(rates.values())
    seen: dict[str, list[_Seen]] = {name: [] for name in rates}
    for report in working:
        for name, standing in report.providers.items():
            seen.setdefault(name, []).append(_seen(standing, now - report.at))
    return [_provider(name, rates.get(name, 0.0), total, seen[name]) for name in sorted(seen)]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A provider as one worker sees it: the state of its breaker, or that it is paused; and for how long from now."""

    state: str
    wait: float
    problem: str
    weight: float


def _seen(standing: ProviderStanding, age: float) -> _Seen:
    wait = max(0.0, standing.retry_after - max(0.0, age))
    is_paused = standing.breaker == _CLOSED and wait > 0
    return _Seen(_PAUSED if is_paused else standing.breaker, wait, standing.problem, standing.weight)


def _provider(name: str, rate: float, total: float, seen: Sequence[_Seen]) -> ProviderLine:
    barred = [each for each in seen if each.state != _CLOSED]
    problems = [each.problem for each in (*barred, *seen) if each.problem]
    return ProviderLine(
        provider=name,
        share=rate / total if total else 0.0,
        rate=rate,
        breakers=dict(sorted(Counter(each.state for each in seen).items())),
        retry_after=min((each.wait for each in barred), default=0.0),
        weights=sorted({each.weight for each in seen}),
        problem=problems[0] if problems else "",
    )


def _ledger(working: Sequence[WorkerReport]) -> LedgerLine:
    windows = [window for report in working for window in report.windows[-_LATEST:]]
    calls = sum(window.ledger_calls for window in windows)
    mean = sum(window.ledger_took for window in windows) / calls if calls else None
    slow = f"a call takes {mean:.1f} s, as {calls} of the latest show" if mean and mean >= SLOW_LEDGER else ""
    return LedgerLine(calls, mean, slow)


def _sums(works: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for work in works:
        for provider, rate in work.items():
            total[provider] = total.get(provider, 0.0) + rate
    return total
