"""Changes the layout for an operator: pauses and drains shards, and leads from one number of them to another.

It goes by what the stores say alone, and does one thing at a time: broken off
anywhere, it is run again and goes on. Two operators who change the same layout
do not disturb each other: whoever comes second looks again. While a store is in
trouble it waits, and says so.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from postman.core.backoff import Backoff
from postman.core.fleet.reports import WorkerReport
from postman.core.layout import Layout
from postman.core.resharding import (
    Change,
    Done,
    Patience,
    Sight,
    Wait,
    check_settings,
    next_step,
    until_empty,
    until_followed,
)
from postman.errors import LayoutChangedError, LayoutError, LedgerUnavailableError, QueueUnavailableError
from postman.ports.clock import Clock
from postman.ports.layouts import Layouts
from postman.ports.queue import ShardMap
from postman.ports.roster import Roster

__all__ = ["News", "NewsKind", "Resharder", "look"]

_T = TypeVar("_T")

_EVERY: Final = 2.0
_AFTER_ANOTHER: Final = 0.5
"""Seconds after which it looks again where somebody else was quicker with a change."""
_LONGEST_PAUSE: Final = 30.0
_TRIES: Final = 5
_LONGEST_WINDOW: Final = 300.0
_WINDOWS: Final = 4
"""Of the longest kind: for how long, at the least, reports are looked back at; the latest three tell who lives."""


class NewsKind(StrEnum):
    STEP = "step"
    """A change of the layout that was made here."""
    OTHER = "other"
    """One that somebody else made, or whose answer was lost."""
    WAITS = "waits"
    """What is waited for now."""
    TROUBLE = "trouble"
    """A store that is in trouble; it is tried again."""


@dataclass(frozen=True, slots=True)
class News:
    """What an operator is told as it happens."""

    kind: NewsKind
    epoch: int
    """The latest that is known."""
    text: str
    seconds: int = 0
    """How long is waited at the most; 0: nobody knows."""


@dataclass(slots=True)
class _Course:
    """Where one call leads to, and how far it has come."""

    target: int
    hand: int | None
    may_turn: bool
    """Whether a change under way to another number may be turned to this one."""
    is_taken: bool = False
    """Whether the layout has been on this course: who turns it now is somebody else, and knows why."""

    def check(self, layout: Layout) -> None:
        """Raise `LayoutError` where the layout is on another course that is not to be left."""
        if layout.target == self.target and self.hand in (None, layout.hand):
            self.is_taken, self.hand = True, None
        if layout.target == self.target:
            return
        if self.is_taken and not (layout.is_settled and layout.publish == self.target):
            raise LayoutError(f"somebody else changed the shards meanwhile: {_course_of(layout)}")
        if not (layout.is_settled or self.is_taken or self.may_turn):
            raise LayoutError(
                f"{_course_of(layout)}: let it end with `postman reshard {layout.target}`, or turn it with --instead"
            )


class Resharder:
    """See the module. *settled* is the layout where nobody ever changed one; *tell* hears what happens."""

    def __init__(
        self,
        *,
        layouts: Layouts,
        roster: Roster | None,
        shards: ShardMap,
        clock: Clock,
        settled: Layout,
        patience: Patience | None = None,
        tell: Callable[[News], None] = lambda _: None,
    ) -> None:
        self._layouts = layouts
        self._roster = roster
        self._shards = shards
        self._clock = clock
        self._settled = settled
        self._patience = patience or Patience()
        self._tell_operator = tell
        self._epoch: int | None = None
        self._told = ""

    async def mark(self, change: Callable[[Layout, float], Layout]) -> Layout:
        """Pause, close or resume shards: *change* makes the next layout of the latest and the time. Return it.

        The latest is returned as it is where *change* changes nothing. Raises `LayoutError` where it is refused, and
        `LedgerUnavailableError`.
        """
        for _ in range(_TRIES):
            reports = await self._reports()
            layout = await self._look()
            check_settings(layout, await self._sight(reports, ()))
            changed = change(layout, self._clock.time())
            if (changed.paused, changed.closed) == (layout.paused, layout.closed):
                return layout
            try:
                await self._layouts.change(changed)
            except LayoutChangedError:
                await self._clock.sleep(_AFTER_ANOTHER)
                continue
            self._epoch = changed.epoch
            return changed
        raise LayoutChangedError("the shards are being changed again and again by somebody else: try again later")

    async def wait_until_followed(self, layout: Layout) -> int:
        """Return how many workers report and follow *layout*, or a later one, once all living ones do."""

        async def turn() -> Wait | int:
            reports = await self._reports()
            latest = await self._look()
            sight = await self._sight(reports, ())
            return until_followed(layout, latest, sight) or len(sight.living)

        return await self._persist(turn)

    async def wait_until_empty(self, shards: Sequence[int]) -> None:
        """Return once nothing lies in *shards*. Raises `LayoutError` where one is filled again meanwhile."""

        async def turn() -> Wait | bool:
            reports = await self._reports()
            layout = await self._look()
            for shard in shards:
                if layout.takes(shard):
                    raise LayoutError(f"shard {shard} takes mails again: somebody resumed it")
            sight = await self._sight(reports, shards)
            return until_empty(layout, shards, sight=sight, patience=self._patience) or True

        await self._persist(turn)

    async def reshard(self, target: int, *, hand: int | None = None, instead: bool = False) -> Layout:
        """Lead to *target* shards, from wherever the layout is; return the last layout.

        With *instead* a change that is under way to another number is turned to this one. Raises `LayoutError` for what
        is refused.
        """
        course = _Course(target, hand, instead)

        async def turn() -> Wait | Layout | None:
            reports = await self._reports()
            layout = await self._look()
            course.check(layout)
            going = range(target, layout.consume) if layout.publish <= target else ()
            sight = await self._sight(reports, going)
            step = next_step(layout, target, sight=sight, patience=self._patience, hand=course.hand)
            if isinstance(step, Wait):
                return step
            if isinstance(step, Done):
                return layout
            await self._make(step)
            return None

        return await self._persist(turn)

    async def _make(self, step: Change) -> None:
        """The queues come first: whoever learns of a shard finds it."""
        if missing := await self._missing(step.makes):
            await self._shards.ensure(missing)
        await self._layouts.change(step.layout)
        self._epoch = step.layout.epoch
        self._tell(NewsKind.STEP, step.what)

    async def _missing(self, shards: Sequence[int]) -> Sequence[int]:
        """Return those of *shards* that cannot be used: who finds them all needs no leave to make any."""
        answers = await asyncio.gather(*map(self._shards.check, shards), return_exceptions=True)
        if wrong := [each for each in answers if each and not isinstance(each, QueueUnavailableError)]:
            raise wrong[0]
        return [shard for shard, answer in zip(shards, answers, strict=True) if answer]

    async def _persist(self, turn: Callable[[], Awaitable[_T | Wait | None]]) -> _T:
        """Return what *turn* gives; it is called again at once where that is None, later where it is a `Wait`."""
        waits = Backoff(1.0, longest=_LONGEST_PAUSE)
        while True:
            try:
                found = await turn()
            except LayoutChangedError:
                await self._clock.sleep(_AFTER_ANOTHER)
                continue
            except (LedgerUnavailableError, QueueUnavailableError) as error:
                pause = waits.next()
                self._tell(NewsKind.TROUBLE, str(error))
                await self._clock.sleep(pause)
                continue
            waits.reset()
            if isinstance(found, Wait):
                self._tell(NewsKind.WAITS, found.reason, found.seconds)
                await self._clock.sleep(_EVERY)
            elif found is not None:
                return found

    async def _look(self) -> Layout:
        layout = await look(self._layouts, self._settled)
        is_news = self._epoch is not None and layout.epoch > self._epoch
        self._epoch = layout.epoch
        if is_news:
            self._tell(NewsKind.OTHER, _course_of(layout))
        return layout

    async def _reports(self) -> Sequence[WorkerReport]:
        """Return what the workers said; asked for before the layout, so that none follows a later one than is read."""
        since = self._clock.time() - max(self._patience.quiet + _LONGEST_WINDOW, _WINDOWS * _LONGEST_WINDOW)
        return await self._roster.reports(since) if self._roster else ()

    async def _sight(self, reports: Sequence[WorkerReport], shards: Iterable[int]) -> Sight:
        wanted = list(shards)
        depths = await asyncio.gather(*map(self._shards.depth, wanted))
        return Sight(reports, dict(zip(wanted, depths, strict=True)), self._clock.time())

    def _tell(self, kind: NewsKind, text: str, seconds: int = 0) -> None:
        """Tell what is new: a wait or a trouble is told once."""
        if text == self._told and kind in (NewsKind.WAITS, NewsKind.TROUBLE):
            return
        self._told = text
        self._tell_operator(News(kind, self._epoch or 0, text, seconds))


async def look(layouts: Layouts | None, settled: Layout) -> Layout:
    """Return the latest layout; *settled*, that of the settings, where nobody ever changed one, or none can be kept."""
    found = await layouts.read() if layouts else None
    return found or settled


def _course_of(layout: Layout) -> str:
    counts = f"producers fill {layout.publish} shards, workers read {layout.consume}"
    return counts if layout.is_settled else f"a change to {layout.target} shards is under way ({counts})"
