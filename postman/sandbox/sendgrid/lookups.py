"""SendGrid's look-ups: the Email Activity feed (``GET /v3/messages``) and the newer Email Logs (``POST /v3/logs``).

Both list one row for each recipient. Only the first can be asked for our own id, as a unique argument.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from urllib.parse import unquote

import orjson

from postman.sandbox.answers import Answer, json_answer
from postman.sandbox.imitation import Request
from postman.sandbox.mails import Mailbox, SentMail
from postman.sandbox.sendgrid.events import event_documents, sg_message_id
from postman.sandbox.sendgrid.query import Condition, QueryError, matches, read_query
from postman.sandbox.settings import ProviderName
from postman.sandbox.store import MailStore

__all__ = ["Lookups", "errors_answer"]

_EQUAL = frozenset({"=", "!=", "LIKE", "IN"})
_ORDERED = frozenset({"=", "<", ">", "<=", ">=", "BETWEEN"})
_ACTIVITY_FIELDS = {
    "msg_id": _EQUAL,
    "from_email": _EQUAL,
    "to_email": _EQUAL,
    "subject": _EQUAL,
    "status": _EQUAL,
    "unique_args": _EQUAL,
    "categories": _EQUAL,
    "last_event_time": _ORDERED,
}
_LOG_FIELDS = {
    "sg_message_id": frozenset({"="}),
    "subject": frozenset({"="}),
    "to_email": frozenset({"="}),
    "status": frozenset({"IN"}),
    "reason": frozenset({"="}),
    "categories": frozenset({"IN"}),
    "sg_message_id_created_at": frozenset({">", "<", ">=", "<="}),
}
_DEFAULT_LIMIT = 10
_MOST = 1000


def errors_answer(status: int, *errors: tuple[str, str | None]) -> Answer:
    """Return SendGrid's body for *errors*, each a message and a field."""
    listed = [{"message": message, "field": field, "help": None} for message, field in errors]
    return json_answer(status, {"errors": listed})


@dataclass(frozen=True, slots=True)
class _Row:
    mail: SentMail
    recipient: Mailbox
    index: int

    @property
    def id(self) -> str:
        return sg_message_id(self.mail, self.index)

    def values(self, condition: Condition) -> Iterable[str]:
        """Return what *condition* is to be compared with; any may match."""
        draft = self.mail.draft
        match condition.field:
            case "msg_id" | "sg_message_id":
                return (self.id,)
            case "from_email":
                return (draft.from_.email,)
            case "to_email":
                return (self.recipient.email,)
            case "subject":
                return (draft.subject,)
            case "status":
                return ("delivered",)
            case "categories":
                return draft.tags
            case "unique_args":
                return _arguments(draft.metadata, condition.key)
            case "last_event_time" | "sg_message_id_created_at":
                return (_iso(self.mail.accepted_at),)
            case _:
                return ("",)


def _arguments(metadata: dict[str, str], key: str | None) -> Iterable[str]:
    if key is None:
        return metadata.values()
    return (metadata[key],) if key in metadata else ()


@dataclass(frozen=True, slots=True)
class Lookups:
    """Answers about the mails in *store* that were accepted before a given time."""

    store: MailStore

    def activity(self, request: Request, accepted_before: float) -> Answer:
        """``GET /v3/messages?query=…&limit=…``."""
        try:
            limit = _limit(request.query.get("limit"))
            conditions = read_query(request.query.get("query", ""), _ACTIVITY_FIELDS)
        except QueryError as error:
            return errors_answer(400, (str(error), None))
        if not conditions:
            return errors_answer(400, ("invalid syntax: query is required", "query"))
        rows = islice(self._rows(conditions, accepted_before), limit)
        return json_answer(200, {"messages": [_activity_row(row) for row in rows]})

    def logs(self, request: Request, accepted_before: float) -> Answer:
        """``POST /v3/logs``."""
        try:
            query, limit = _read_log_request(request.body)
            conditions = read_query(query, _LOG_FIELDS)
        except QueryError as error:
            return errors_answer(400, (str(error), None))
        rows = islice(self._rows(conditions, accepted_before), limit)
        return json_answer(200, {"messages": [_log_row(row) for row in rows]})

    def log(self, sg_id: str, accepted_before: float) -> Answer:
        """``GET /v3/logs/{sg_message_id}``."""
        sg_id = unquote(sg_id)
        rows = self._rows((Condition("sg_message_id", "=", (sg_id,)),), accepted_before)
        row = next(iter(rows), None)
        return errors_answer(404, ("message not found", None)) if row is None else json_answer(200, _log_detail(row))

    def activity_detail(self, sg_id: str, accepted_before: float) -> Answer:
        """``GET /v3/messages/{msg_id}``."""
        rows = self._rows((Condition("msg_id", "=", (unquote(sg_id),)),), accepted_before)
        row = next(iter(rows), None)
        if row is None:
            return errors_answer(404, ("message not found", None))
        return json_answer(200, {**_activity_row(row), "events": [], "categories": list(row.mail.draft.tags)})

    def _rows(self, conditions: Sequence[Condition], accepted_before: float) -> Iterator[_Row]:
        for mail in self._candidates(conditions):
            if mail.provider is not ProviderName.SENDGRID or mail.accepted_at > accepted_before:
                continue
            for index, recipient in enumerate(mail.recipients):
                row = _Row(mail, recipient, index)
                if all(_fulfils(row, condition) for condition in conditions):
                    yield row

    def _candidates(self, conditions: Sequence[Condition]) -> Iterable[SentMail]:
        """Return few mails among which all that match are, so that a full store stays fast."""
        for condition in conditions:
            if condition.operator != "=":
                continue
            if condition.field == "to_email":
                return self.store.to_recipient(ProviderName.SENDGRID, condition.values[0])
            if condition.field == "unique_args":
                return self.store.with_metadata(ProviderName.SENDGRID, condition.values[0])
            if condition.field in ("msg_id", "sg_message_id"):
                return self.store.with_message_id(ProviderName.SENDGRID, condition.values[0].partition(".")[0])
        return self.store.newest_first(provider=ProviderName.SENDGRID)


def _fulfils(row: _Row, condition: Condition) -> bool:
    values = row.values(condition)
    if condition.field == "to_email" and condition.operator == "=":
        return any(value.lower() == condition.values[0].lower() for value in values)
    return any(matches(condition, value) for value in values)


def _read_log_request(body: bytes) -> tuple[str, int]:
    try:
        document = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        raise QueryError("invalid JSON") from error
    if not isinstance(document, dict) or not isinstance(document.get("query", ""), str):
        raise QueryError("invalid request")
    return document.get("query", ""), _limit(document.get("limit"))


def _limit(value: object) -> int:
    if value is None:
        return _DEFAULT_LIMIT
    text = str(value)
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise QueryError(f"limit must be from 1 to {_MOST}")
    return int(text)


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _activity_row(row: _Row) -> dict[str, object]:
    return {
        "from_email": row.mail.draft.from_.email,
        "msg_id": row.id,
        "subject": row.mail.draft.subject,
        "to_email": row.recipient.email,
        "status": "delivered",
        "opens_count": 0,
        "clicks_count": 0,
        "last_event_time": _iso(row.mail.accepted_at),
    }


def _log_row(row: _Row) -> dict[str, object]:
    return {
        "from_email": row.mail.draft.from_.email,
        "sg_message_id": row.id,
        "subject": row.mail.draft.subject,
        "to_email": row.recipient.email,
        "status": "delivered",
        "reason": "250 OK",
        "sg_message_id_created_at": _iso(row.mail.accepted_at),
    }


def _log_detail(row: _Row) -> dict[str, object]:
    draft = row.mail.draft
    events = event_documents(row.mail, only_recipient=row.index)
    return {
        "from_email": draft.from_.email,
        "sg_message_id": row.id,
        "subject": draft.subject,
        "to_email": row.recipient.email,
        "status": "delivered",
        "api_key_id": "sandbox",
        "client_ip": "127.0.0.1",
        "category": list(draft.tags),
        "custom_args": draft.metadata,
        "events": [{**event, "custom_args": draft.metadata} for event in events],
    }
