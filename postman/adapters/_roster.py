"""Reports as the text that a store keeps, and back: the same for all rosters."""

from collections.abc import Iterable

import orjson

from postman.core.fleet.documents import DamagedReportError, document_of, report_of
from postman.core.fleet.reports import WorkerReport

__all__ = ["ReportReader", "dump_report"]


def dump_report(report: WorkerReport) -> bytes:
    """Return *report* as JSON."""
    return orjson.dumps(document_of(report))


class ReportReader:
    """Reads what a roster holds; what it cannot read it leaves out, and says so once for each worker."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def read(self, records: Iterable[tuple[str, bytes | str]]) -> list[WorkerReport]:
        """Return the reports in *records*, each a worker's id and its text."""
        read = [self._read(worker, text) for worker, text in records]
        return [report for report in read if report is not None]

    def _read(self, worker: str, text: bytes | str) -> WorkerReport | None:
        try:
            return report_of(orjson.loads(text))
        except orjson.JSONDecodeError:
            self._tell(worker, "it is no JSON")
        except DamagedReportError as error:
            self._tell(worker, str(error))
        return None

    def _tell(self, worker: str, problem: str) -> None:
        if worker not in self._told:
            import structlog  # late: a command that looks has nothing to log

            self._told.add(worker)
            structlog.get_logger("postman.roster").warning("report_left_out", worker=worker, reason=problem)
