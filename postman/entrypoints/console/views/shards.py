"""The shards: what they are there for, what waits in them, and who cannot read them."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from postman.core.fleet.reports import ShardWork, WorkerReport
from postman.core.layout import Layout, ShardState
from postman.core.resharding import Sight
from postman.entrypoints.backlog import Waiting
from postman.entrypoints.console.charts import share
from postman.entrypoints.console.knowledge import Known
from postman.entrypoints.console.parts import Values, View
from postman.entrypoints.console.stores import Stores

__all__ = ["SHARDS", "ShardLine", "shard_lines"]


@dataclass(frozen=True, slots=True)
class ShardLine:
    """One shard."""

    shard: int
    state: ShardState
    count: int | None
    """Mails in it; None: nobody can tell."""
    bar: float
    """The same, in hundredths of the fullest shard."""
    oldest_age: float | None
    """Seconds; None: nobody can tell, or none waits."""
    waited: float | None
    """For how long the mail that was pulled last had waited; None: none was, lately."""
    dead: int | None
    held: int
    pulled_at: float
    """When it last brought a mail; 0: not within the last hour."""
    problems: Sequence[str]

    @property
    def tone(self) -> str:
        """How its state is to be taken."""
        tones = {ShardState.OPEN: "good", ShardState.PAUSED: "warn", ShardState.DRAINING: "note"}
        return "bad" if self.problems else tones.get(self.state, "quiet")


def shard_lines(
    layout: Layout, waiting: Waiting | None, reports: Sequence[WorkerReport], now: float
) -> Sequence[ShardLine]:
    """Return a line for each shard that there is."""
    sight = Sight(reports, {}, now)
    fullest = max((each.count for each in waiting.shards.values()), default=0) if waiting else 0
    return [_line(layout, waiting, sight, shard, fullest) for shard in range(layout.top)]


def _line(layout: Layout, waiting: Waiting | None, sight: Sight, shard: int, fullest: int) -> ShardLine:
    backlog = waiting.shards.get(shard) if waiting else None
    dead = waiting.dead.get(shard) if waiting else None
    lag = waiting.lags.get(shard) if waiting else None
    works = [report.shards.get(str(shard), ShardWork()) for report in sight.living]
    said = Counter(work.problem for work in works if work.problem)
    return ShardLine(
        shard=shard,
        state=layout.state_of(shard),
        count=backlog.count if backlog else None,
        bar=share(backlog.count, fullest) if backlog else 0.0,
        oldest_age=backlog.oldest_age if backlog and backlog.count else None,
        waited=lag.waited if lag else None,
        dead=dead.count if dead else None,
        held=sum(work.held for work in works),
        pulled_at=max((_pulled_at(report, shard) for report in sight.reports), default=0.0),
        problems=[f"{count} of {len(works)} workers: {text}" for text, count in said.most_common()],
    )


def _pulled_at(report: WorkerReport, shard: int) -> float:
    return report.shards.get(str(shard), ShardWork()).pulled_at


async def _values(stores: Stores, _ask: Mapping[str, str]) -> Values:
    now = stores.clock.time()
    layout, waiting, reports = await asyncio.gather(stores.layout(), stores.waiting(), stores.reports())
    said = (reports.value if reports else None) or ()
    sight = Sight(said, {}, now)
    found = layout.value
    return {
        "now": now,
        "layout_known": layout,
        "layout": found,
        "waiting": waiting.value,
        "reports": reports or Known(),
        "has_roster": reports is not None,
        "shards": shard_lines(found, waiting.value, said, now) if found else [],
        "living": len(sight.living),
        "late": sight.late(found.epoch) if found else [],
        "ahead": sight.ahead(found.epoch) if found else [],
    }


SHARDS = View("shards", "shards.html", _values)
