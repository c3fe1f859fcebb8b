"""The suppression list in Firestore, beside the ledger: a document for each key in `{prefix}-suppressions`.

*Guarantees and cost.* A change is one read and one write, conditional on what
was read, so that nobody can come between; where somebody does, or an answer is
lost, it is read again, and recognises what it did. `changes` is one query for a
page, which costs one read for each suppression in its answer, and one where
there is none.

`changed_at` is the server's time of the change, and orders the pages. A change
may be committed a little after the time that it bears, so each pass begins
`OVERLAP` seconds before the last one did; a change travels with a deadline of a
tenth of that. For a while after a change it is therefore told more than once.

*Settings* are the ledger's. `expire_at` is for a TTL policy on that field; of
the others only `changed_at` needs an index.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import structlog
from google.cloud.firestore_v1.types import DocumentTransform, RunQueryRequest, StructuredQuery, Write
from google.protobuf.timestamp_pb2 import Timestamp

from postman.adapters._suppressions import PAGE, added, forget_at, lifted, reason_named
from postman.adapters.firestore._calls import REFUSALS, CallFailedError, Calls, Code, Snapshot
from postman.adapters.firestore._channel import Database
from postman.adapters.firestore._documents import seconds_of
from postman.adapters.firestore.ledger import database_of
from postman.core.suppression import Suppression
from postman.ports.clock import Clock
from postman.ports.opening import Cluster
from postman.ports.suppressions import Changes

__all__ = ["OVERLAP", "FirestoreSuppressions", "open_suppressions"]

OVERLAP: Final = 30.0
"""Seconds that a change may be committed late."""

_LOG = structlog.get_logger("postman.suppressions")

_ATTEMPTS: Final = 12
_LIMIT: Final = 9.5
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_TEXTS: Final = ("reason", "provider", "mail_id", "detail")
_FIELDS: Final = (*_TEXTS, "since", "expires_at", "is_lifted", "expire_at")
_FROM: Final = int(StructuredQuery.FieldFilter.Operator.GREATER_THAN_OR_EQUAL)
_REQUEST_TIME: Final = int(DocumentTransform.FieldTransform.ServerValue.REQUEST_TIME)

_Step = Callable[[Suppression | None, float], Suppression | None]
"""From what stands there, and the server's time, to what shall; None for no change."""


def open_suppressions(location: str, cluster: Cluster) -> "FirestoreSuppressions":
    """Open the list in database *location* (empty: the default one) of the cluster's project."""
    collection = f"{cluster.prefix}-suppressions"
    return FirestoreSuppressions(database_of(location, cluster), collection=collection, clock=cluster.clock)


class FirestoreSuppressions:
    """See the module. *jitter* gives numbers from 0 to 1 that spread the attempts under contention."""

    def __init__(
        self,
        database: Database,
        *,
        collection: str,
        clock: Clock,
        page: int = PAGE,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._collection = collection
        self._parent = f"{database.path}/documents"
        self._clock = clock
        self._page = page
        self._jitter = jitter
        self._calls = _DatedCalls(database)
        self._told: set[str] = set()

    async def put(self, suppression: Suppression) -> None:
        await self._change(suppression.key, lambda old, _: added(old, suppression))

    async def lift(self, key: str) -> Suppression | None:
        return await self._change(key, lifted)

    async def find(self, key: str) -> Suppression | None:
        async with self._calls.within(_LIMIT):
            return _suppression_in(await self._read(key))

    async def changes(self, cursor: str = "") -> Changes:
        position = _Position.read(cursor)
        async with self._calls.within(_LIMIT):
            documents, read_at = await self._calls.query_dated(self._request(position))
        return Changes(
            list(self._readable(documents)),
            str(position.after(documents, read_at, is_last=len(documents) < self._page)),
            has_more=len(documents) == self._page,
        )

    async def ensure(self) -> None:
        """Nothing: Firestore makes a collection with its first document."""

    async def aclose(self) -> None:
        await self._calls.aclose()

    async def _change(self, key: str, step: _Step) -> Suppression | None:
        """Return what stood there before *step* changed it; None where it changed nothing."""
        stood = tried = None
        code = Code.ABORTED
        async with self._calls.within(_LIMIT):
            for attempt in range(_ATTEMPTS):
                snapshot = await self._read(key)
                found = _suppression_in(snapshot)
                if tried is not None and found == tried:
                    return stood
                tried, stood = step(found, seconds_of(snapshot.read_at)), found
                if tried is None:
                    return None
                code = await self._write(self._replacement(tried, snapshot))
                if code is Code.OK:
                    return stood
                await self._clock.sleep(min(0.5, 0.02 * 2**attempt) * (0.5 + self._jitter()))
        raise CallFailedError(self._database, code)

    async def _read(self, key: str) -> Snapshot:
        name = self._name(key)
        return (await self._calls.read([name]))[name]

    async def _write(self, write: Any) -> Code:
        """Return how it ended; raise only where neither reading nor another attempt would help."""
        try:
            [outcome] = await self._calls.batch_write([write])
        except CallFailedError as error:
            if error.code in REFUSALS:
                raise
            return error.code
        if outcome.code in REFUSALS:
            raise CallFailedError(self._database, outcome.code)
        return outcome.code

    def _replacement(self, suppression: Suppression, snapshot: Snapshot) -> Any:
        """Return the write that puts *suppression* where *snapshot* still holds; fields that we do not know stay."""
        write = Write.pb()()
        write.update.name = self._name(suppression.key)
        write.update_mask.field_paths.extend(_FIELDS)
        _fill(write.update.fields, suppression)
        transform = write.update_transforms.add()
        transform.field_path, transform.set_to_server_value = "changed_at", _REQUEST_TIME
        if snapshot.document is None:
            write.current_document.exists = False
        else:
            write.current_document.update_time.CopyFrom(snapshot.document.update_time)
        return write

    def _request(self, position: "_Position") -> Any:
        request = RunQueryRequest.pb()(parent=self._parent)
        query = request.structured_query
        query.from_.add().collection_id = self._collection
        for path in ("changed_at", "__name__"):
            query.order_by.add().field.field_path = path
        query.limit.value = self._page
        if position.key:
            query.start_at.values.add().timestamp_value.FromNanoseconds(position.changed_at)
            query.start_at.values.add().reference_value = self._name(position.key)
            query.start_at.before = False
        elif position.begin:
            query.where.field_filter.field.field_path = "changed_at"
            query.where.field_filter.op = _FROM
            query.where.field_filter.value.timestamp_value.FromNanoseconds(position.begin)
        return request

    def _readable(self, documents: Iterable[Any]) -> Iterator[Suppression]:
        """Leave out what is no suppression, and say so once."""
        for document in documents:
            key = _key_of(document)
            if _KEY.fullmatch(key):
                yield _suppression(document)
            elif key not in self._told:
                self._told.add(key)
                _LOG.warning("suppression_left_out", reason="a document's name is no key", collection=self._collection)

    def _name(self, key: str) -> str:
        return f"{self._parent}/{self._collection}/{key}"


@dataclass(frozen=True, slots=True)
class _Position:
    """How far a pass has come; as text it is the cursor. Times in nanoseconds since 1970, by the server's clock."""

    begin: int = 0
    """Within a pass the next one's first `changed_at`, else this one's; 0: from the first."""
    changed_at: int = 0
    key: str = ""
    """Of the last one told; empty at the start of a pass."""

    @classmethod
    def read(cls, cursor: str) -> Self:
        begin, _, last = cursor.partition(" ")
        changed_at, _, key = last.partition(" ")
        return cls(int(begin or 0), int(changed_at or 0), key)

    def after(self, documents: Sequence[Any], read_at: Timestamp, *, is_last: bool) -> Self:
        """Return the position behind a page; the next pass begins where nothing was still to come when this one did."""
        begin = self.begin if self.key else max(0, read_at.ToNanoseconds() - int(OVERLAP * 1e9))
        if is_last:
            return type(self)(begin)
        last = documents[-1]
        return type(self)(begin, last.fields["changed_at"].timestamp_value.ToNanoseconds(), _key_of(last))

    def __str__(self) -> str:
        return f"{self.begin} {self.changed_at} {self.key}" if self.key else str(self.begin)


class _DatedCalls(Calls):
    """The ledger's calls, and a query that says when it was answered."""

    async def query_dated(self, request: Any) -> tuple[list[Any], Timestamp]:
        """Return the documents that a `RunQueryRequest` finds, and the server's time of the first of them."""
        async with self._translated():
            answers = [answer async for answer in (await self._open()).query(request, **self._options())]
        if not answers:
            raise CallFailedError(self._database, Code.INTERNAL)
        return [answer.document for answer in answers if answer.document.name], answers[0].read_time


def _fill(fields: Any, suppression: Suppression) -> None:
    for name in _TEXTS:
        fields[name].string_value = getattr(suppression, name)
    fields["since"].double_value = suppression.since
    fields["is_lifted"].boolean_value = suppression.is_lifted
    if suppression.expires_at is not None:
        fields["expires_at"].double_value = suppression.expires_at
    if (end := forget_at(suppression)) is not None:
        fields["expire_at"].timestamp_value.FromMicroseconds(int(end * 1e6))


def _suppression_in(snapshot: Snapshot) -> Suppression | None:
    return None if snapshot.document is None else _suppression(snapshot.document)


def _suppression(document: Any) -> Suppression:
    fields = document.fields
    return Suppression(
        _key_of(document),
        reason_named(fields["reason"].string_value),
        _number(fields["since"]),
        _number(fields["expires_at"]) if "expires_at" in fields else None,
        fields["provider"].string_value,
        fields["mail_id"].string_value,
        fields["detail"].string_value,
        is_lifted=fields["is_lifted"].boolean_value,
    )


def _number(value: Any) -> float:
    return float(value.double_value or value.integer_value)


def _key_of(document: Any) -> str:
    key: str = document.name.rpartition("/")[2]
    return key
