"""The mails in the body of a request: one object, or an array of them."""

import io
from collections.abc import Sequence
from typing import Final

import orjson

from postman.core.mail import Mail
from postman.core.wire import digest
from postman.entrypoints.mailfiles import MailFile
from postman.entrypoints.serve.answers import Refusal, field_errors
from postman.errors import InvalidMailError

__all__ = ["MOST_MAILS", "read_mails"]

MOST_MAILS: Final = 500
_MOST_ERRORS: Final = 20
_MARKS: Final = (b",", b"[", b"{")
_MOST_MARKS: Final = 500_000
"""Each may take a hundred bytes of memory once it is parsed; a body of 16 MiB may be nothing else."""


def read_mails(body: bytes, now: float) -> Sequence[Mail]:
    """Return the mails, all of them valid; raises `Refusal` 400 for what is no JSON of this form, else 422."""
    is_array = _is_array(body)
    mails: list[Mail] = []
    errors: list[tuple[str, str]] = []
    with MailFile("body", ".json", io.BytesIO(body)) as file:
        for number, (_, mail) in enumerate(file.read()):
            where = f"mails[{number}]" if is_array else ""
            try:
                mails.append(_checked(mail, now))
            except InvalidMailError as error:
                errors.append((_joined(where, error.field), error.problem))
    errors += _repeated(mails) if is_array and not errors else []
    if errors:
        more = f" and {len(errors) - 1} more" if len(errors) > 1 else ""
        detail = f"{': '.join(filter(None, errors[0]))}{more}; nothing was published"
        raise Refusal(422, detail, fields=field_errors(errors[:_MOST_ERRORS]))
    return mails


def _is_array(body: bytes) -> bool:
    if not body.strip():
        raise Refusal(400, "the body is empty")
    if sum(map(body.count, _MARKS)) > _MOST_MARKS:
        raise Refusal(400, f"has more than {_MOST_MARKS} commas and opening brackets: send fewer mails at a time")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # Not chained: the error holds the whole text.
        raise Refusal(400, f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    if not isinstance(document, dict | list):
        raise Refusal(400, "must be a mail (an object), or an array of mails")
    if isinstance(document, list) and not 1 <= len(document) <= MOST_MAILS:
        raise Refusal(400, f"an array must have 1 to {MOST_MAILS} mails, not {len(document)}")
    return isinstance(document, list)


def _checked(mail: Mail | InvalidMailError, now: float) -> Mail:
    if isinstance(mail, InvalidMailError):
        raise mail
    mail.check_times(now)
    return mail


def _joined(where: str, field: str) -> str:
    return ".".join(filter(None, (where, field)))


def _repeated(mails: Sequence[Mail]) -> list[tuple[str, str]]:
    """Return an error for each id that stands for two contents; the same mail twice is sent once."""
    contents: dict[str, str] = {}
    return [
        (f"mails[{number}].id", "stands before for another content")
        for number, mail in enumerate(mails)
        if contents.setdefault(mail.id, digest(mail)) != digest(mail)
    ]
