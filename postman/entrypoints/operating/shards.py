"""Shards: how each does, and what workers and producers do with them."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final

from postman.config import Settings
from postman.core.fleet.reports import ShardWork
from postman.core.layout import Layout, ShardState
from postman.core.resharding import Sight
from postman.entrypoints.backlog import Gauge, Waiting
from postman.entrypoints.operating.layouts import layout_lookout
from postman.entrypoints.operating.progress import Told
from postman.errors import QueueUnavailableError
from postman.ports.backlog import Backlog
from postman.ports.queue import ShardMap
from postman.ports.roster import Roster
from postman.runtime.resharding import Resharder
from postman.wiring import open_backlogs, open_roster, open_shards, system_clock

__all__ = ["Followed", "ShardAct", "ShardLine", "ShardsSeen", "mark_shards", "shards_lookout", "tell_emptied"]

_EVERY: Final = 2.0
_LOOK_BACK: Final = 900.0
"""Seconds: three windows of the longest kind. Older reports are of workers that do not live."""


@dataclass(frozen=True, slots=True)
class ShardLine:
    """One shard."""

    shard: int
    state: ShardState
    depth: int | None
    """How many messages lie in it, now and exactly; None: nobody can tell."""
    backlog: Backlog | None
    """How many, and for how long, maybe minutes ago; None: nobody can tell."""
    held: int
    """Of these, those in workers' hands."""
    pulled_at: float | None
    """When it last brought a mail, within the last hour; in seconds since 1970."""
    problems: Sequence[str]
    """What workers say who cannot read it, and the queue itself."""


@dataclass(frozen=True, slots=True)
class ShardsSeen:
    """All shards at one moment."""

    layout: Layout
    sight: Sight
    lines: Sequence[ShardLine]
    problem: str = ""
    """Why nobody can tell what waits; empty where somebody can."""


class ShardAct(StrEnum):
    PAUSE = "pause"
    """Workers leave them alone; producers go on filling them."""
    RESUME = "resume"
    """Workers read them and producers fill them again."""
    DRAIN = "drain"
    """Producers put nothing into them, workers empty them."""

    def made_in(self, layout: Layout, shards: Sequence[int], now: float) -> Layout:
        """Return the next layout; raises `LayoutError` for what is refused."""
        change = {ShardAct.PAUSE: layout.pause, ShardAct.RESUME: layout.resume, ShardAct.DRAIN: layout.close}[self]
        return change(*shards, now=now)


@dataclass(frozen=True, slots=True)
class Followed:
    """The layout that an act made, and how many workers follow it by now."""

    layout: Layout
    workers: int


@asynccontextmanager
async def shards_lookout(chosen: Settings) -> AsyncIterator[Callable[[], Awaitable[ShardsSeen]]]:
    """Open what tells how the shards do; what is yielded looks, and raises `LedgerUnavailableError`."""
    shards, roster, gauge = open_shards(chosen), open_roster(chosen), Gauge(open_backlogs(chosen), system_clock())
    async with AsyncExitStack() as stack:
        layout = await stack.enter_async_context(layout_lookout(chosen))
        for store in (shards, gauge, roster):
            if store is not None:
                stack.push_async_callback(store.aclose)
        yield partial(_look, shards, roster, gauge, layout)


async def _look(
    shards: ShardMap, roster: Roster | None, gauge: Gauge, latest: Callable[[], Awaitable[Layout]]
) -> ShardsSeen:
    reports = await roster.reports(time.time() - _LOOK_BACK) if roster else ()
    layout = await latest()
    counts = await asyncio.gather(*(_depth(shards, shard) for shard in range(layout.top)))
    waiting = await gauge.look(range(layout.top), reports)
    depths = {shard: depth for shard, (depth, _) in enumerate(counts)}
    sight = Sight(reports, depths, time.time())
    lines = [_line(layout, sight, waiting, shard, problem) for shard, (_, problem) in enumerate(counts)]
    return ShardsSeen(layout, sight, lines, waiting.problem)


async def mark_shards(
    resharder: Resharder,
    act: ShardAct,
    shards: Sequence[int],
    *,
    made: Callable[[Layout], None] = lambda _: None,
    followed: Callable[[Followed], None] = lambda _: None,
    no_wait: bool = False,
    emptied: Callable[[], Awaitable[None]] | None = None,
) -> Layout:
    """Change the layout, and wait until workers follow; after `DRAIN` also until *shards* are empty.

    *made* hears of the layout once it is there, *followed* once the workers go by it. Broken off, it can be run again.
    *emptied* is awaited beside the wait for empty shards, and is cancelled with it.
    """
    layout = await resharder.mark(lambda latest, now: act.made_in(latest, shards, now))
    made(layout)
    if no_wait:
        return layout
    followed(Followed(layout, await resharder.wait_until_followed(layout)))
    if act is ShardAct.DRAIN:
        await _beside(resharder.wait_until_empty(shards), emptied)
    return layout


async def tell_emptied(chosen: Settings, shards: Sequence[int], told: Told) -> None:
    """Tell again and again how many mails left *shards*, until cancelled; nothing where nobody can count them."""
    most, queues, clock = 0, open_shards(chosen), system_clock()
    async with aclosing(queues):
        while True:
            depths = [await _depth(queues, shard) for shard in shards]
            if None in [depth for depth, _ in depths]:
                return
            left = sum(depth or 0 for depth, _ in depths)
            most = max(most, left)
            told(most - left, most)
            await clock.sleep(_EVERY)


async def _beside(work: Awaitable[None], other: Callable[[], Awaitable[None]] | None) -> None:
    if other is None:
        await work
        return
    beside = asyncio.ensure_future(other())
    try:
        await work
    finally:
        beside.cancel()
        await asyncio.gather(beside, return_exceptions=True)


async def _depth(shards: ShardMap, shard: int) -> tuple[int | None, str]:
    """Return how many messages lie in *shard*, and why that cannot be told."""
    try:
        return await shards.depth(shard), ""
    except QueueUnavailableError as error:
        return None, str(error)


def _line(layout: Layout, sight: Sight, waiting: Waiting, shard: int, problem: str) -> ShardLine:
    living = [report.shards.get(str(shard), ShardWork()) for report in sight.living]
    pulled_at = max((report.shards.get(str(shard), ShardWork()).pulled_at for report in sight.reports), default=0.0)
    said = Counter(work.problem for work in living if work.problem)
    problems = [f"{count} of {len(living)} workers: {text}" for text, count in said.most_common()]
    return ShardLine(
        shard=shard,
        state=layout.state_of(shard),
        depth=sight.depths[shard],
        backlog=waiting.shards.get(shard),
        held=sum(work.held for work in living),
        pulled_at=pulled_at or None,
        problems=[*filter(None, [problem]), *problems],
    )
