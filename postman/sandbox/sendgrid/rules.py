"""The documented rules for the body of SendGrid's ``POST /v3/mail/send``.

Every rule yields what it finds wrong, in SendGrid's words where these are documented. SendGrid writes the field as a
dotted path, and has no machine-readable codes.
"""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from postman.sandbox.addresses import is_address

__all__ = ["Problem", "problems"]

_MOST_PERSONALIZATIONS = 1000
_MOST_RECIPIENTS = 1000
_MOST_CATEGORIES = 10
_LONGEST_CATEGORY = 255
_CUSTOM_ARGS_BYTES = 10_000
_FURTHEST = 72 * 3600
_RESERVED_HEADERS = frozenset(
    {
        "bcc",
        "cc",
        "content-transfer-encoding",
        "content-type",
        "dkim-signature",
        "from",
        "received",
        "reply-to",
        "subject",
        "to",
        "x-sg-eid",
        "x-sg-id",
    }
)
_NO_SUBJECT = (
    "The subject is required. You can get around this requirement if you use a template with a subject defined or "
    "if every personalization has a subject defined."
)
_NO_CONTENT = (
    "Unless a valid template_id is provided, the content parameter is required. There must be at least one defined "
    "content block. We typically suggest both text/plain and text/html blocks are included, but only one block is "
    "required."
)
_NO_FROM = (
    "The from object must be provided for every email send. It is an object that requires the email parameter, but may "
    'also contain a name parameter. e.g. {"email" : "example@example.com"} or {"email" : "example@example.com", '
    '"name" : "Example Recipient"}.'
)
_NO_TO = (
    "The to array is required for all personalization objects, and must have at least one email object with a valid "
    "email address."
)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """One error of an answer; *field* is None where SendGrid names none."""

    message: str
    field: str | None = None


def problems(document: object, now: float) -> Iterator[Problem]:
    """Yield all that is wrong with *document*, the decoded body of a request made at *now*."""
    if not isinstance(document, dict):
        yield Problem("Bad Request")
        return
    yield from _personalizations(document.get("personalizations"), now)
    yield from _sender(document.get("from"), "from")
    yield from _subject(document)
    yield from _contents(document)
    yield from _attachments(document.get("attachments"))
    yield from _headers(document.get("headers"), "headers")
    yield from _strings(document.get("custom_args"), "custom_args")
    yield from _categories(document.get("categories"))
    yield from _reply_to(document)
    yield from _send_at(document.get("send_at"), "send_at", now)


def _personalizations(listed: object, now: float) -> Iterator[Problem]:
    if not isinstance(listed, list) or not listed:
        yield Problem(
            "The personalizations field is required and must have at least one personalization.", "personalizations"
        )
        return
    if len(listed) > _MOST_PERSONALIZATIONS:
        yield Problem(
            f"The personalization block is limited to {_MOST_PERSONALIZATIONS} personalizations per API request. You "
            f"have provided {len(listed)} personalizations. Please consider splitting this into multiple requests and "
            "resending your request.",
            "personalizations",
        )
        return
    for index, each in enumerate(listed):
        yield from _personalization(each, f"personalizations.{index}", now)
    if sum(_count_recipients(each) for each in listed) > _MOST_RECIPIENTS:
        yield Problem(
            f"There is a limit of {_MOST_RECIPIENTS} total recipients (to + cc + bcc) per request.", "personalizations"
        )


def _count_recipients(personalization: object) -> int:
    if not isinstance(personalization, dict):
        return 0
    lists = (personalization.get(kind) for kind in ("to", "cc", "bcc"))
    return sum(len(each) for each in lists if isinstance(each, list))


def _personalization(each: object, path: str, now: float) -> Iterator[Problem]:
    if not isinstance(each, dict) or not isinstance(each.get("to"), list) or not each["to"]:
        yield Problem(_NO_TO, f"{path}.to")
        return
    for kind in ("to", "cc", "bcc"):
        yield from _recipients(each.get(kind), f"{path}.{kind}")
    yield from _duplicates(each)
    if "from" in each:
        yield from _sender(each["from"], f"{path}.from")
    if "subject" in each and not _is_text(each["subject"]):
        yield Problem("The subject must be a string at least one character in length.", f"{path}.subject")
    yield from _headers(each.get("headers"), f"{path}.headers")
    yield from _strings(each.get("custom_args"), f"{path}.custom_args")
    yield from _send_at(each.get("send_at"), f"{path}.send_at", now)


def _recipients(listed: object, path: str) -> Iterator[Problem]:
    if listed is None:
        return
    if not isinstance(listed, list):
        yield Problem("Bad Request", path)
        return
    for index, each in enumerate(listed):
        yield from _address(each, f"{path}.{index}")


def _address(each: object, path: str) -> Iterator[Problem]:
    email = each.get("email") if isinstance(each, dict) else None
    if not isinstance(email, str) or not is_address(email):
        yield Problem("Does not contain a valid address.", f"{path}.email")
    if isinstance(each, dict) and not isinstance(each.get("name", ""), str):
        yield Problem("Bad Request")


def _duplicates(personalization: Json) -> Iterator[Problem]:
    seen: set[str] = set()
    for kind in ("to", "cc", "bcc"):
        for email in _emails(personalization.get(kind)):
            if email.lower() in seen:
                yield Problem(
                    "Each unique email address in the personalizations array should only be included once. You have "
                    f"included [{email}] more than once.",
                    "personalizations",
                )
                return
            seen.add(email.lower())


def _emails(listed: object) -> Iterator[str]:
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, dict) and isinstance(each.get("email"), str):
            yield each["email"]


def _sender(sender: object, path: str) -> Iterator[Problem]:
    if not isinstance(sender, dict) or not isinstance(sender.get("email"), str):
        yield Problem(_NO_FROM, f"{path}.email")
        return
    if not is_address(sender["email"]):
        yield Problem("The from email does not contain a valid address.", f"{path}.email")
    if not isinstance(sender.get("name", ""), str):
        yield Problem("Bad Request")


def _subject(document: Json) -> Iterator[Problem]:
    if _is_text(document.get("subject")) or document.get("template_id"):
        return
    listed = document.get("personalizations")
    each_has = isinstance(listed, list) and all(isinstance(each, dict) and each.get("subject") for each in listed)
    if document.get("subject") is not None or not each_has:
        yield Problem(_NO_SUBJECT, "subject")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _contents(document: Json) -> Iterator[Problem]:
    listed = document.get("content")
    if listed is None and document.get("template_id"):
        return
    if not isinstance(listed, list) or not listed:
        yield Problem(_NO_CONTENT, "content")
        return
    for index, each in enumerate(listed):
        yield from _content(each, f"content.{index}")
    yield from _content_order([each.get("type") for each in listed if isinstance(each, dict)])


def _content(each: object, path: str) -> Iterator[Problem]:
    content = each if isinstance(each, dict) else {}
    if not _is_text(content.get("type")):
        yield Problem("The content type must be a string at least one character in length.", f"{path}.type")
    if not _is_text(content.get("value")):
        yield Problem("The content value must be a string at least one character in length.", f"{path}.value")


def _content_order(types: list[object]) -> Iterator[Problem]:
    for kind in ("text/plain", "text/html"):
        if types.count(kind) > 1:
            yield Problem(f"If present, {kind} may only be provided once.", "content")
    wanted = [kind for kind in ("text/plain", "text/html") if kind in types]
    if types[: len(wanted)] != wanted:
        yield Problem(
            "If present, text/plain must be first, followed by text/html, followed by any other content.", "content"
        )


def _attachments(listed: object) -> Iterator[Problem]:
    if listed is None:
        return
    if not isinstance(listed, list):
        yield Problem("Bad Request", "attachments")
        return
    for index, each in enumerate(listed):
        yield from _attachment(each if isinstance(each, dict) else {}, f"attachments.{index}")


def _attachment(each: Json, path: str) -> Iterator[Problem]:
    if not _is_text(each.get("content")):
        yield Problem("The attachment content must be a string at least one character in length.", f"{path}.content")
    elif not _is_base64(each["content"]):
        yield Problem("The attachment content must be base64 encoded.", f"{path}.content")
    if not isinstance(each.get("filename"), str):
        yield Problem("The attachment filename is required.", f"{path}.filename")
    kind = each.get("type")
    if kind is not None and (not _is_text(kind) or any(letter in kind for letter in "\r\n;")):
        yield Problem("The attachment type must be a string without CRLF or semicolons.", f"{path}.type")
    if each.get("disposition", "attachment") not in ("attachment", "inline"):
        yield Problem('The attachment disposition must be "attachment" or "inline".', f"{path}.disposition")
    if not isinstance(each.get("content_id", ""), str):
        yield Problem("Bad Request", f"{path}.content_id")


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _headers(headers: object, path: str) -> Iterator[Problem]:
    yield from _strings(headers, path, limit=None)
    for name, value in headers.items() if isinstance(headers, dict) else ():
        if name.lower() in _RESERVED_HEADERS:
            yield Problem(f"The header {name} is reserved and can not be overridden.", path)
        elif not name.isascii() or any(letter in name for letter in "\r\n: ") or not name:
            yield Problem("Headers may contain only ASCII names, without line ends, spaces and colons.", path)
        elif isinstance(value, str) and any(letter in value for letter in "\r\n\0"):
            yield Problem("Header values may not contain line ends.", path)


def _strings(values: object, path: str, *, limit: int | None = _CUSTOM_ARGS_BYTES) -> Iterator[Problem]:
    if values is None:
        return
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        yield Problem("Bad Request")
        return
    if limit is not None and sum(len(f"{name}{value}".encode()) for name, value in values.items()) > limit:
        yield Problem(f"The custom_args may not exceed {limit} bytes.", path)


def _categories(listed: object) -> Iterator[Problem]:
    if listed is None:
        return
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        yield Problem("Bad Request", "categories")
        return
    if len(listed) > _MOST_CATEGORIES:
        yield Problem(f"You can specify no more than {_MOST_CATEGORIES} categories per message.", "categories")
    if len(set(listed)) != len(listed):
        yield Problem("Each category must be unique.", "categories")
    for index, each in enumerate(listed):
        if len(each) > _LONGEST_CATEGORY:
            yield Problem(f"A category may not exceed {_LONGEST_CATEGORY} characters.", f"categories.{index}")


def _reply_to(document: Json) -> Iterator[Problem]:
    single, listed = document.get("reply_to"), document.get("reply_to_list")
    if single is not None and listed is not None:
        yield Problem("Only one of reply_to or reply_to_list is allowed.", "reply_to_list")
    if single is not None:
        yield from _address(single, "reply_to")
    yield from _recipients(listed, "reply_to_list")
    emails = [email.lower() for email in _emails(listed)]
    if len(emails) > _MOST_RECIPIENTS or len(set(emails)) != len(emails):
        yield Problem(f"The reply_to_list must hold at most {_MOST_RECIPIENTS} unique addresses.", "reply_to_list")


def _send_at(when: object, path: str, now: float) -> Iterator[Problem]:
    if when is None:
        return
    if isinstance(when, bool) or not isinstance(when, int):
        yield Problem("The send_at must be a unix timestamp.", path)
    elif when > now + _FURTHEST:
        yield Problem("Scheduling more than 72 hours in advance is forbidden.", path)
