"""The fleet compared with its own past: when it is no single worker's fault."""

from collections.abc import Iterable, Mapping, Sequence

from postman.core.fleet.comparison import Comparison, Side, slow_run, together
from postman.core.fleet.crowd import is_paused
from postman.core.fleet.durations import dispersion
from postman.core.fleet.peers import summed
from postman.core.fleet.reports import ProviderWork, WorkWindow
from postman.core.fleet.rules import Rules
from postman.core.fleet.tracks import Track

__all__ = ["slow_fleet"]

_Work = dict[str, ProviderWork]


def slow_fleet(tracks: Sequence[Track], rules: Rules) -> Comparison | None:
    """Return by how much *tracks* together are slower than before, if they are; judged as a worker is.

    *tracks* are the fleet without those that are slow beside their peers: one that hangs, with many mails in its
    hands, would make the whole fleet look slow, and so protect itself.
    """
    past = _past(tracks, rules)
    most = max((len(track.windows) for track in tracks), default=0)
    latest_first = (
        [track.windows[-nth] for track in tracks if nth <= len(track.windows)] for nth in range(1, most + 1)
    )
    used = [[window for window in windows if not is_paused(window)] for windows in latest_first]
    run = slow_run(summed((_compare(windows, past) for windows in used if windows), rules, min_peers=0), rules)
    return together(run) if run else None


def _past(tracks: Sequence[Track], rules: Rules) -> _Work:
    """Return what was before the windows, at the providers where it outweighs them and makes some comparisons.

    At first it holds little, and of that mostly the short mails, for those end first.
    """
    past = _sum(track.baseline for track in tracks)
    now = _sum(window.work for track in tracks for window in track.windows)
    enough = {name: max(now[name].done, rules.of * rules.need) for name in now}
    return {name: work for name, work in past.items() if name in enough and work.done >= enough[name]}


def _compare(windows: Sequence[WorkWindow], past: _Work) -> Comparison:
    now = _sum(window.work for window in windows)
    begins = min(window.ends - window.seconds for window in windows)
    sides = {name: _side(now[name], past[name]) for name in sorted(now) if name in past}
    return Comparison(begins, max(window.ends for window in windows), sides)


def _side(now: ProviderWork, past: ProviderWork) -> Side:
    return Side(now, past.done, past.outstanding, frozenset(), dispersion(past))


def _sum(works: Iterable[Mapping[str, ProviderWork]]) -> _Work:
    total: _Work = {}
    for work in works:
        for provider, part in work.items():
            total[provider] = total.get(provider, ProviderWork()) + part
    return total
