"""Mailgun's events: their documents, the look-up over them, and the signature of webhooks.

The signature is HMAC-SHA256 over time stamp and token. It does not cover the event itself; that is Mailgun's choice.
"""

import base64
import hmac
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from hashlib import sha256
from itertools import islice

import orjson

from postman.sandbox.answers import Answer, json_answer
from postman.sandbox.imitation import EventPost, Request
from postman.sandbox.mails import Attachment, SentMail
from postman.sandbox.settings import ProviderName
from postman.sandbox.store import MailStore, bare

__all__ = ["EventLookup", "event_documents", "event_posts"]

_MOST = 300
_DEFAULT_LIMIT = 100
_KINDS = ("accepted", "delivered")

Document = dict[str, object]


def event_documents(mail: SentMail) -> list[Document]:
    """Return the events of *mail*: accepted and delivered for each recipient."""
    return [_event(mail, recipient.email, kind) for kind in _KINDS for recipient in mail.recipients]


def _event(mail: SentMail, recipient: str, kind: str) -> Document:
    draft = mail.draft
    digest = sha256(f"{mail.number}:{recipient}:{kind}".encode()).digest()[:16]
    headers = {
        "to": ", ".join(str(each) for each in draft.to),
        "message-id": bare(draft.message_id),
        "from": str(draft.from_),
        "subject": draft.subject,
    }
    event: Document = {
        "event": kind,
        "id": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "timestamp": mail.accepted_at,
        "log-level": "info",
        "flags": {"is-authenticated": True, "is-routed": False, "is-test-mode": draft.test_mode},
        "envelope": {"transport": "smtp", "sender": draft.from_.email, "targets": recipient},
        "message": {
            "headers": headers,
            "attachments": [_attachment(each) for each in draft.body.attachments],
            "recipients": [each.email for each in mail.recipients],
            "size": draft.size,
        },
        "recipient": recipient,
        "recipient-domain": recipient.rpartition("@")[2],
        "tags": list(draft.tags),
        "user-variables": draft.metadata,
    }
    if kind == "delivered":
        event["delivery-status"] = {"code": 250, "message": "OK", "attempt-no": 1, "tls": True}
    return event


def _attachment(each: Attachment) -> Document:
    return {"filename": each.filename, "content-type": each.content_type, "size": len(each.content)}


def _signed_post(event: Document, *, signing_key: str, now: float) -> EventPost:
    """Return the webhook post of one *event*."""
    timestamp, token = str(int(now)), secrets.token_hex(25)
    signature = hmac.new(signing_key.encode(), f"{timestamp}{token}".encode(), sha256).hexdigest()
    document = {
        "signature": {"timestamp": timestamp, "token": token, "signature": signature},
        "event-data": event,
    }
    return EventPost(orjson.dumps(document), {"Content-Type": "application/json", "User-Agent": "mailgun/treq"})


class _BadQueryError(ValueError):
    """A parameter is wrong; the text is what Mailgun answers."""


@dataclass(frozen=True, slots=True)
class _Page:
    """A question, and how much of its answer was given."""

    query: Mapping[str, str]
    offset: int = 0

    def token(self) -> str:
        return base64.urlsafe_b64encode(orjson.dumps([dict(self.query), self.offset])).decode()


def _read_page(token: str) -> _Page:
    try:
        query, offset = orjson.loads(base64.urlsafe_b64decode(token))
        return _Page({str(name): str(value) for name, value in query.items()}, int(offset))
    except (ValueError, AttributeError, TypeError) as error:
        raise _BadQueryError("page not found") from error


@dataclass(frozen=True, slots=True)
class EventLookup:
    """``GET /v3/{domain}/events`` over the mails in *store*."""

    store: MailStore

    def answer(self, request: Request, domain: str, token: str, accepted_before: float) -> Answer:
        """Answer a first question, or with *token* one of its further pages."""
        try:
            page = _read_page(token) if token else _Page(request.query)
            limit, filters = _limit(page.query), _filters(page.query)
            mails = self._mails(page.query, domain, accepted_before)
        except _BadQueryError as error:
            return json_answer(400, {"message": str(error)})
        events = (event for mail in mails for event in event_documents(mail))
        found = (event for event in events if all(accepts(event) for accepts in filters))
        items = list(islice(found, page.offset, page.offset + limit))
        return json_answer(200, {"items": items, "paging": _paging(request, domain, page, len(items), limit)})

    def _mails(self, query: Mapping[str, str], domain: str, accepted_before: float) -> Iterable[SentMail]:
        begin, end, ascending = _range(query)
        mails = (
            mail
            for mail in self._candidates(query)
            if mail.draft.domain == domain and begin <= mail.accepted_at <= min(end, accepted_before)
        )
        return sorted(mails, key=lambda mail: mail.number) if ascending else mails

    def _candidates(self, query: Mapping[str, str]) -> Iterable[SentMail]:
        if message_id := query.get("message-id"):
            return reversed(self.store.with_message_id(ProviderName.MAILGUN, message_id))
        if recipient := query.get("recipient"):
            return self.store.to_recipient(ProviderName.MAILGUN, recipient)
        return self.store.newest_first(provider=ProviderName.MAILGUN)


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit", str(_DEFAULT_LIMIT))
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise _BadQueryError(f"'limit' parameter must be from 1 to {_MOST}")
    return int(text)


def _range(query: Mapping[str, str]) -> tuple[float, float, bool]:
    """Return the earliest and latest time asked for, and whether the oldest come first."""
    order = query.get("ascending")
    if order not in (None, "yes", "no"):
        raise _BadQueryError("'ascending' parameter must be yes or no")
    if "begin" in query and "end" not in query and order is None:
        raise _BadQueryError("'ascending' parameter is required where 'end' is not given")
    begin = _moment(query["begin"]) if "begin" in query else 0.0
    end = _moment(query["end"]) if "end" in query else float("inf")
    if begin > end:
        return end, begin, False if order is None else order == "yes"
    return begin, end, "begin" in query if order is None else order == "yes"


def _moment(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError as error:
        raise _BadQueryError("'begin' and 'end' must be seconds or dates") from error


_PATHS: dict[str, Callable[[Document], Iterator[object]]] = {
    "event": lambda event: iter([event["event"]]),
    "recipient": lambda event: iter([event["recipient"]]),
    "message-id": lambda event: iter([_message_header(event, "message-id")]),
    "from": lambda event: iter([_message_header(event, "from")]),
    "to": lambda event: iter([_message_header(event, "to")]),
    "subject": lambda event: iter([_message_header(event, "subject")]),
    "tags": lambda event: iter(event["tags"]) if isinstance(event["tags"], list) else iter([]),
}
_CONTROLS = frozenset({"begin", "end", "ascending", "limit", "pretty"})


def _message_header(event: Document, name: str) -> object:
    message = event["message"]
    headers = message["headers"] if isinstance(message, dict) else {}
    return headers[name]


def _filters(query: Mapping[str, str]) -> list[Callable[[Document], bool]]:
    return [_filter(name, expression) for name, expression in query.items() if name not in _CONTROLS]


def _filter(name: str, expression: str) -> Callable[[Document], bool]:
    if name not in _PATHS:
        raise _BadQueryError(f"'{name}' is not a known filter")
    wanted = [bare(each).strip('()" ').lower() for each in expression.split(" OR ")]
    values = _PATHS[name]

    def accepts(event: Document) -> bool:
        return any(_same(name, str(value).lower(), each) for value in values(event) for each in wanted)

    return accepts


def _same(name: str, value: str, wanted: str) -> bool:
    return wanted in value if name in ("from", "to", "subject") else wanted == value


def _paging(request: Request, domain: str, page: _Page, given: int, limit: int) -> dict[str, str]:
    base = f"{request.base_url}/v3/{domain}/events/"
    return {
        "next": base + _Page(page.query, page.offset + given).token(),
        "previous": base + _Page(page.query, max(0, page.offset - limit)).token(),
    }


def event_posts(mails: Sequence[SentMail], *, signing_key: str, now: float) -> list[EventPost]:
    """Return one signed post for each event of *mails*."""
    return [_signed_post(event, signing_key=signing_key, now=now) for mail in mails for event in event_documents(mail)]
