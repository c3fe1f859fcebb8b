"""The roster: who works in this cluster, and how.

It lives in the ledger's store, one record for each worker process, which the
process replaces as it goes; nobody writes another's. Nothing that becomes of a
mail depends on it: a worker whose reports cannot be written works on.

A report is durable, and seen by every later `reports`, when `report` returns.
`LedgerUnavailableError` means that the store is in trouble, and that a report
may have been written; the next one replaces it. Nothing is retried here, and no
method takes longer than about ten seconds before it raises.

Reports are kept for `KEPT` seconds at the least and deleted some time after, so
that the roster does not grow with the processes that ever were. What cannot be
read, because it is damaged or a newer postman's, is left out and logged once.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from postman.core.fleet.reports import WorkerReport

__all__ = ["KEPT", "Roster"]

KEPT: Final = 86_400.0


class Roster(Protocol):
    """See the module. Worker ids are of letters, digits and hyphens."""

    async def report(self, report: WorkerReport) -> None:
        """Replace what this worker said before."""
        ...

    async def reports(self, since: float) -> Sequence[WorkerReport]:
        """Return the latest report of every worker that said something at *since* (seconds since 1970) or later.

        The store chooses them, so that the cost is that of the answer; their order means nothing.
        """
        ...

    async def ensure(self) -> None:
        """Make what is missing (tables); idempotent."""
        ...

    async def aclose(self) -> None:
        """Close; every later call but this one may fail."""
        ...
