"""The seven RPCs that the ledger and the roster need, each once and with its own deadline.

They speak the generated protocol messages directly, which costs a quarter of
the generated client's CPU. Whatever goes wrong is a `CallFailedError`, by the
table in `_PROBLEMS`; nothing of gRPC leaves this module but its status codes.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.auth.exceptions import GoogleAuthError
from google.cloud.firestore_v1.types import (
    BatchGetDocumentsRequest,
    BatchGetDocumentsResponse,
    BatchWriteRequest,
    BatchWriteResponse,
    BeginTransactionRequest,
    BeginTransactionResponse,
    CommitRequest,
    CommitResponse,
    RollbackRequest,
    RunAggregationQueryRequest,
    RunAggregationQueryResponse,
    RunQueryRequest,
    RunQueryResponse,
)
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp

from postman.adapters.firestore._channel import Database, connect
from postman.errors import LedgerUnavailableError

__all__ = ["CALL_LIMIT", "REFUSALS", "CallFailedError", "Calls", "Code", "Outcome", "Snapshot"]

Code = grpc.StatusCode

CALL_LIMIT: Final = 2.8
"""Seconds for one call: two in a row end within six."""

_ROLLBACK_LIMIT: Final = 1.0

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}

REFUSALS: Final = frozenset({Code.PERMISSION_DENIED, Code.UNAUTHENTICATED, Code.RESOURCE_EXHAUSTED})
"""Failures of a write after which neither reading nor another attempt would help."""

_PROBLEMS: Final = {
    Code.NOT_FOUND: "does not exist",
    Code.PERMISSION_DENIED: "may not be used; the account needs roles/datastore.user on the project",
    Code.UNAUTHENTICATED: "does not accept the credentials",
    Code.FAILED_PRECONDITION: "refuses the call; it must be in native mode",
    Code.RESOURCE_EXHAUSTED: "is over its quota",
    Code.ABORTED: "has too much contention on this mail",
    Code.DEADLINE_EXCEEDED: "did not answer in time",
    Code.UNAVAILABLE: "cannot be reached",
}


class CallFailedError(LedgerUnavailableError):
    """A call failed; what it asked for may have been done."""

    def __init__(self, database: Database, code: grpc.StatusCode) -> None:
        problem = _PROBLEMS.get(code, f"failed with {code.name}")
        super().__init__(f"Firestore database {database.name} of project {database.project} {problem}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one write; *version* is the document's new update time."""

    code: grpc.StatusCode
    version: Timestamp


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A document as it was at *read_at*, by the server's clock; *document* is None where there is none."""

    document: Any
    read_at: Timestamp


class Calls:
    """See the module. Connects at the first call."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = asyncio.Lock()
        self._channel: Any = None
        self._closed = False

    async def batch_write(self, writes: Sequence[Any], *, limit: float = CALL_LIMIT) -> list[Outcome]:
        """Make independent writes, each of another document; each has its own outcome, in order. *limit* in seconds."""
        request = BatchWriteRequest.pb()(database=self._database.path, writes=writes)
        async with self._translated():
            answer = await (await self._open()).batch_write(request, **self._options(limit))
        return [
            Outcome(_CODES.get(status.code, Code.UNKNOWN), result.update_time)
            for status, result in zip(answer.status, answer.write_results, strict=True)
        ]

    async def read(self, names: Sequence[str]) -> dict[str, Snapshot]:
        """Read documents, strongly consistent, without a lock."""
        request = BatchGetDocumentsRequest.pb()(database=self._database.path, documents=names)
        snapshots = {}
        async with self._translated():
            async for answer in (await self._open()).read(request, **self._options()):
                snapshots[answer.found.name or answer.missing] = _snapshot(answer)
        if len(snapshots) != len(names):
            raise CallFailedError(self._database, Code.INTERNAL)
        return snapshots

    async def begin(self) -> bytes:
        """Begin a transaction, which locks nothing yet, so that a lost answer keeps nobody away; return its id."""
        request = BeginTransactionRequest.pb()(database=self._database.path)
        request.options.read_write.SetInParent()
        async with self._translated():
            answer = await (await self._open()).begin(request, **self._options())
        transaction: bytes = answer.transaction
        return transaction

    async def read_locked(self, transaction: bytes, name: str) -> Snapshot:
        """Read *name* in a transaction, which locks it until the transaction ends."""
        request = BatchGetDocumentsRequest.pb()(database=self._database.path, documents=[name], transaction=transaction)
        snapshot = None
        async with self._translated():
            async for answer in (await self._open()).read(request, **self._options()):
                if answer.found.name or answer.missing:
                    snapshot = _snapshot(answer)
        if snapshot is None:
            raise CallFailedError(self._database, Code.INTERNAL)
        return snapshot

    async def commit(self, transaction: bytes, write: Any) -> Timestamp:
        """End a transaction with one write; return the document's new update time."""
        request = CommitRequest.pb()(database=self._database.path, writes=[write], transaction=transaction)
        async with self._translated():
            answer = await (await self._open()).commit(request, **self._options())
        version: Timestamp = answer.write_results[0].update_time
        return version

    async def query(self, request: Any) -> list[Any]:
        """Return the documents that a `RunQueryRequest` finds, strongly consistent."""
        async with self._translated():
            answers = [answer async for answer in (await self._open()).query(request, **self._options())]
        return [answer.document for answer in answers if answer.document.name]

    async def count(self, request: Any) -> int:
        """Return what a `RunAggregationQueryRequest` counts under the alias `count`."""
        number = 0
        async with self._translated():
            async for answer in (await self._open()).aggregate(request, **self._options()):
                number += answer.result.aggregate_fields["count"].integer_value
        return number

    async def roll_back(self, transaction: bytes) -> None:
        """End a transaction without a write."""
        request = RollbackRequest.pb()(database=self._database.path, transaction=transaction)
        async with self._translated():
            await (await self._open()).roll_back(request, **self._options(_ROLLBACK_LIMIT))

    async def aclose(self) -> None:
        """Close the channel; every later call fails."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    def _options(self, limit: float = CALL_LIMIT) -> dict[str, Any]:
        return {"timeout": limit, "metadata": self._database.metadata}

    async def _open(self) -> "_Stubs":
        async with self._lock:
            if self._closed:
                raise LedgerUnavailableError("the ledger was closed")
            if self._channel is None:
                self._channel = await connect(self._database)
                self._stubs = _Stubs(self._channel)
        return self._stubs

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """Bound all that is done in the block, also what precedes a call, like the search for credentials.

        Raises `CallFailedError` for what takes longer.
        """
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise CallFailedError(self._database, Code.DEADLINE_EXCEEDED) from error

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise CallFailedError(self._database, error.code()) from error
        except GoogleAuthError as error:
            raise CallFailedError(self._database, Code.UNAUTHENTICATED) from error


class _Stubs:
    def __init__(self, channel: Any) -> None:
        service = "/google.firestore.v1.Firestore/"
        self.batch_write = channel.unary_unary(
            f"{service}BatchWrite", BatchWriteRequest.pb().SerializeToString, BatchWriteResponse.pb().FromString
        )
        self.read = channel.unary_stream(
            f"{service}BatchGetDocuments",
            BatchGetDocumentsRequest.pb().SerializeToString,
            BatchGetDocumentsResponse.pb().FromString,
        )
        self.begin = channel.unary_unary(
            f"{service}BeginTransaction",
            BeginTransactionRequest.pb().SerializeToString,
            BeginTransactionResponse.pb().FromString,
        )
        self.commit = channel.unary_unary(
            f"{service}Commit", CommitRequest.pb().SerializeToString, CommitResponse.pb().FromString
        )
        self.query = channel.unary_stream(
            f"{service}RunQuery", RunQueryRequest.pb().SerializeToString, RunQueryResponse.pb().FromString
        )
        self.aggregate = channel.unary_stream(
            f"{service}RunAggregationQuery",
            RunAggregationQueryRequest.pb().SerializeToString,
            RunAggregationQueryResponse.pb().FromString,
        )
        self.roll_back = channel.unary_unary(
            f"{service}Rollback", RollbackRequest.pb().SerializeToString, Empty.FromString
        )


def _snapshot(answer: Any) -> Snapshot:
    return Snapshot(answer.found if answer.found.name else None, answer.read_time)
