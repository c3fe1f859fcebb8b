"""The first page: what is wrong now, and how much flows."""

import asyncio
from collections.abc import Mapping

from postman.entrypoints.console.alarms import Sight, alarms_of, down_since, verdict_of
from postman.entrypoints.console.knowledge import Known
from postman.entrypoints.console.lasthour import charts_of, states_of
from postman.entrypoints.console.parts import Values, View
from postman.entrypoints.console.records import IN_DOUBT
from postman.entrypoints.console.stores import Stores
from postman.entrypoints.console.views.fleets import fleet_in
from postman.entrypoints.console.views.shards import shard_lines
from postman.entrypoints.fleet import Fleet
from postman.entrypoints.hour import hour_of

__all__ = ["OVERVIEW"]


async def _values(stores: Stores, _ask: Mapping[str, str]) -> Values:
    now = stores.clock.time()
    reports, waiting, layout, counts = await asyncio.gather(
        stores.reports(), stores.waiting(), stores.layout(), stores.counts()
    )
    said = (reports.value if reports else None) or ()
    fleet = fleet_in(reports, now)
    hour = hour_of(said, now)
    sight = Sight(
        now=now,
        fleet=fleet,
        seen_at=reports.at if reports is not None else 0.0,
        problem=reports.problem if reports is not None else "",
        waiting=waiting.value,
        layout=layout.value,
        counts=counts.value if counts is not None else None,
        down_since=down_since(states_of(hour)),
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
        "charts": charts_of(hour),
        "in_hands": _in_hands(fleet),
    }


def _counts(counts: Known[Mapping[str, int]] | None) -> tuple[int, int] | None:
    """Return how many mails are in doubt, and how many dead letters there are; None where nobody counts."""
    if counts is None or counts.value is None:
        return None
    dead = sum(count for shelf, count in counts.value.items() if shelf != IN_DOUBT)
    return counts.value.get(IN_DOUBT, 0), dead


def _in_hands(fleet: Fleet | None) -> tuple[int, int]:
    """Return how many mails are in workers' hands, and how many could be."""
    workers = [each for each in fleet.workers if each.rate or each.in_flight] if fleet else []
    return sum(each.in_flight for each in workers), sum(each.slots for each in workers)


OVERVIEW = View("overview", "overview.html", _values)
