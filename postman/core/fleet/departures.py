"""Who may leave, so that a fleet never drains itself.

A worker that leaves is replaced, but not at once, and its replacement may fare
no better: so at the most a share of the fleet is out at a time, the one that is
to leave included, and departures are kept apart by a wait that doubles. The
wait begins again when no departure is left that is an hour old or younger.
"""

from collections.abc import Iterable, Mapping, Sequence

from postman.core.fleet.health import Health, Judgement
from postman.core.fleet.reports import STOPPED
from postman.core.fleet.rules import Rules
from postman.core.fleet.stalls import is_silent
from postman.core.fleet.tracks import Track

__all__ = ["choose", "next_departure"]

_ACTED_ON = frozenset({Health.SLOW, Health.STALLED, Health.IDLE_WITH_BACKLOG})
_MOST_DOUBLINGS = 60
_NORMAL = 1e-9


def choose(tracks: Sequence[Track], judged: Mapping[str, Judgement], *, now: float, rules: Rules) -> frozenset[str]:
    """Return the worker that is to leave now: who has been in trouble for longest, if anybody may leave.

    *tracks* hold also those that are long gone: their departures count, they themselves do not.
    """
    silent = {track.worker for track in tracks if is_silent(track, now, rules)}
    working = [track.worker for track in tracks if not track.report.leaving and track.worker in judged]
    draining = [track for track in tracks if _left_for_health(track) and track.worker not in silent]
    out = len(draining) + sum(worker in silent for worker in working)
    candidates = [judged[worker] for worker in working if worker not in silent]
    unfit = [judgement for judgement in candidates if judgement.health in _ACTED_ON]
    may_leave = out + 1 <= _most_out(len(working) + len(draining), rules) and now >= next_departure(tracks, now, rules)
    return frozenset({min(unfit, key=_urgency).worker} if unfit and may_leave else ())


def next_departure(tracks: Iterable[Track], now: float, rules: Rules) -> float:
    """Return from when on a worker may leave for its health, in seconds since 1970; 0 if at any time."""
    times = [track.report.at for track in tracks if _left_for_health(track)]
    recent = [at for at in times if now - at <= rules.departures_within]
    if not recent:
        return 0.0
    wait = rules.backoff * 2.0 ** min(len(recent) - 1, _MOST_DOUBLINGS)
    return max(recent) + min(wait, rules.backoff_longest)


def _most_out(fleet: int, rules: Rules) -> int:
    return max(1, int(rules.max_out * fleet + _NORMAL)) if fleet >= rules.min_fleet else 0


def _left_for_health(track: Track) -> bool:
    return bool(track.report.leaving) and track.report.leaving != STOPPED


def _urgency(judgement: Judgement) -> tuple[float, float, str]:
    since = float("inf") if judgement.since is None else judgement.since
    ratio = 1.0 if judgement.ratio is None else judgement.ratio
    return since, ratio, judgement.worker
