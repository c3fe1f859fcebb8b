"""An entry as JSON, and back.

Fields that this postman does not know are kept as they are, so that an older
worker beside a newer one loses nothing; a state that it does not know is left
alone, since no move from it can be right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

import orjson

from postman.core.entry import Entry, Happening, Note, State
from postman.core.events import EventKind

__all__ = ["UNREADABLE", "UnknownStateError", "dump", "load", "recipients_in"]

_FIELDS: Final = frozenset(field.name for field in fields(Entry))
_NOTE_FIELDS: Final = frozenset(field.name for field in fields(Note))
_EVENT_FIELDS: Final = frozenset(field.name for field in fields(Happening))
_KINDS: Final = frozenset(EventKind)
_STATES: Final = frozenset(State)


class UnknownStateError(Exception):
    """An entry has a state of a newer postman's."""


UNREADABLE: Final = (UnknownStateError, ValueError, LookupError, TypeError, AttributeError)
"""What `load` raises where a text is a newer postman's, or is no entry."""


def load(text: bytes) -> tuple[Entry, Mapping[str, Any]]:
    """Return the entry, and the fields that are not ours. Raises `UnknownStateError`."""
    found: dict[str, Any] = orjson.loads(text)
    if found["state"] not in _STATES:
        raise UnknownStateError(str(found["state"]))
    known = {name: value for name, value in found.items() if name in _FIELDS}
    known["state"] = State(found["state"])
    known["history"] = tuple(_note(note) for note in found["history"])
    known["recipients"] = tuple(found.get("recipients", ()))
    known["events"] = tuple(_happening(event) for event in found.get("events", ()) if event["kind"] in _KINDS)
    return Entry(**known), {name: value for name, value in found.items() if name not in _FIELDS}


def dump(entry: Entry, foreign: Mapping[str, Any]) -> bytes:
    """Return *entry* with the fields that are not ours."""
    if not foreign:
        return orjson.dumps(entry)
    known = {name: getattr(entry, name) for name in _FIELDS}
    return orjson.dumps({**foreign, **known})


def recipients_in(text: bytes) -> Sequence[str]:
    """Return the tags of the recipients, also of an entry in a state that is not known; none of what is no entry."""
    try:
        return tuple(orjson.loads(text).get("recipients", ()))
    except UNREADABLE:
        return ()


def _note(found: Mapping[str, Any]) -> Note:
    return Note(**{name: value for name, value in found.items() if name in _NOTE_FIELDS})


def _happening(found: Mapping[str, Any]) -> Happening:
    known = {name: value for name, value in found.items() if name in _EVENT_FIELDS}
    return Happening(**{**known, "kind": EventKind(found["kind"])})
