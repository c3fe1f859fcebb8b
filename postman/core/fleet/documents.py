"""A worker's report as a document of plain values, and back: what a fleet's stores hold.

A fleet runs two versions of postman while it is updated. Fields that are not
known are therefore ignored, and those that are missing have their defaults;
`SCHEMA` changes only when an older postman would misread what is written.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from math import isfinite
from typing import Any, Final, TypeVar

from postman.core.fleet.columns import ColumnError, finished_of, latest_document, minutes_of, past_document
from postman.core.fleet.past import Finished, Minute
from postman.core.fleet.reports import DocumentSeen, ProviderStanding, ProviderWork, ShardWork, WorkerReport, WorkWindow

__all__ = ["SCHEMA", "DamagedReportError", "document_of", "report_of"]

_T = TypeVar("_T")

SCHEMA: Final = 1

_MOST_WINDOWS: Final = 10
_WORK: Final = frozenset(field.name for field in fields(ProviderWork))


class DamagedReportError(ValueError):
    """A document is no report that this postman can read; the message names the field."""


def document_of(report: WorkerReport) -> dict[str, Any]:
    """Return *report* as numbers, texts, lists and dictionaries."""
    plain = asdict(replace(report, past=(), latest=()))
    past, latest = past_document(report.past), latest_document(report.latest)
    return {"schema": SCHEMA, **plain, "past": past, "latest": latest}


def report_of(document: object) -> WorkerReport:
    """Return the report that *document* holds, or raise `DamagedReportError`."""
    found = _Fields(document, "")
    schema = found.number("schema")
    if schema > SCHEMA:
        raise DamagedReportError(f"its schema is {schema:g}, of a newer postman")
    return WorkerReport(
        worker=found.text("worker"),
        host=found.text("host"),
        pid=int(found.number("pid")),
        version=found.text("version", ""),
        started=found.number("started"),
        at=found.number("at"),
        slots=int(found.number("slots")),
        window=found.number("window"),
        windows=tuple(_window(each) for each in found.items("windows")[-_MOST_WINDOWS:]),
        baseline=found.mapping("baseline", _work),
        providers=found.mapping("providers", _standing),
        layout=int(found.number("layout", 0)),
        reads=int(found.number("reads", 0)),
        shards=found.mapping("shards", _shard),
        document=_seen(found.part("document")),
        local_fault=found.text("local_fault", ""),
        leaving=found.text("leaving", ""),
        past=_past(found.part("past")),
        latest=_latest(found.items("latest")),
    )


class _Fields:
    """The fields of one document, each checked when it is asked for; one without a default must be there."""

    def __init__(self, document: object, name: str) -> None:
        if not isinstance(document, Mapping):
            raise DamagedReportError(f"{name or 'the whole'} is no object")
        self._document = document

    def number(self, name: str, default: float | None = None) -> float:
        value = self._document.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise DamagedReportError(f"{name} is no number")
        return float(value)

    def text(self, name: str, default: str | None = None) -> str:
        value = self._document.get(name, default)
        if not isinstance(value, str):
            raise DamagedReportError(f"{name} is no text")
        return value

    def truth(self, name: str) -> bool:
        return self._document.get(name) is True

    def items(self, name: str) -> list[object]:
        value = self._document.get(name, [])
        if not isinstance(value, list | tuple):
            raise DamagedReportError(f"{name} is no list")
        return list(value)

    def part(self, name: str) -> object:
        return self._document.get(name, {})

    def mapping(self, name: str, read: Callable[[object], _T]) -> dict[str, _T]:
        value = self._document.get(name, {})
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise DamagedReportError(f"{name} is no object")
        return {key: read(each) for key, each in value.items()}


def _window(document: object) -> WorkWindow:
    found = _Fields(document, "windows")
    return WorkWindow(
        ends=found.number("ends"),
        seconds=found.number("seconds"),
        work=found.mapping("work", _work),
        oldest=found.number("oldest", 0.0),
        full_for=found.number("full_for", 0.0),
        paused_for=found.number("paused_for", 0.0),
        ledger_calls=int(found.number("ledger_calls", 0)),
        ledger_took=found.number("ledger_took", 0.0),
    )


def _past(document: object) -> tuple[Minute, ...]:
    if not isinstance(document, Mapping):
        raise DamagedReportError("past is no object")
    try:
        return minutes_of(document)
    except ColumnError as error:
        raise DamagedReportError(f"past: {error}") from None


def _latest(rows: list[object]) -> tuple[Finished, ...]:
    try:
        return finished_of(rows)
    except ColumnError as error:
        raise DamagedReportError(f"latest: {error}") from None


def _work(document: object) -> ProviderWork:
    found = _Fields(document, "work")
    return ProviderWork(**{name: found.number(name, 0.0) for name in _WORK})


def _standing(document: object) -> ProviderStanding:
    found = _Fields(document, "providers")
    return ProviderStanding(
        breaker=found.text("breaker"),
        retry_after=found.number("retry_after", 0.0),
        in_flight=int(found.number("in_flight", 0)),
        limit=int(found.number("limit", 0)),
        is_home=found.truth("is_home"),
        problem=found.text("problem", ""),
        weight=found.number("weight", 1.0),
        forced=found.text("forced", ""),
    )


def _seen(document: object) -> DocumentSeen:
    found = _Fields(document, "document")
    return DocumentSeen(
        version=found.text("version", ""),
        problem=found.text("problem", ""),
        keys_at=found.number("keys_at", 0.0),
    )


def _shard(document: object) -> ShardWork:
    found = _Fields(document, "shards")
    return ShardWork(
        held=int(found.number("held", 0)),
        pulled_at=found.number("pulled_at", 0.0),
        published_at=found.number("published_at", 0.0),
        problem=found.text("problem", ""),
    )
