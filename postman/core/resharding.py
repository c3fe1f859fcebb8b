"""What comes next on the way from one number of shards to another, while mails flow.

To grow: make the queues, let the workers read them, then let the producers fill
them. To shrink, the other way round: producers first, then wait until what they
left is gone, then the workers. Nothing but the layout and what the workers say
of themselves decides, so whoever stopped on the way is continued by anybody.

No mail is moved by a growth, and none is lost by a producer that learns late:
it goes on filling shards that are still read, and even those that were given up
are looked into now and then.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from postman.core.fleet.reports import ShardWork, WorkerReport
from postman.core.fleet.rules import Rules
from postman.core.layout import Layout
from postman.errors import LayoutError

__all__ = [
    "FOLLOWED",
    "Change",
    "Done",
    "Patience",
    "Sight",
    "Step",
    "Wait",
    "check_settings",
    "next_step",
    "until_empty",
    "until_followed",
]

FOLLOWED: Final = 15.0
"""Seconds within which every process that can read the layout has done so: three times the pause between two looks."""

_RULES: Final = Rules()
_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for those who cannot be asked; in seconds."""

    followed: float = FOLLOWED
    published: float = 90.0
    """Within which a producer that follows the layout has put its last mail by the old one: it insists for a minute."""
    quiet: float = 660.0
    """For which a shard must have brought no mail, where nobody can tell how many lie in it: a mail that was given back
    stays away for ten minutes at the most, one of a worker that died for its ack deadline."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known at a moment."""

    reports: Sequence[WorkerReport]
    """The latest of every worker that said something lately, also of those that ended since."""
    depths: Mapping[int, int | None]
    """How many messages lie in each shard that is to run empty, where that can be told."""
    now: float
    """Seconds since 1970."""

    @property
    def living(self) -> Sequence[WorkerReport]:
        """The workers that are at work: they said so within the last three windows."""
        return [report for report in self.reports if not report.leaving and not self._is_silent(report)]

    @property
    def told_until(self) -> float:
        """Until when all living workers have said what they did; since 1970 nobody has, where none lives."""
        return min((report.at for report in self.living), default=0.0)

    def late(self, epoch: int) -> Sequence[WorkerReport]:
        """Return the living workers that follow an epoch before *epoch*."""
        return [report for report in self.living if report.layout < epoch]

    def ahead(self, epoch: int) -> Sequence[WorkerReport]:
        """Return the living workers that follow an epoch after *epoch*."""
        return [report for report in self.living if report.layout > epoch]

    def reading_otherwise(self, shards: int) -> Sequence[WorkerReport]:
        """Return the living workers that read another number of shards than *shards*."""
        return [report for report in self.living if report.reads not in (0, shards)]

    def _is_silent(self, report: WorkerReport) -> bool:
        return self.now - report.at > _RULES.silent_after * report.window


@dataclass(frozen=True, slots=True)
class Change:
    """Make the queues of the shards *makes*, then put *layout* in place."""

    layout: Layout
    what: str
    makes: Sequence[int] = field(default=())


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done now; *reason* says what it waits for."""

    reason: str
    seconds: int = 0
    """How long it will be; 0: nobody knows."""


@dataclass(frozen=True, slots=True)
class Done:
    """The number of shards is what was wanted, and everybody knows."""


Step = Change | Wait | Done


def next_step(layout: Layout, target: int, *, sight: Sight, patience: Patience, hand: int | None = None) -> Step:
    """Return what comes next; with a *hand*, that is changed too.

    Raises `LayoutError` for what would be unsafe, with the reason.
    """
    check_settings(layout, sight)
    is_dealt = hand is None or hand == layout.hand
    if layout.is_settled and layout.publish == layout.consume == target and is_dealt:
        return Done()
    if layout.target != target or not is_dealt:
        return _begin(layout, target, hand, sight.now)
    if layout.consume < target:
        makes = range(layout.consume, target)
        return Change(layout.consuming(target, now=sight.now), f"workers read {target} shards", makes)
    if layout.publish > target:
        _check_some_are_left(layout, target)
        return Change(layout.publishing(target, now=sight.now), f"producers fill {target} shards")
    coming, going = range(layout.publish, target), range(target, layout.consume)
    if wait := _first(_Waiting(layout, sight, patience).of_a_change(coming, going)):
        return wait
    if layout.publish < target:
        return Change(layout.publishing(target, now=sight.now), f"producers fill {target} shards")
    if going:
        return Change(layout.consuming(target, now=sight.now), f"workers read {target} shards")
    return Change(layout.arrive(now=sight.now), f"{target} shards are in use")


def check_settings(layout: Layout, sight: Sight) -> None:
    """Raise `LayoutError` where *layout*, made of the settings here, is not what the workers go by.

    A first change that began from another number than theirs would let them give up shards in which mails lie.
    """
    if layout.epoch == 0 and (others := sight.reading_otherwise(layout.consume)):
        raise LayoutError(
            f"{others[0].worker} reads {others[0].reads} shards, but POSTMAN_SHARDS is {layout.consume} here: "
            "the first change is made with the workers' settings"
        )


def until_followed(layout: Layout, latest: Layout, sight: Sight) -> Wait | None:
    """Return what must be waited for until all living workers follow *layout* or what came after it; None: they do.

    *latest* is the layout that is kept now.
    """
    return _first(_Waiting(layout, sight, Patience()).who_is_late(latest.epoch))


def until_empty(layout: Layout, shards: Iterable[int], *, sight: Sight, patience: Patience) -> Wait | None:
    """Return what must be waited for until *shards*, which *layout* closed or an epoch before it, are empty."""
    return _first(_Waiting(layout, sight, patience).of_closed(shards))


def _begin(layout: Layout, target: int, hand: int | None, now: float) -> Change:
    aimed = layout.aim(target, hand=hand, now=now)
    paused = sorted(shard for shard in layout.paused if shard >= target)
    if paused:
        raise LayoutError(f"shard {paused[0]} is paused, so nobody would empty it before it goes: resume it first")
    _check_some_are_left(layout, target)
    return Change(aimed, f"{target} shards are wanted")


def _check_some_are_left(layout: Layout, target: int) -> None:
    left = range(min(target, layout.publish))
    if left and not any(map(layout.takes, left)):
        closed = ", ".join(map(str, left))
        raise LayoutError(f"every shard that would be left is closed ({closed}), so none takes mails: resume one first")


def _first(waits: Iterator[Wait]) -> Wait | None:
    return next(waits, None)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What must be waited for before the next change of a layout."""

    layout: Layout
    sight: Sight
    patience: Patience

    def of_a_change(self, coming: Sequence[int], going: Sequence[int]) -> Iterator[Wait]:
        """Yield what holds a change up, after which *coming* are filled and the shards *going* are given up."""
        yield from self._who_follows()
        yield from self._who_reads(coming)
        if going:
            yield from self._who_fills(self.layout.published_at)
            yield from self._what_is_left(going, self.layout.published_at)

    def of_closed(self, shards: Iterable[int]) -> Iterator[Wait]:
        yield from self._who_follows()
        yield from self._who_fills(self.layout.changed_at)
        yield from self._what_is_left(shards, self.layout.changed_at)

    def who_is_late(self, latest: int) -> Iterator[Wait]:
        """Yield who does not follow the layout yet, and who follows one that is none: after the *latest* epoch."""
        epoch, living = self.layout.epoch, self.sight.living
        if late := self.sight.late(epoch):
            named = ", ".join(report.worker for report in late[:_NAMED]) + ", …" * (len(late) > _NAMED)
            yield Wait(f"{len(late)} of {len(living)} workers do not follow epoch {epoch} yet: {named}")
        for report in self.sight.ahead(latest):
            yield Wait(
                f"{report.worker} follows epoch {report.layout}, later than the {latest} that is kept: "
                "the layout was set back; restart it"
            )

    def _who_follows(self) -> Iterator[Wait]:
        yield from self.who_is_late(self.layout.epoch)
        yield from self._pause(
            self.layout.changed_at + self.patience.followed,
            f"whoever does not report has time to follow epoch {self.layout.epoch}",
        )

    def _who_reads(self, coming: Sequence[int]) -> Iterator[Wait]:
        for shard in coming:
            if problem := self._problem_of(shard):
                yield Wait(f"no worker can read shard {shard}: {problem}")

    def _who_fills(self, told_at: float) -> Iterator[Wait]:
        yield from self._pause(
            told_at + self.patience.published, "producers have time to put their last mails by the old layout"
        )

    def _what_is_left(self, shards: Iterable[int], told_at: float) -> Iterator[Wait]:
        for shard in shards:
            depth = self.sight.depths.get(shard)
            if depth == 0:
                continue
            if depth:
                yield Wait(f"{depth} mails lie in shard {shard}{self._nobody_empties(shard)}")
            else:
                yield from self._whether_empty(shard, told_at)

    def _nobody_empties(self, shard: int) -> str:
        """Say why what lies in *shard* stays there; empty where somebody is at it."""
        if shard in self.layout.paused:
            return ", and it is paused: resume it"
        if not self.sight.living:
            return ", and no worker reports"
        if problem := self._problem_of(shard):
            return f", and no worker can read it: {problem}"
        return "" if any(map(_takes_mails, self.sight.living)) else ", and no worker takes mails at present"

    def _problem_of(self, shard: int) -> str:
        """Return why no living worker can read *shard*; empty where one can, or none lives."""
        problems = [work.problem for work in self._works(shard, self.sight.living)]
        return problems[0] if problems and len(problems) == len(self.sight.living) and all(problems) else ""

    def _whether_empty(self, shard: int, told_at: float) -> Iterator[Wait]:
        """Of a shard of which nobody can tell how many mails lie in it."""
        if why := self._nobody_empties(shard):
            yield Wait(f"mails may lie in shard {shard}{why}")
        if count := sum(work.held for work in self._works(shard, self.sight.living)):
            yield Wait(f"workers hold {count} mails of shard {shard}")
        newest = max((work.published_at for work in self._works(shard, self.sight.reports)), default=0.0)
        is_late = newest > told_at + self.patience.published
        whose = "; a producer that does not follow the layout fills it" if is_late else ""
        until = max(self.layout.changed_at, self._watched_since(), *self._traces(shard)) + self.patience.quiet
        yield from self._pause(until, f"shard {shard} must bring no mail for a while{whose}", self.sight.told_until)

    def _works(self, shard: int, reports: Sequence[WorkerReport]) -> Sequence[ShardWork]:
        return [report.shards[str(shard)] for report in reports if str(shard) in report.shards]

    def _traces(self, shard: int) -> Iterator[float]:
        """Yield when it was known to have mails; those of a worker that ended come back, also into a quiet shard."""
        for report in self.sight.reports:
            work = report.shards.get(str(shard), ShardWork())
            yield work.pulled_at
            if work.held:
                yield report.at + report.window

    def _watched_since(self) -> float:
        """Return since when there was a worker at every moment: where none was, silence says nothing."""
        since = self.sight.told_until
        for report in sorted(self.sight.reports, key=lambda report: report.at, reverse=True):
            if report.at + report.window >= since:
                since = min(since, report.started)
        return since

    def _pause(self, until: float, reason: str, now: float | None = None) -> Iterator[Wait]:
        left = until - (self.sight.now if now is None else now)
        if left > 0:
            yield Wait(reason, math.ceil(left))


def _takes_mails(report: WorkerReport) -> bool:
    """Whether the worker took mails during its latest window: without a provider or a ledger it takes none."""
    latest = report.windows[-1:]
    return all(window.paused_for <= _RULES.paused_share * window.seconds for window in latest)
