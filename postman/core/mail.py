"""The mail: what is published, checked once and for all.

A mail that exists is valid: whoever makes one, from Python, from JSON or from a
file, gets an `InvalidMailError` naming the field instead of a mail that some
provider would refuse at night. The limits are those that every provider and
every queue can carry; what only one provider lacks, its adapter says itself.
`docs/mail.md` lists them all, `docs/mail.schema.json` is made from this module.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Any, Final, Self

import orjson
from pydantic import BeforeValidator, Field, Strict, model_validator
from pydantic.config import JsonDict

from postman.core.addresses import MAX_EMAIL_LENGTH, has_mixed_scripts
from postman.core.headers import MAX_HEADERS, NAME_PATTERN, check_headers, find_message_id
from postman.core.ids import MAX_ID_LENGTH, MailId, check_mail_id, new_mail_id
from postman.core.labels import KEY_PATTERN, MAX_METADATA_KEYS, MAX_TAGS, TAG_PATTERN, check_metadata, check_tags
from postman.core.parts import Address, Attachment, Part, Text, checked
from postman.core.text import check_body, check_line
from postman.errors import InvalidMailError

__all__ = [
    "MAX_ATTACHMENTS",
    "MAX_DELAY",
    "MAX_ENCODED_BYTES",
    "MAX_RECIPIENTS",
    "MAX_REPLY_TO",
    "MAX_SUBJECT_BYTES",
    "Address",
    "Attachment",
    "Mail",
    "OnDoubt",
]

MAX_RECIPIENTS: Final = 1_000
"""Over *to*, *cc* and *bcc*."""
MAX_REPLY_TO: Final = 20
MAX_ATTACHMENTS: Final = 100
MAX_SUBJECT_BYTES: Final = 998
"""In UTF-8."""
MAX_TENANT_LENGTH: Final = 64
MAX_ENCODED_BYTES: Final = 9_950_000
"""Of the whole mail as JSON: Pub/Sub's 10 MB less what attributes, topic name and a dead letter's reason may take."""
MAX_DELAY: Final = 7 * 86_400.0
"""Seconds that *send_at* may be ahead."""

_WORST_GROWTH: Final = 6
"""Bytes that JSON needs for one character at the most (a control character)."""
_OVERHEAD: Final = 64
"""Bytes around one address or attachment, generously."""
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:[Zz]|[+-]\d\d:\d\d)")
_YEARS: Final = range(2000, 2101)


class OnDoubt(StrEnum):
    """What to do with a mail that may have been sent, when no evidence can be had."""

    ASK = "ask"
    """Ask the provider and wait; send again after its consistency window."""
    RESEND = "resend"
    """Send again at once: a second copy is better than none, or than a late one."""
    HOLD = "hold"
    """Never send again without evidence: dead-letter it for a human."""


def _moment(value: object) -> datetime:
    if isinstance(value, str):
        value = _parsed_moment(value)
    if not isinstance(value, datetime):
        raise ValueError("must be a date and time with zone, as 2026-01-31T12:00:00Z")  # noqa: TRY004 — collected
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError("has no time zone: add Z or an offset")
    if value.year not in _YEARS:
        raise ValueError(f"must be between the years {_YEARS[0]} and {_YEARS[-1]}")
    return value.astimezone(UTC)


def _parsed_moment(text: str) -> datetime:
    problem = "must be a date and time with zone, as 2026-01-31T12:00:00Z"
    if not _RFC3339.fullmatch(text):
        raise ValueError(problem)
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise ValueError(problem) from error


def _check_subject(text: str) -> None:
    check_line(text)
    if len(text.encode()) > MAX_SUBJECT_BYTES:
        raise ValueError(f"is longer than {MAX_SUBJECT_BYTES} bytes in UTF-8")


def _check_tenant(text: str) -> None:
    if not 1 <= len(text) <= MAX_TENANT_LENGTH or not text.isprintable():
        raise ValueError(f"must be 1 to {MAX_TENANT_LENGTH} printable characters")


def _check_id(text: str) -> None:
    try:
        check_mail_id(text)
    except InvalidMailError as error:
        raise ValueError(error.problem) from error


_OPTIONAL: Final = (
    "to",
    "cc",
    "bcc",
    "reply_to",
    "subject",
    "text",
    "html",
    "headers",
    "attachments",
    "tags",
    "metadata",
    "send_at",
    "expires_at",
    "tenant",
)


def _keys(pattern: str, most: int) -> JsonDict:
    return {"propertyNames": {"pattern": pattern}, "maxProperties": most}


_Moment = Annotated[datetime, BeforeValidator(_moment)]
_Recipients = Annotated[tuple[Address, ...], Field(max_length=MAX_RECIPIENTS)]
_Tag = Annotated[Text, Field(json_schema_extra={"pattern": TAG_PATTERN})]
_Body = Annotated[Text, checked(check_body)]


class Mail(Part):
    """One mail, valid and frozen. Two are equal when all of their fields are."""

    id: Annotated[
        MailId,
        Strict(),
        checked(_check_id),
        Field(json_schema_extra={"minLength": 1, "maxLength": MAX_ID_LENGTH}),
    ] = Field(default_factory=new_mail_id)
    """The key by which it is sent once: the caller's own, or a fresh UUIDv7."""
    from_: Address = Field(alias="from")
    to: _Recipients = ()
    cc: _Recipients = ()
    bcc: _Recipients = ()
    reply_to: Annotated[tuple[Address, ...], Field(max_length=MAX_REPLY_TO)] = ()
    subject: Annotated[Text, checked(_check_subject), Field(json_schema_extra={"maxLength": MAX_SUBJECT_BYTES})] = ""
    text: _Body = ""
    html: _Body = ""
    headers: Annotated[
        Mapping[Text, Text], checked(check_headers), Field(json_schema_extra=_keys(NAME_PATTERN, MAX_HEADERS))
    ] = Field(default_factory=dict)
    attachments: Annotated[tuple[Attachment, ...], Field(max_length=MAX_ATTACHMENTS)] = ()
    tags: Annotated[tuple[_Tag, ...], Field(max_length=MAX_TAGS), checked(check_tags)] = ()
    metadata: Annotated[
        Mapping[Text, Text], checked(check_metadata), Field(json_schema_extra=_keys(KEY_PATTERN, MAX_METADATA_KEYS))
    ] = Field(default_factory=dict)
    send_at: _Moment | None = None
    """Not to be sent before; in the past it means now."""
    expires_at: _Moment | None = None
    """Not to be sent from then on."""
    on_doubt: OnDoubt = OnDoubt.ASK
    tenant: Annotated[Text, checked(_check_tenant)] | None = None
    """On whose behalf, for limits and statistics."""

    @model_validator(mode="after")
    def _check_as_a_whole(self) -> Self:
        _check_sender(self.from_)
        _check_recipients(self)
        _check_content(self)
        _check_order(self)
        _check_size(self)
        return self

    @property
    def message_id(self) -> str:
        """The value of the Message-ID header of every attempt, with <>: the caller's own, else one made of `id`."""
        own = find_message_id(self.headers)
        return own or f"<postman.{sha256(self.id.encode()).hexdigest()[:32]}@{self.from_.domain}>"

    @property
    def recipients(self) -> tuple[Address, ...]:
        """Everybody it goes to: *to*, *cc*, *bcc*."""
        return self.to + self.cc + self.bcc

    def has_expired(self, now: float) -> bool:
        """Whether it is worthless at *now*, seconds since 1970."""
        return self.expires_at is not None and now >= self.expires_at.timestamp()

    def due_in(self, now: float) -> float:
        """Return the seconds from *now* (since 1970) until it may be sent; 0 where it may already."""
        return 0.0 if self.send_at is None else max(0.0, self.send_at.timestamp() - now)

    def check_times(self, now: float) -> None:
        """Raise `InvalidMailError` where it, published at *now* (seconds since 1970), would have to wait too long."""
        if self.send_at is not None and self.send_at.timestamp() > now + MAX_DELAY:
            raise InvalidMailError("send_at", f"is more than {MAX_DELAY / 86_400:.0f} days ahead")

    def as_json(self) -> dict[str, Any]:
        """Return JSON's object of what is set and is not the default, in the order of the fields."""
        plain = {"id": self.id, "from": self.from_.as_json()}
        plain |= {name: _plain(value) for name in _OPTIONAL if (value := getattr(self, name))}
        if self.on_doubt is not OnDoubt.ASK:
            plain["on_doubt"] = self.on_doubt.value
        return plain | dict(sorted((self.model_extra or {}).items()))

    def __hash__(self) -> int:
        return hash(self.id)

    def _shown(self) -> Iterable[str]:
        counts = f"{len(self.recipients)} recipients", f"{len(self.attachments)} attachments"
        return (f"id={self.id!r}", *counts)


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case tuple():
            return [part.as_json() if isinstance(part, Address | Attachment) else part for part in value]
        case _:
            return value


def _check_sender(sender: Address) -> None:
    if has_mixed_scripts(sender.email):
        raise InvalidMailError("from.email", "mixes scripts in its domain, as forged look-alikes do")


def _check_recipients(mail: Mail) -> None:
    count = len(mail.to) + len(mail.cc) + len(mail.bcc)
    if not count:
        raise InvalidMailError("to", "has nobody, nor have cc and bcc: at least one recipient is needed")
    if count > MAX_RECIPIENTS:
        raise InvalidMailError("to", f"has with cc and bcc {count} recipients, more than {MAX_RECIPIENTS}")
    if count > 1:
        _check_unique(mail)


def _check_unique(mail: Mail) -> None:
    places: dict[str, str] = {}
    for name in ("to", "cc", "bcc"):
        for index, address in enumerate(getattr(mail, name)):
            place = f"{name}[{index}]"
            first = places.setdefault(address.email.lower(), place)
            if first != place:
                raise InvalidMailError(f"{place}.email", f"is the same recipient as {first}")


def _check_content(mail: Mail) -> None:
    if not (mail.text or mail.html or mail.attachments):
        raise InvalidMailError("text", "is empty, and so are html and attachments: one of the three is needed")
    content_ids = [part.content_id for part in mail.attachments if part.content_id is not None]
    for index, part in enumerate(mail.attachments):
        if part.content_id is not None and content_ids.count(part.content_id) > 1:
            raise InvalidMailError(f"attachments[{index}].content_id", "is there twice")


def _check_order(mail: Mail) -> None:
    if mail.send_at and mail.expires_at and mail.expires_at <= mail.send_at:
        raise InvalidMailError("expires_at", "is not after send_at")


def _check_size(mail: Mail) -> None:
    if _worst_size(mail) <= MAX_ENCODED_BYTES:
        return
    size = len(orjson.dumps(mail.as_json()))
    if size > MAX_ENCODED_BYTES:
        raise InvalidMailError("", f"the mail has {size} bytes as JSON, more than {MAX_ENCODED_BYTES}")


def _worst_size(mail: Mail) -> int:
    characters = 50_000 + len(mail.text) + len(mail.html) + sum(len(part.name or "") for part in mail.recipients)
    parts = len(mail.recipients) * (MAX_EMAIL_LENGTH + _OVERHEAD)
    content = sum(len(part.content) * 4 // 3 + 2_000 for part in mail.attachments)
    extra = MAX_ENCODED_BYTES if mail.model_extra else 0
    return characters * _WORST_GROWTH + parts + content + extra
