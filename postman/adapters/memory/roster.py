"""A roster in this process's memory, for tests and simulations: shared by those who are handed the same object."""

from collections.abc import Sequence

from postman.adapters._roster import ReportReader, dump_report
from postman.core.fleet.reports import WorkerReport
from postman.errors import ConfigError
from postman.ports.clock import Clock
from postman.ports.opening import Cluster
from postman.ports.roster import KEPT

__all__ = ["MemoryRoster", "open_roster"]


class MemoryRoster:
    """See the module. It holds text, as stores do, so that what is read is nobody's own object."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reader = ReportReader()
        self._records: dict[str, tuple[float, bytes]] = {}

    async def report(self, report: WorkerReport) -> None:
        oldest = self._clock.time() - KEPT
        self._records = {worker: record for worker, record in self._records.items() if record[0] >= oldest}
        self._records[report.worker] = (report.at, dump_report(report))

    async def reports(self, since: float) -> Sequence[WorkerReport]:
        return self._reader.read((worker, text) for worker, (at, text) in self._records.items() if at >= since)

    async def ensure(self) -> None:
        """Nothing to make."""

    async def aclose(self) -> None:
        """Nothing to close; what was said stays readable."""


def open_roster(rest: str, cluster: Cluster) -> MemoryRoster:
    """Return a new, empty roster. Raises `ConfigError` if *rest*, what follows `memory:`, is not empty."""
    if rest:
        raise ConfigError(f"nothing may follow memory: in the ledger's URL, not {rest!r}")
    return MemoryRoster(cluster.clock)
