"""The providers' document as the text that a store keeps, and back; and which may follow which: the same for all.

As with the layout, fields that are not known are ignored, and the schema's number
changes only when an older postman would misread what is written.
"""

from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any, Final

import orjson

from postman.core.document import Change, Document
from postman.errors import DocumentChangedError, DocumentError

__all__ = ["check_follows", "dump_document", "load_document"]

_SCHEMA: Final = 1


def dump_document(document: Document) -> bytes:
    """Return *document* as JSON."""
    return orjson.dumps({"schema": _SCHEMA, **asdict(document)})


def load_document(text: bytes | str, place: str) -> Document:
    """Return the document in *text*; `DocumentError`, naming *place*, for what is damaged or a newer postman's."""
    try:
        found = orjson.loads(text)
        schema = _whole(found, "schema")
        if schema <= _SCHEMA:
            changes = tuple(_change(each) for each in _get(found, "changes", list, []))
            return Document(_get(found, "text", str), _whole(found, "number"), changes)
    except (orjson.JSONDecodeError, DocumentError) as error:
        raise DocumentError(f"the providers' document in {place} is damaged: {error}") from None
    raise DocumentError(f"the providers' document in {place} is a newer postman's (schema {schema}): update this one")


def check_follows(latest: Document | None, document: Document) -> None:
    """Return if *document* is the one after *latest*, else raise `DocumentChangedError`."""
    number = 0 if latest is None else latest.number
    if document.number != number + 1:
        raise DocumentChangedError(
            f"the providers were changed meanwhile: their document is number {number}, not {document.number - 1}; "
            "look again"
        )


def _change(found: object) -> Change:
    at = _get(found, "at", float | int)
    if not isfinite(at):
        raise DocumentError("at is no number")
    return Change(_whole(found, "number"), _get(found, "by", str), float(at), _get(found, "what", str))


def _whole(found: object, name: str) -> int:
    value = _get(found, name, int)
    if isinstance(value, bool) or value < 0:
        raise DocumentError(f"{name} is no whole number from 0 up")
    return int(value)


def _get(found: object, name: str, kind: Any, default: object = None) -> Any:
    if not isinstance(found, Mapping):
        raise DocumentError("it is no object")
    value = found.get(name, default)
    if not isinstance(value, kind):
        raise DocumentError(f"{name} is missing or of another kind")
    return value
