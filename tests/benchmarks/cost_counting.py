"""Counts what Google would charge for, by reading along at the wire between real processes and the emulators."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from google.cloud.firestore_v1 import types as firestore
from google.pubsub_v1 import types as pubsub

from postman.testing.grpc_proxy import GrpcProxy
from tests.benchmarks.cost_model import charged

__all__ = ["ByteCounter", "CountingProxy", "Tally", "message_size", "stored_size"]

_STAMP: Final = 20
"""Bytes that Pub/Sub counts for a message's time."""
_PIECE: Final = 65_536


@dataclass(slots=True)
class Tally:
    """What was done so far; of Firestore by the kind of document, which is the last word of its collection's name."""

    calls: Counter[str] = field(default_factory=Counter)
    """By method; without pulls that brought nothing."""
    published: int = 0
    """Bytes that are charged."""
    pulled: int = 0
    empty_pulls: int = 0
    acked: int = 0
    writes: Counter[str] = field(default_factory=Counter)
    in_vain: Counter[str] = field(default_factory=Counter)
    """Those of *writes* whose condition failed."""
    reads: Counter[str] = field(default_factory=Counter)

    def note(self, method: str, requests: Sequence[bytes], answers: Sequence[bytes]) -> None:
        """Take in a call that was answered."""
        known = _KNOWN.get(method)
        self.calls[method] += 1
        if known is not None:
            request = known.request.FromString(b"".join(requests))
            known.count(self, request, [known.answer.FromString(answer) for answer in answers])

    def publish(self, request: Any, answers: Sequence[Any]) -> None:
        sizes = (
            message_size(message, message_id)
            for message, message_id in zip(request.messages, answers[0].message_ids, strict=True)
        )
        self.published += charged(sum(sizes))

    def pull(self, _: Any, answers: Sequence[Any]) -> None:
        messages = [received.message for received in answers[0].received_messages]
        if messages:
            self.pulled += charged(sum(message_size(message, message.message_id) for message in messages))
        else:
            self.empty_pulls += 1
            self.calls["Pull"] -= 1

    def acknowledge(self, request: Any, _: Sequence[Any]) -> None:
        self.acked += len(request.ack_ids)

    def batch_write(self, request: Any, answers: Sequence[Any]) -> None:
        for write, status in zip(request.writes, answers[0].status, strict=True):
            kind = _kind(write.update.name or write.delete)
            self.writes[kind] += 1
            self.in_vain[kind] += status.code != 0

    def commit(self, request: Any, _: Sequence[Any]) -> None:
        self.writes.update(_kind(write.update.name or write.delete) for write in request.writes)

    def get(self, _: Any, answers: Sequence[Any]) -> None:
        names = (answer.found.name or answer.missing for answer in answers)
        self.reads.update(_kind(name) for name in names if name)

    def query(self, request: Any, answers: Sequence[Any]) -> None:
        """A query that finds nothing is charged as one read."""
        collection = request.structured_query.from_[0].collection_id
        self.reads[_last_word(collection)] += max(1, sum(bool(answer.document.name) for answer in answers))


@dataclass(frozen=True, slots=True)
class _Method:
    request: Any
    answer: Any
    count: Callable[[Tally, Any, Sequence[Any]], None]


def _method(request: Any, answer: Any, count: Callable[[Tally, Any, Sequence[Any]], None]) -> _Method:
    return _Method(request.pb(), answer.pb() if hasattr(answer, "pb") else answer, count)


_KNOWN: Final[Mapping[str, _Method]] = {
    "Publish": _method(pubsub.PublishRequest, pubsub.PublishResponse, Tally.publish),
    "Pull": _method(pubsub.PullRequest, pubsub.PullResponse, Tally.pull),
    "Acknowledge": _method(pubsub.AcknowledgeRequest, pubsub.PullResponse, Tally.acknowledge),
    "BatchWrite": _method(firestore.BatchWriteRequest, firestore.BatchWriteResponse, Tally.batch_write),
    "Commit": _method(firestore.CommitRequest, firestore.CommitResponse, Tally.commit),
    "BatchGetDocuments": _method(firestore.BatchGetDocumentsRequest, firestore.BatchGetDocumentsResponse, Tally.get),
    "RunQuery": _method(firestore.RunQueryRequest, firestore.RunQueryResponse, Tally.query),
}


class CountingProxy(GrpcProxy):
    """A proxy that makes no trouble, and notes every call that was answered in its *tally*, which may be changed."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.tally = Tally()

    async def forward(self, path: str, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        """Forward, and note what was answered, also where the client hears no further than it wants."""
        asked, answers = list[bytes](), list[bytes]()
        try:
            async for answer in super().forward(path, _noting(requests, asked), context):
                answers.append(answer)
                yield answer
        finally:
            if answers:
                self.tally.note(path.rpartition("/")[2], asked, answers)


async def _noting(pieces: AsyncIterator[bytes], noted: list[bytes]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        noted.append(piece)
        yield piece


class ByteCounter:
    """Leads connections to *target* (`host:port`), and counts the bytes that go there."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._talks: set[asyncio.Task[None]] = set()
        self.bytes = 0
        self.address = ""
        """Where it listens, `host:port`."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._target)
        for talk in (self._copy(reader, back, counted=True), self._copy(there, writer, counted=False)):
            task = asyncio.create_task(talk)
            self._talks.add(task)
            task.add_done_callback(self._talks.discard)

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, counted: bool) -> None:
        try:
            while piece := await source.read(_PIECE):
                self.bytes += len(piece) * counted
                sink.write(piece)
                await sink.drain()
        except ConnectionError:
            sink.transport.abort()
        finally:
            sink.close()


def message_size(message: Any, message_id: str) -> int:
    """Return a message's bytes as Pub/Sub counts them: body, attributes, its id, and twenty for its time."""
    attributes = sum(len(name.encode()) + len(value.encode()) for name, value in message.attributes.items())
    return len(message.data) + attributes + len(message_id) + _STAMP


def stored_size(document: Any) -> int:
    """Return a document's bytes as Firestore counts them; without indexes."""
    path = document.name.partition("/documents/")[2].split("/")
    return sum(map(_text_size, path)) + 16 + _fields_size(document.fields) + 32


def _fields_size(fields: Any) -> int:
    return sum(_text_size(name) + _value_size(value) for name, value in fields.items())


def _value_size(value: Any) -> int:
    kind = value.WhichOneof("value_type")
    match kind:
        case "string_value":
            return _text_size(value.string_value)
        case "map_value":
            return _fields_size(value.map_value.fields)
        case "array_value":
            return sum(map(_value_size, value.array_value.values))
        case "boolean_value" | "null_value":
            return 1
        case "integer_value" | "double_value" | "timestamp_value":
            return 8
    raise ValueError(f"there is no rule here for {kind}")


def _text_size(text: str) -> int:
    return len(text.encode()) + 1


def _kind(name: str) -> str:
    return _last_word(name.partition("/documents/")[2].partition("/")[0])


def _last_word(collection: str) -> str:
    return collection.rpartition("-")[2]
