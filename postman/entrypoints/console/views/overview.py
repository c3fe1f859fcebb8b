"""The first page: what is wrong now, and how much flows."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from postman.core.fleet.reports import WorkerReport
from postman.entrypoints.console.alarms import Sight, alarms_of, verdict_of
from postman.entrypoints.console.charts import Columns, columns, line, top_of
from postman.entrypoints.console.knowledge import Known
from postman.entrypoints.console.parts import Values, View
from postman.entrypoints.console.past import Past, past_of
from postman.entrypoints.console.records import IN_DOUBT
from postman.entrypoints.console.stores import Stores
from postman.entrypoints.console.views.fleets import fleet_in
from postman.entrypoints.console.views.shards import shard_lines
from postman.entrypoints.fleet import Fleet

__all__ = ["OVERVIEW", "Charts"]


@dataclass(frozen=True, slots=True)
class Charts:
    """The shapes of the charts."""

    past: Past
    mails: Columns
    took: str
    """The path of the line."""
    took_top: float


async def _values(stores: Stores, _ask: Mapping[str, str]) -> Values:
    now = stores.clock.time()
    reports, waiting, layout, counts = await asyncio.gather(
        stores.reports(), stores.waiting(), stores.layout(), stores.counts()
    )
    said = (reports.value if reports else None) or ()
    fleet = fleet_in(reports, now)
    sight = Sight(
        now=now,
        fleet=fleet,
        seen_at=reports.at if reports is not None else 0.0,
        problem=reports.problem if reports is not None else "",
        waiting=waiting.value,
        layout=layout.value,
        counts=counts.value if counts is not None else None,
        down_since={},
    )
    alarms = alarms_of(sight)
    return {
        "now": now,
        "has_roster": reports is not None,
        "reports": reports or Known(),
        "verdict": verdict_of(sight, alarms),
        "alarms": alarms,
        "fleet": fleet,
        "rate": sum(each.rate for each in fleet.providers) if fleet else 0.0,
        "waiting": waiting.value,
        "shards": shard_lines(layout.value, waiting.value, said, now) if layout.value else [],
        "counts": _counts(counts),
        "charts": _charts(said, now),
        "in_hands": _in_hands(fleet),
    }


def _counts(counts: Known[Mapping[str, int]] | None) -> tuple[int, int] | None:
    """Return how many mails are in doubt, and how many dead letters there are; None where nobody counts."""
    if counts is None or counts.value is None:
        return None
    dead = sum(count for shelf, count in counts.value.items() if shelf != IN_DOUBT)
    return counts.value.get(IN_DOUBT, 0), dead


def _charts(reports: Sequence[WorkerReport], now: float) -> Charts:
    past = past_of(reports, now)
    rates = [
        {name: each / slot.seconds for name, each in slot.done.items()} if slot.is_known else None
        for slot in past.slots
    ]
    top = top_of(max((slot.took or 0.0 for slot in past.slots), default=0.0))
    return Charts(past, columns(rates, past.providers), line([slot.took for slot in past.slots], top), top)


def _in_hands(fleet: Fleet | None) -> tuple[int, int]:
    """Return how many mails are in workers' hands, and how many could be."""
    workers = [each for each in fleet.workers if each.rate or each.in_flight] if fleet else []
    return sum(each.in_flight for each in workers), sum(each.slots for each in workers)


OVERVIEW = View("overview", "overview.html", _values)
