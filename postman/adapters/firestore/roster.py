"""The roster in Firestore, beside the ledger: the collection `{prefix}-workers`, a document for each worker.

A report is one write, a look at the fleet is one query, which costs one read
for each report in its answer. `at` is the only field that is asked for; the
others need no index, `report` (JSON) in particular. `expire_at`, a day on, is
for a TTL policy on that field. Settings are the ledger's.
"""

from collections.abc import Sequence
from typing import Any, Final

from google.cloud.firestore_v1.types import RunQueryRequest, StructuredQuery, Write

from postman.adapters._roster import ReportReader, dump_report
from postman.adapters.firestore._calls import CallFailedError, Calls, Code
from postman.adapters.firestore._channel import Database
from postman.adapters.firestore.ledger import database_of
from postman.core.fleet.reports import WorkerReport
from postman.ports.opening import Cluster
from postman.ports.roster import KEPT

__all__ = ["FirestoreRoster", "open_roster"]

_LIMIT: Final = 6.0
_FROM: Final = StructuredQuery.FieldFilter.Operator.GREATER_THAN_OR_EQUAL


def open_roster(location: str, cluster: Cluster) -> "FirestoreRoster":
    """Open the roster in database *location* (empty: the default one) of the cluster's project."""
    return FirestoreRoster(database_of(location, cluster), collection=f"{cluster.prefix}-workers")


class FirestoreRoster:
    """See the module."""

    def __init__(self, database: Database, *, collection: str) -> None:
        self._database = database
        self._collection = collection
        self._parent = f"{database.path}/documents"
        self._calls = Calls(database)
        self._reader = ReportReader()

    async def report(self, report: WorkerReport) -> None:
        write = Write.pb()()
        write.update.name = f"{self._parent}/{self._collection}/{report.worker}"
        fields = write.update.fields
        fields["at"].double_value = report.at
        fields["expire_at"].timestamp_value.FromMicroseconds(int((report.at + KEPT) * 1e6))
        fields["report"].string_value = dump_report(report).decode()
        async with self._calls.within(_LIMIT):
            [outcome] = await self._calls.batch_write([write], limit=_LIMIT)
        if outcome.code is not Code.OK:
            raise CallFailedError(self._database, outcome.code)

    async def reports(self, since: float) -> Sequence[WorkerReport]:
        async with self._calls.within(_LIMIT):
            documents = await self._calls.query(self._request(since))
        return self._reader.read(
            (document.name.rpartition("/")[2], document.fields["report"].string_value) for document in documents
        )

    async def ensure(self) -> None:
        """Nothing: Firestore makes a collection with its first document."""

    async def aclose(self) -> None:
        await self._calls.aclose()

    def _request(self, since: float) -> Any:
        request = RunQueryRequest.pb()(parent=self._parent)
        query = request.structured_query
        query.from_.add().collection_id = self._collection
        query.where.field_filter.field.field_path = "at"
        query.where.field_filter.op = int(_FROM)
        query.where.field_filter.value.double_value = since
        return request
