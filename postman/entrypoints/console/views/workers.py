"""The workers and their health."""

from collections import Counter
from collections.abc import Mapping

from postman.entrypoints.console.knowledge import Known
from postman.entrypoints.console.parts import Values, View
from postman.entrypoints.console.stores import Stores
from postman.entrypoints.console.views.fleets import fleet_in

__all__ = ["WORKERS"]


async def _values(stores: Stores, _ask: Mapping[str, str]) -> Values:
    now = stores.clock.time()
    reports = await stores.reports()
    fleet = fleet_in(reports, now)
    return {
        "now": now,
        "has_roster": reports is not None,
        "reports": reports or Known(),
        "fleet": fleet,
        "healths": sorted(Counter(str(each.health) for each in fleet.workers).items()) if fleet else [],
        "window": stores.settings.health_window,
    }


WORKERS = View("workers", "workers.html", _values)
