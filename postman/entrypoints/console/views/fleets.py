"""The fleet by the workers' last known reports."""

from collections.abc import Sequence

from postman.core.fleet.reports import WorkerReport
from postman.entrypoints.console.knowledge import Known
from postman.entrypoints.fleet import Fleet, fleet_of

__all__ = ["fleet_in"]


def fleet_in(reports: Known[Sequence[WorkerReport]] | None, now: float) -> Fleet | None:
    """Return the fleet as it was when its reports were read, or None where they never were.

    Reports that are old since nobody can read newer ones make no worker silent.
    """
    if reports is None or not reports.is_known:
        return None
    return fleet_of(reports.value or (), reports.at if reports.problem else now)
