"""Entries as Firestore documents.

A document's id is 4 hex digits of the id's SHA-256, so that ids which follow
each other in time lie apart, then the id itself with `%` and `/` written as
`%25` and `%2F`. The digits also cure the ids that Firestore reserves (`.`,
`..`, `__x__`), and 128 characters of any kind stay far below its 1,500 bytes.

A write names only the fields that it changes: what a later version of postman
added stays. `since` is a server's time, and the lease is stored as its length
from there, so that nobody's wall clock decides when it is over.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from google.cloud.firestore_v1.types import DocumentTransform, Write
from google.protobuf.timestamp_pb2 import Timestamp

from postman.core.entry import Entry, Happening, Note, State
from postman.core.events import EventKind
from postman.core.ids import MailId
from postman.core.shelf import shelf_of
from postman.errors import EntryOfNewerVersionError

__all__ = ["creation", "document_id", "entry_of", "mail_id_of", "seconds_of", "update"]

_REQUEST_TIME: Final = int(DocumentTransform.FieldTransform.ServerValue.REQUEST_TIME)

_KINDS: Final = frozenset(EventKind)

_TIMES: Final = frozenset({"since", "expire_at"})

_SPARSE: Final = ("dropped", "shelf")
"""Fields that are there only where they say something, so that an index of them has few entries."""

_Plain = str | bool | int | float


def document_id(mail_id: MailId) -> str:
    """Return the id under which a mail's entry is stored; different for different mails."""
    escaped = mail_id.replace("%", "%25").replace("/", "%2F")
    return sha256(mail_id.encode()).hexdigest()[:4] + escaped


def mail_id_of(name: str) -> MailId:
    """Return the id of the mail whose entry has the resource name *name*."""
    escaped = name.rpartition("/")[2][4:]
    return MailId(escaped.replace("%2F", "/").replace("%25", "%"))


def entry_of(document: Any) -> Entry | None:
    """Return a document's entry, None for none; `LedgerUnavailableError` where this version cannot understand it."""
    if document is None:
        return None
    fields = document.fields
    since, lease = seconds_of(fields["since"].timestamp_value), _number(fields["lease"])
    return Entry(
        _state(fields["state"].string_value),
        token=fields["token"].integer_value,
        digest=fields["digest"].string_value,
        claim_id=fields["claim_id"].string_value,
        provider=fields["provider"].string_value,
        since=since,
        lease_ends=since + lease if lease else 0.0,
        attempts=fields["attempts"].integer_value,
        message_id=fields["message_id"].string_value,
        reason=fields["reason"].string_value,
        parked=fields["parked"].boolean_value,
        lapses=fields["lapses"].integer_value,
        dropped=fields["dropped"].boolean_value,
        recipients=tuple(value.string_value for value in fields["recipients"].array_value.values),
        history=tuple(_note_of(value.map_value.fields) for value in fields["history"].array_value.values),
        events=tuple(_happenings(value.map_value.fields for value in fields["events"].array_value.values)),
    )


def creation(name: str, entry: Entry, *, expire_at: float, server_time: bool) -> Any:
    """Return the write that makes *entry* where there is none; *server_time* replaces its `since` by the server's."""
    write = _write(name, {**_plain(entry), "expire_at": expire_at}, server_time=server_time)
    write.current_document.exists = False
    history = write.update.fields["history"].array_value
    for note in entry.history:
        _put_note(history.values.add(), note)
    _put_recipients(write, entry.recipients)
    return write


def update(name: str, before: Entry, after: Entry, *, version: Timestamp, expire_at: float, server_time: bool) -> Any:
    """Return the write that turns *before* into *after*, if the document is still of *version*."""
    old = _plain(before)
    changed = {field: value for field, value in _plain(after).items() if value != old[field]}
    write = _write(name, {**changed, "expire_at": expire_at}, server_time=server_time and "since" in changed)
    write.current_document.update_time.CopyFrom(version)
    write.update_mask.field_paths.extend(write.update.fields)
    write.update_mask.field_paths.extend(field for field in _SPARSE if field in changed and not changed[field])
    _put_history(write, before.history, after.history)
    if after.recipients != before.recipients:
        write.update_mask.field_paths.append("recipients")
        _put_recipients(write, after.recipients)
    if after.events != before.events:
        _put_events(write, after.events)
    return write


def seconds_of(timestamp: Timestamp) -> float:
    """Return seconds since 1970."""
    seconds: float = timestamp.seconds + timestamp.nanos / 1e9
    return seconds


def _plain(entry: Entry) -> dict[str, _Plain]:
    return {
        "state": entry.state.value,
        "token": entry.token,
        "digest": entry.digest,
        "claim_id": entry.claim_id,
        "provider": entry.provider,
        "since": entry.since,
        "lease": entry.lease_ends - entry.since if entry.lease_ends else 0.0,
        "attempts": entry.attempts,
        "lapses": entry.lapses,
        "message_id": entry.message_id,
        "reason": entry.reason,
        "parked": entry.parked,
        "dropped": entry.dropped,
        "shelf": shelf_of(entry) or "",
    }


def _write(name: str, fields: Mapping[str, _Plain], *, server_time: bool) -> Any:
    write = Write.pb()()
    write.update.name = name
    for field, value in fields.items():
        if field == "since" and server_time:
            transform = write.update_transforms.add()
            transform.field_path, transform.set_to_server_value = field, _REQUEST_TIME
        elif value or field not in _SPARSE:
            _put(write.update.fields[field], value, is_time=field in _TIMES)
    return write


def _put(target: Any, value: _Plain, *, is_time: bool = False) -> None:
    match value:
        case bool():
            target.boolean_value = value
        case str():
            target.string_value = value
        case int():
            target.integer_value = value
        case float() if is_time:
            micros = round(value * 1e6)
            target.timestamp_value.seconds, target.timestamp_value.nanos = micros // 10**6, micros % 10**6 * 1000
        case float():
            target.double_value = value


def _put_recipients(write: Any, recipients: Sequence[str]) -> None:
    if recipients:
        target = write.update.fields["recipients"].array_value
        for tag in recipients:
            target.values.add().string_value = tag


def _put_history(write: Any, before: Sequence[Note], after: Sequence[Note]) -> None:
    if after[: len(before)] != before:
        write.update_mask.field_paths.append("history")
        target = write.update.fields["history"].array_value
        after_notes = after
    elif len(after) > len(before):
        transform = write.update_transforms.add()
        transform.field_path = "history"
        target = transform.append_missing_elements
        after_notes = after[len(before) :]
    else:
        return
    for note in after_notes:
        _put_note(target.values.add(), note)


def _put_note(target: Any, note: Note) -> None:
    fields = target.map_value.fields
    fields["at"].double_value = note.at
    fields["event"].string_value = note.event
    for field, text in (("provider", note.provider), ("detail", note.detail)):
        if text:
            fields[field].string_value = text


def _put_events(write: Any, events: Sequence[Happening]) -> None:
    write.update_mask.field_paths.append("events")
    target = write.update.fields["events"].array_value
    for event in events:
        fields = target.values.add().map_value.fields
        fields["at"].double_value = event.at
        for name in ("kind", "provider", "recipient", "detail"):
            fields[name].string_value = getattr(event, name)


def _happenings(all_fields: Iterable[Any]) -> Iterator[Happening]:
    """Read the events of the kinds that this version knows."""
    for fields in all_fields:
        kind, *texts = (fields[name].string_value for name in ("kind", "provider", "recipient", "detail"))
        if kind in _KINDS:
            yield Happening(_number(fields["at"]), EventKind(kind), *texts)


def _note_of(fields: Any) -> Note:
    return Note(
        _number(fields["at"]),
        fields["event"].string_value,
        fields["provider"].string_value,
        fields["detail"].string_value,
    )


def _number(value: Any) -> float:
    return float(value.double_value or value.integer_value)


def _state(text: str) -> State:
    try:
        return State(text)
    except ValueError as error:
        raise EntryOfNewerVersionError(
            f"an entry's state {text!r} is unknown to this version; it is left alone"
        ) from error
