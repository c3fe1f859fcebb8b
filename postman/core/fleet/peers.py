"""A worker's windows, each beside what its peers did meanwhile."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from postman.core.fleet.comparison import Comparison, Side, together
from postman.core.fleet.crowd import Crowd, is_paused
from postman.core.fleet.reports import WorkWindow
from postman.core.fleet.rules import Rules
from postman.core.fleet.tracks import Track

__all__ = ["compare", "summed"]


def compare(track: Track, crowd: Crowd, rules: Rules, *, min_peers: int) -> Sequence[Comparison]:
    """Return *track*'s comparisons, oldest first, each of as many windows as it takes to expect `rules.need` mails."""
    latest_first = (window for window in reversed(track.windows) if not is_paused(window))
    return summed((_beside(track.worker, window, crowd) for window in latest_first), rules, min_peers=min_peers)


def summed(latest_first: Iterable[Comparison], rules: Rules, *, min_peers: int) -> Sequence[Comparison]:
    """Add up until enough is expected, and return the sums, oldest first.

    It is done from the latest back, so that what is new always counts; what is left over is the oldest.
    """
    found: list[Comparison] = []
    sum_so_far: Comparison | None = None
    for one in latest_first:
        sum_so_far = one if sum_so_far is None else together([one, sum_so_far])
        usable = _usable(sum_so_far, min_peers)
        if usable.expected >= rules.need:
            found.append(usable)
            sum_so_far = None
    return found[::-1]


def _usable(comparison: Comparison, min_peers: int) -> Comparison:
    sides = {
        provider: side
        for provider, side in comparison.sides.items()
        if side.is_usable and len(side.others) >= min_peers
    }
    return replace(comparison, sides=sides)


def _beside(worker: str, window: WorkWindow, crowd: Crowd) -> Comparison:
    begins = window.ends - window.seconds
    sides = {}
    for provider, own in _without_oldest(window).work.items():
        others = crowd.peers(worker, provider, begins, window.ends)
        spread = crowd.spread(worker, provider)
        sides[provider] = Side(own, others.done, others.outstanding, frozenset(others.workers), spread)
    return Comparison(begins, window.ends, sides, window.oldest)


def _without_oldest(window: WorkWindow) -> WorkWindow:
    """Return *window* without what its oldest mail adds to the outstanding ones; it lies where most of them do."""
    if not window.oldest or not window.work:
        return window
    fullest = max(sorted(window.work), key=lambda provider: window.work[provider].outstanding)
    work = window.work[fullest]
    rest = max(0.0, work.outstanding - min(window.oldest, window.seconds))
    return replace(window, work={**window.work, fullest: replace(work, outstanding=rest)})
