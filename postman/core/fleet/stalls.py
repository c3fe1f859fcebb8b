"""Workers that finish nothing, reach nothing, say nothing, or take nothing: seen without a comparison of speed."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from postman.core.fleet.crowd import Crowd, is_hung
from postman.core.fleet.durations import percentile_99
from postman.core.fleet.reports import ProviderWork, WorkWindow
from postman.core.fleet.rules import Rules
from postman.core.fleet.tracks import Track

__all__ = ["Hang", "finishing_peers", "hang", "idle_since", "is_held_back", "is_silent", "last_finish"]

_NORMAL = 1e-9
_OPEN = frozenset({"open", "held_open"})
"""States of a breaker that lets nothing through, by itself or by an operator's hand."""


@dataclass(frozen=True, slots=True)
class Hang:
    """A worker that finishes nothing."""

    oldest: float
    """Seconds that a mail has lain in its hands."""
    patience: float
    """Seconds after which that is too long."""


def is_silent(track: Track, now: float, rules: Rules) -> bool:
    """Whether no report came for `rules.silent_after` windows."""
    return track.silence(now) > rules.silent_after * track.report.window


def is_held_back(track: Track, rules: Rules) -> bool:
    """Whether the worker could not have finished anything: it was paused, or its breakers are all open."""
    standings = track.report.providers.values()
    if standings and all(standing.breaker in _OPEN for standing in standings):
        return True
    return track.last is not None and track.last.paused_for >= rules.full_share * track.last.seconds


def hang(track: Track, crowd: Crowd, rules: Rules) -> Hang | None:
    """Return how the worker hangs, if it does. Needs no peers, but where there are some, minds how long mails take.

    It hangs if, for as long as its patience goes back, no window saw a mail finished, and the oldest mail is older.
    """
    last = track.last
    if last is None:
        return None
    patience = max(rules.stalled_after, rules.stalled_factor * _usual_longest(track, crowd, last))
    recent = [window for window in track.windows if window.ends - window.seconds >= last.ends - patience - _NORMAL]
    if is_hung(last, patience) and not any(_done(window) for window in recent):
        return Hang(last.oldest, patience)
    return None


def last_finish(track: Track) -> float:
    """Return when the worker last finished something, as far as its windows show, in seconds since 1970."""
    for window in reversed(track.windows):
        if _done(window):
            return window.ends
    return track.windows[0].ends - track.windows[0].seconds if track.windows else track.report.at


def finishing_peers(track: Track, others: Sequence[Track]) -> int:
    """Return how many of *others* finished mails in their latest window at providers that *track* uses."""
    mine = set(track.report.providers) | {provider for window in track.windows for provider in window.work}
    since = track.report.at - 2 * track.report.window
    return sum(_finishes_at(peer, mine, since) for peer in others if peer.worker != track.worker)


def idle_since(track: Track, others: Sequence[Track], rules: Rules) -> float | None:
    """Return since when the worker is idle though the others' hands are full, in seconds since 1970; None if it is not.

    Hands are compared by their size: mails outstanding a slot.
    """
    recent = track.windows[-rules.of :]
    peers = [peer for peer in others if peer.worker != track.worker]
    idle = [window for window in recent if _is_idle(track, window, peers, rules)]
    return idle[0].ends - idle[0].seconds if len(idle) >= rules.slow else None


def _is_idle(track: Track, window: WorkWindow, peers: Sequence[Track], rules: Rules) -> bool:
    if max(window.paused_for, window.full_for) > rules.paused_share * window.seconds:
        return False
    beside = [(peer, their) for peer in peers if (their := _window_beside(peer, window)) is not None]
    full = sum(their.full_for >= rules.full_share * their.seconds for _, their in beside)
    if len(beside) < rules.min_peers or 2 * full <= len(beside):
        return False
    usual = median(_filling(peer, their) for peer, their in beside)
    return _filling(track, window) < rules.idle_share * usual


def _window_beside(peer: Track, window: WorkWindow) -> WorkWindow | None:
    """Return the one of *peer*'s windows that holds the middle of *window*, or else its latest if that ended within."""
    begins, middle = window.ends - window.seconds, window.ends - window.seconds / 2
    holding = [one for one in peer.windows if one.ends - one.seconds <= middle < one.ends]
    if holding:
        return holding[-1]
    return peer.last if peer.last is not None and begins <= peer.last.ends <= middle else None


def _filling(track: Track, window: WorkWindow) -> float:
    outstanding = sum(work.outstanding for work in window.work.values())
    return outstanding / window.seconds / max(1, track.report.slots)


def _finishes_at(peer: Track, providers: set[str], since: float) -> bool:
    last = peer.last
    return (
        last is not None
        and last.ends >= since
        and any(work.done > 0 for provider, work in last.work.items() if provider in providers)
    )


def _usual_longest(track: Track, crowd: Crowd, last: WorkWindow) -> float:
    """Return the longest 99th percentile of the providers at which the worker holds mails: its peers', or its own."""
    own = track.baseline
    held = [provider for provider, work in last.work.items() if work.outstanding > 0]
    return max((_percentile(track.worker, provider, crowd, own) for provider in held), default=0.0)


def _percentile(worker: str, provider: str, crowd: Crowd, own: dict[str, ProviderWork]) -> float:
    return percentile_99(crowd.durations(worker, provider)) or percentile_99(own.get(provider, ProviderWork()))


def _done(window: WorkWindow) -> float:
    return sum(work.done for work in window.work.values())
