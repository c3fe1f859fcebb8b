"""The reports as the judgement uses them: the latest of each worker, with only what makes sense in it.

A report comes from another process, of another version perhaps, by way of a
store; a number in it that is no number must not decide who is restarted. What
is unsound is left out, and the judgement is made of the rest.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from postman.core.fleet.reports import ProviderWork, WorkerReport, WorkWindow

__all__ = ["Track", "latest_tracks"]

_MOST = 1e15
_WINDOWS = 10


@dataclass(frozen=True, slots=True)
class Track:
    """One worker's report and those of its windows that make sense, oldest first."""

    report: WorkerReport
    windows: tuple[WorkWindow, ...]

    @property
    def worker(self) -> str:
        return self.report.worker

    @property
    def last(self) -> WorkWindow | None:
        """The latest window; None before the first is over."""
        return self.windows[-1] if self.windows else None

    @property
    def baseline(self) -> dict[str, ProviderWork]:
        return _sound_work(self.report.baseline.items())

    def silence(self, now: float) -> float:
        """Return the seconds since the report; 0 where its host's clock is ahead."""
        return max(0.0, now - self.report.at)


def latest_tracks(reports: Iterable[WorkerReport]) -> Sequence[Track]:
    """Return one track for each worker, in the order of their names: of two reports the later counts."""
    latest: dict[str, WorkerReport] = {}
    for report in reports:
        if _are_sound(report.at, report.window) and report.window > 0:
            known = latest.get(report.worker)
            latest[report.worker] = report if known is None else max(known, report, key=_age_and_text)
    return [Track(report, _sound_windows(report)) for _, report in sorted(latest.items())]


def _age_and_text(report: WorkerReport) -> tuple[float, str]:
    return report.at, repr(report)


def _sound_windows(report: WorkerReport) -> tuple[WorkWindow, ...]:
    sound = [_sound_window(window) for window in report.windows if _is_usable(window)]
    return tuple(sorted(sound, key=lambda window: window.ends)[-_WINDOWS:])


def _is_usable(window: WorkWindow) -> bool:
    numbers = (window.ends, window.seconds, window.oldest, window.full_for, window.paused_for)
    return _are_sound(*numbers) and 0 < window.seconds <= window.ends


def _sound_window(window: WorkWindow) -> WorkWindow:
    if all(_is_work(work) for work in window.work.values()):
        return window
    return replace(window, work=_sound_work(window.work.items()))


def _sound_work(items: Iterable[tuple[str, ProviderWork]]) -> dict[str, ProviderWork]:
    return {provider: work for provider, work in items if _is_work(work)}


def _is_work(work: ProviderWork) -> bool:
    return _are_sound(work.done, work.outstanding, work.took, work.took_squared)


def _are_sound(*numbers: float) -> bool:
    return all(0 <= number <= _MOST for number in numbers)
