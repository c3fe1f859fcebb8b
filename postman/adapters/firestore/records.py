"""Many mails of the ledger in Firestore, read by indexes.

*Indexes.* A mail on a shelf has the field `shelf`, which goes when it leaves,
so that the composite index of `shelf` and `since` holds nobody else: mails that
are sent without trouble never enter it, and its growth in time caps nothing.
`message_id` and `recipients` have an index each; their values are random, so
that writes to them spread. Entries that an older postman wrote come on their
shelf with their next change.

*Cost.* `counts` reads one index entry in a thousand that it counts, and one
document's price for each shelf at the least; what is listed costs a read each.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import structlog
from google.cloud.firestore_v1.types import RunAggregationQueryRequest, RunQueryRequest, StructuredQuery
from google.protobuf.timestamp_pb2 import Timestamp

from postman.adapters._pages import at_most, read_place, write_place
from postman.adapters.firestore._calls import Calls
from postman.adapters.firestore._channel import Database
from postman.adapters.firestore._documents import document_id, entry_of, mail_id_of
from postman.adapters.firestore.ledger import database_of
from postman.core.ids import MailId
from postman.core.shelf import Shelf
from postman.errors import EntryOfNewerVersionError
from postman.ports.opening import Cluster
from postman.ports.records import Page, Record

__all__ = ["FirestoreRecords", "open_records"]

_LOG = structlog.get_logger("postman.records")

_LIMIT: Final = 9.5
_EQUAL: Final = int(StructuredQuery.FieldFilter.Operator.EQUAL)
_CONTAINS: Final = int(StructuredQuery.FieldFilter.Operator.ARRAY_CONTAINS)
_DESCENDING: Final = int(StructuredQuery.Direction.DESCENDING)


def open_records(location: str, cluster: Cluster) -> "FirestoreRecords":
    """Open the records of the ledger in database *location* (empty: the default one) of the cluster's project."""
    return FirestoreRecords(database_of(location, cluster), collection=f"{cluster.prefix}-mails")


class FirestoreRecords:
    """See the module."""

    def __init__(self, database: Database, *, collection: str) -> None:
        self._database = database
        self._collection = collection
        self._parent = f"{database.path}/documents"
        self._calls = Calls(database)
        self._told: set[str] = set()

    async def counts(self) -> Mapping[Shelf, int]:
        async with self._calls.within(_LIMIT):
            numbers = await asyncio.gather(*(self._count(shelf) for shelf in Shelf))
        return dict(zip(Shelf, numbers, strict=True))

    async def page(self, shelf: Shelf, *, after: str = "", limit: int = 50) -> Page:
        limit = at_most(limit)
        request = self._on(shelf, limit)
        query = request.structured_query
        place = read_place(after)
        if place is not None and place[0].isdigit():
            query.start_at.values.add().timestamp_value.FromNanoseconds(int(place[0]))
            query.start_at.values.add().reference_value = self._name(place[1])
            query.start_at.before = False
        documents = await self._query(request)
        return Page(list(self._readable(documents)), _place_after(documents, limit))

    async def by_message_id(self, message_id: str, *, limit: int = 20) -> Sequence[Record]:
        if not message_id:
            return []
        documents = await self._query(self._request("message_id", _EQUAL, message_id, at_most(limit)))
        return list(self._readable(documents))

    async def by_recipient(self, tag: str, *, limit: int = 50) -> Sequence[Record]:
        documents = await self._query(self._request("recipients", _CONTAINS, tag, at_most(limit)))
        return sorted(self._readable(documents), key=lambda record: record.entry.since, reverse=True)

    async def aclose(self) -> None:
        await self._calls.aclose()

    async def _count(self, shelf: Shelf) -> int:
        request = RunAggregationQueryRequest.pb()(parent=self._parent)
        query = request.structured_aggregation_query
        query.structured_query.CopyFrom(self._on(shelf, 0).structured_query)
        aggregation = query.aggregations.add()
        aggregation.alias = "count"
        aggregation.count.SetInParent()
        return await self._calls.count(request)

    def _on(self, shelf: Shelf, limit: int) -> Any:
        """Ask for a shelf in the order of its index, also to count: no other index has that field."""
        request = self._request("shelf", _EQUAL, shelf, limit)
        for path in ("since", "__name__"):
            order = request.structured_query.order_by.add()
            order.field.field_path, order.direction = path, _DESCENDING
        return request

    async def _query(self, request: Any) -> list[Any]:
        async with self._calls.within(_LIMIT):
            return await self._calls.query(request)

    def _request(self, field: str, operator: int, value: str, limit: int) -> Any:
        request = RunQueryRequest.pb()(parent=self._parent)
        query = request.structured_query
        query.from_.add().collection_id = self._collection
        query.where.field_filter.field.field_path = field
        query.where.field_filter.op = operator
        query.where.field_filter.value.string_value = value
        if limit:
            query.limit.value = limit
        return request

    def _readable(self, documents: Iterable[Any]) -> Iterator[Record]:
        """Leave out what this version cannot read, and say so once for each mail."""
        for document in documents:
            mail_id = mail_id_of(document.name)
            try:
                entry = entry_of(document)
            except EntryOfNewerVersionError as error:
                if mail_id not in self._told:
                    self._told.add(mail_id)
                    _LOG.warning("record_left_out", mail_id=mail_id, reason=str(error))
                continue
            if entry is not None:
                yield Record(mail_id, entry)

    def _name(self, mail_id: str) -> str:
        return f"{self._parent}/{self._collection}/{document_id(MailId(mail_id))}"


def _place_after(documents: Sequence[Any], limit: int) -> str:
    if len(documents) < limit:
        return ""
    since: Timestamp = documents[-1].fields["since"].timestamp_value
    return write_place(str(since.ToNanoseconds()), mail_id_of(documents[-1].name))
