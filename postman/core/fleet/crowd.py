"""What a worker's peers did at a provider, during any stretch of time.

Workers start at different moments, so the ends of their windows differ, and so
do, by some seconds, the clocks of their hosts. Windows are therefore aligned by
absolute time: a peer's window counts for a stretch in proportion to how much of
it lies within. What a clock is wrong by only blurs the edges.

Left out is a window during which its worker was paused for the greater part, or
finished nothing while its oldest mail had waited for *stalled_after* seconds:
neither shows what the provider can do.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from postman.core.fleet.durations import dispersion
from postman.core.fleet.reports import ProviderWork, WorkWindow
from postman.core.fleet.tracks import Track

__all__ = ["Crowd", "PeerWork", "is_hung", "is_paused"]

_MOSTLY = 0.5


def is_paused(window: WorkWindow) -> bool:
    """Whether the worker took no mails for the greater part of *window*."""
    return window.paused_for >= _MOSTLY * window.seconds


def is_hung(window: WorkWindow, stalled_after: float) -> bool:
    """Whether nothing was finished in *window* though a mail had waited for *stalled_after* seconds."""
    return window.oldest > stalled_after and not any(work.done for work in window.work.values())


@dataclass(slots=True)
class PeerWork:
    """The work of some workers in a stretch of time."""

    done: float = 0.0
    outstanding: float = 0.0
    workers: set[str] = field(default_factory=set)


_Span = tuple[float, float, str, float, float]
"""Begins, ends, worker, mails done a second, mails outstanding on the average."""

_begins: Callable[[_Span], float] = itemgetter(0)


class Crowd:
    """Everybody's work, arranged by provider and time."""

    def __init__(self, tracks: Sequence[Track], stalled_after: float) -> None:
        self._spans: dict[str, list[_Span]] = {}
        self._longest = 0.0
        self._own: dict[str, dict[str, ProviderWork]] = {}
        self._all: dict[str, ProviderWork] = {}
        for track in tracks:
            self._add(track, (w for w in track.windows if not is_paused(w) and not is_hung(w, stalled_after)))
        for spans in self._spans.values():
            spans.sort()
        self._spread: dict[tuple[str, str], float] = {}

    def peers(self, worker: str, provider: str, begins: float, ends: float) -> PeerWork:
        """Return what all but *worker* did at *provider* in the stretch."""
        found = PeerWork()
        spans = self._spans.get(provider, [])
        for index in range(bisect_left(spans, begins - self._longest, key=_begins), len(spans)):
            start, end, name, done, outstanding = spans[index]
            if start >= ends:
                break
            overlap = min(end, ends) - max(start, begins)
            if overlap > 0 and name != worker:
                found.done += done * overlap
                found.outstanding += outstanding * overlap
                found.workers.add(name)
        return found

    def durations(self, worker: str, provider: str) -> ProviderWork:
        """Return the sums over all windows, and what came before them, of all but *worker*."""
        everybody = self._all.get(provider, ProviderWork())
        own = self._own.get(worker, {}).get(provider, ProviderWork())
        return ProviderWork(
            max(0.0, everybody.done - own.done),
            max(0.0, everybody.outstanding - own.outstanding),
            max(0.0, everybody.took - own.took),
            max(0.0, everybody.took_squared - own.took_squared),
        )

    def spread(self, worker: str, provider: str) -> float:
        """Return how unequal the durations of the peers' mails are: see `dispersion`."""
        key = worker, provider
        if key not in self._spread:
            self._spread[key] = dispersion(self.durations(worker, provider))
        return self._spread[key]

    def _add(self, track: Track, windows: Iterable[WorkWindow]) -> None:
        own = self._own[track.worker] = track.baseline
        for window in windows:
            self._longest = max(self._longest, window.seconds)
            for provider, work in window.work.items():
                own[provider] = own.get(provider, ProviderWork()) + work
                if work.outstanding > 0:
                    self._spans.setdefault(provider, []).append(_span(track.worker, window, work))
        for provider, work in own.items():
            self._all[provider] = self._all.get(provider, ProviderWork()) + work


def _span(worker: str, window: WorkWindow, work: ProviderWork) -> _Span:
    return (
        window.ends - window.seconds,
        window.ends,
        worker,
        work.done / window.seconds,
        work.outstanding / window.seconds,
    )
