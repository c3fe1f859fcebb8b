"""The judgement of the workers' health: who is slow, who is stalled, and who had better leave.

`judge` is a function of the reports alone. Each report holds its worker's last ten windows, and the whole of them is
gone through each time, so any worker, and the command `postman status`, reaches the same result, and nothing is lost
when a process ends.

A worker is compared only with others at the *same provider*: workers choose their first provider at random, and
without that a worker at the slower one would be called ill for its provider's sake. What it finished is compared with
what its peers would have finished with as much in their hands (`comparison`), which holds at any load. Chance is
allowed for by the spread of the peers' durations; a shortfall must be large as well as significant, three times out
of four.
"""

from collections.abc import Mapping, Sequence

from postman.core.fleet.baseline import slow_fleet
from postman.core.fleet.comparison import Comparison, slow_run, together
from postman.core.fleet.crowd import Crowd
from postman.core.fleet.departures import choose
from postman.core.fleet.health import FleetJudgement, Health, Judgement
from postman.core.fleet.peers import compare
from postman.core.fleet.reports import STOPPED, WorkerReport
from postman.core.fleet.rules import Rules
from postman.core.fleet.stalls import finishing_peers, hang, idle_since, is_held_back, is_silent, last_finish
from postman.core.fleet.tracks import Track, latest_tracks
from postman.core.fleet.words import against_baseline, against_peers, counted, keeping_up, span

__all__ = ["FleetJudgement", "Health", "Judgement", "Rules", "judge"]


def judge(reports: Sequence[WorkerReport], *, now: float, rules: Rules | None = None) -> FleetJudgement:
    """Return what is to be thought of the workers behind *reports* at *now*, in seconds since 1970.

    Never raises for what is in a report: what makes no sense is left out. The order of the reports does not matter.
    """
    rules = rules or Rules()
    tracks = latest_tracks(reports)
    bench = _Bench([track for track in tracks if track.silence(now) <= rules.gone_after], now, rules)
    judged = {track.worker: bench.judge(track) for track in bench.tracks}
    fleet_slow = bench.fleet_slow(judged)
    leave = frozenset[str]() if fleet_slow else choose(tracks, judged, now=now, rules=rules)
    return FleetJudgement(judged, fleet_slow, leave)


class _Bench:
    """All that one judgement is made of."""

    def __init__(self, tracks: Sequence[Track], now: float, rules: Rules) -> None:
        self.tracks = tracks
        self._now = now
        self._rules = rules
        self._working = [track for track in tracks if not track.report.leaving]
        self._heard = [track for track in self._working if not is_silent(track, now, rules)]
        self._crowd = Crowd(self._working, rules.stalled_after)

    def judge(self, track: Track) -> Judgement:
        if track.report.leaving:
            return _leaving(track)
        if is_silent(track, self._now, self._rules):
            silence = f"said nothing for {span(track.silence(self._now))}"
            return Judgement(track.worker, Health.STALLED, silence, since=track.report.at)
        return self._cut_off(track) or self._held_back(track) or self._hung(track) or self._beside_peers(track)

    def fleet_slow(self, judged: Mapping[str, Judgement]) -> str:
        """Return why the trouble is not one worker's, or nothing."""
        bad = [t for t in self._heard if judged[t.worker].health in {Health.SLOW, Health.STALLED}]
        seen = [t for t in self._heard if judged[t.worker].health is not Health.UNKNOWN or _finishes(t)]
        if len(bad) > 1 and 2 * len(bad) > len(seen):
            return f"{len(bad)} of {counted(len(seen), 'worker')} are slow or stalled: the cause is not in one of them"
        comparison = slow_fleet([track for track in self._heard if not self._lags(track, judged)], self._rules)
        return against_baseline(comparison) if comparison else ""

    def _lags(self, track: Track, judged: Mapping[str, Judgement]) -> bool:
        judgement = judged[track.worker]
        behind = judgement.ratio is not None and judgement.ratio < self._rules.ratio
        return behind or judgement.health in {Health.SLOW, Health.STALLED}

    def _cut_off(self, track: Track) -> Judgement | None:
        peers = finishing_peers(track, self._heard) if track.report.local_fault else 0
        if peers < self._rules.min_peers:
            return None
        reason = f"reaches no provider, while {counted(peers, 'peer')} finish mails at the same ones"
        return Judgement(track.worker, Health.STALLED, reason, since=last_finish(track))

    def _held_back(self, track: Track) -> Judgement | None:
        if not is_held_back(track, self._rules):
            return None
        return Judgement(track.worker, Health.UNKNOWN, "takes no mails: no provider or no ledger can be used")

    def _hung(self, track: Track) -> Judgement | None:
        found = hang(track, self._crowd, self._rules)
        if found is None:
            return None
        reason = f"finished nothing for {span(found.patience)}; its oldest mail has waited for {span(found.oldest)}"
        return Judgement(track.worker, Health.STALLED, reason, since=track.windows[-1].ends - found.oldest)

    def _beside_peers(self, track: Track) -> Judgement:
        comparisons = compare(track, self._crowd, self._rules, min_peers=self._rules.min_peers)
        run = slow_run(comparisons, self._rules)
        if run:
            whole = together(run)
            return _compared(track, Health.SLOW, against_peers(whole), whole, whole.begins)
        idle = idle_since(track, self._heard, self._rules)
        if idle is not None:
            reason = f"takes few mails while its peers have their hands full, since {span(track.report.at - idle)}"
            return Judgement(track.worker, Health.IDLE_WITH_BACKLOG, reason, since=idle)
        if not comparisons:
            return Judgement(track.worker, Health.UNKNOWN, self._why_unknown(track))
        latest = comparisons[-1]
        return _compared(track, Health.OK, keeping_up(latest), latest, None)

    def _why_unknown(self, track: Track) -> str:
        alone = compare(track, self._crowd, self._rules, min_peers=1)
        if not alone:
            return "has finished too few mails, or has no peers at its providers, to be compared"
        seen = against_peers(together(alone[-self._rules.slow :]))
        warning = "looks slow, but " if slow_run(alone, self._rules) else ""
        return f"{warning}too few peers to judge by: {seen}"


def _compared(track: Track, health: Health, reason: str, run: Comparison, since: float | None) -> Judgement:
    return Judgement(track.worker, health, reason, run.ratio, run.z, since)


def _leaving(track: Track) -> Judgement:
    why = track.report.leaving
    reason = "was told to stop" if why == STOPPED else f"leaves for its health: {why}"
    return Judgement(track.worker, Health.LEAVING, reason)


def _finishes(track: Track) -> bool:
    return track.last is not None and any(work.done for work in track.last.work.values())
