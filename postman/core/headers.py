"""Headers that a caller may set, and those that are not its own.

What a mail's fields say, what a relay adds and what steers a provider cannot
be set as a header: it would contradict the field, forge a trace, or change how
the mail is sent behind postman's back.
"""

import re
from collections.abc import Mapping
from typing import Final

from postman.core.text import check_line
from postman.errors import InvalidMailError

__all__ = [
    "MAX_HEADERS",
    "MAX_HEADERS_BYTES",
    "MAX_HEADER_BYTES",
    "NAME_PATTERN",
    "check_headers",
    "denial",
    "find_message_id",
    "is_message_id",
]

MAX_HEADERS: Final = 50
MAX_HEADER_BYTES: Final = 995
"""Of one value: with its name the line stays below RFC 5322's 998 wherever providers fold."""
MAX_HEADERS_BYTES: Final = 6_000
"""Of all names and values: together with the metadata they fit into the 16 KB of Mailgun's request."""

NAME_PATTERN: Final = "^[A-Za-z0-9-]{1,76}$"

_NAME: Final = re.compile(NAME_PATTERN)
_MESSAGE_ID: Final = re.compile(r"<[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,128}@[A-Za-z0-9.-]{1,100}>")

_FIELD: Final = "is set by the field of that name"
_BODY: Final = "describes the body, which is built from the fields"
_RELAY: Final = "is written by the servers that carry the mail"
_PROVIDER: Final = "steers a provider"

_DENIED: Final[Mapping[str, str]] = {
    "from": _FIELD,
    "to": _FIELD,
    "cc": _FIELD,
    "bcc": _FIELD,
    "subject": _FIELD,
    "reply-to": "is set by the field reply_to",
    "sender": "would name another sender than from",
    "return-path": _RELAY,
    "received": _RELAY,
    "delivered-to": _RELAY,
    "authentication-results": _RELAY,
    "received-spf": _RELAY,
    "date": "is set when the mail is sent",
    "mime-version": _BODY,
    "x-smtpapi": _PROVIDER,
    "x-mailin-custom": _PROVIDER,
    "idempotency-key": _PROVIDER,
    "resend-idempotency-key": _PROVIDER,
}
_DENIED_BEGINNINGS: Final[Mapping[str, str]] = {
    "content-": _BODY,
    "dkim-": _RELAY,
    "arc-": _RELAY,
    "resent-": _RELAY,
    "x-sg-": _PROVIDER,
    "x-mailgun-": _PROVIDER,
    "x-ses-": _PROVIDER,
    "x-pm-": _PROVIDER,
    "x-postman-": "is postman's own",
}


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise `InvalidMailError` naming the header that may not be there, or not so."""
    if len(headers) > MAX_HEADERS:
        raise InvalidMailError("", f"has {len(headers)} headers, more than {MAX_HEADERS}")
    seen: set[str] = set()
    for name, value in headers.items():
        _check_name(name, seen)
        _check_value(name, value)
    if sum(len(name) + len(value) for name, value in headers.items()) > MAX_HEADERS_BYTES:
        raise InvalidMailError("", f"is longer than {MAX_HEADERS_BYTES} bytes in all")


def find_message_id(headers: Mapping[str, str]) -> str | None:
    """Return the caller's own Message-ID, whatever the case of its name."""
    return next((value for name, value in headers.items() if name.lower() == "message-id"), None)


def is_message_id(text: str) -> bool:
    """Whether *text* is `<local@domain>` in the plain form that every provider keeps."""
    return _MESSAGE_ID.fullmatch(text) is not None


def denial(name: str) -> str | None:
    """Return why a header of this *name* may not be set, None where it may."""
    low = name.lower()
    if low in _DENIED:
        return _DENIED[low]
    return next((reason for start, reason in _DENIED_BEGINNINGS.items() if low.startswith(start)), None)


def _check_name(name: str, seen: set[str]) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidMailError("", "has a name that is not 1 to 76 letters, digits and hyphens")
    if reason := denial(name):
        raise InvalidMailError(name, f"cannot be set: it {reason}")
    if name.lower() in seen:
        raise InvalidMailError(name, "is there twice: names differ in more than upper and lower case")
    seen.add(name.lower())


def _check_value(name: str, value: str) -> None:
    if not value.strip():
        raise InvalidMailError(name, "is empty")
    if len(value.encode("utf-8", "replace")) > MAX_HEADER_BYTES:
        raise InvalidMailError(name, f"is longer than {MAX_HEADER_BYTES} bytes")
    try:
        check_line(value)
    except ValueError as error:
        raise InvalidMailError(name, str(error)) from error
    if not value.isascii():
        raise InvalidMailError(name, "must be ASCII; write other characters as an RFC 2047 encoded word")
    if name.lower() == "message-id" and not is_message_id(value):
        raise InvalidMailError(name, "must look like <local@domain>, with one @ and no spaces")
