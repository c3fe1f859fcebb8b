"""Mail files (`.eml`, RFC 5322 and MIME) as mails.

What a mail can say is kept: addresses, subject, both texts, files, images shown
in the HTML, and the headers listed in `docs/mail.md`. What servers wrote on the
way (*Received*, signatures, *Date*, *Resent-…*) is dropped, since the mail is
sent anew. What cannot be carried, or could be read in two ways, is refused with
the header's name: a file is either sent as it was meant or not at all.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from postman.core.eml.mailboxes import read_mailboxes
from postman.core.eml.mime import Letter, open_letter, read_body
from postman.core.eml.words import decode_words
from postman.core.headers import MAX_HEADERS, MAX_HEADERS_BYTES, check_headers
from postman.core.ids import MailId, check_mail_id, new_mail_id
from postman.core.mail import MAX_ENCODED_BYTES, Address, Mail
from postman.errors import InvalidMailError

__all__ = ["MAX_FILE_BYTES", "mail_from_eml"]

MAX_FILE_BYTES: Final = 3 * MAX_ENCODED_BYTES
"""Quoted-printable needs three bytes for one; no file beyond that can be a mail within the limits."""

_ONCE: Final = ("from", "to", "cc", "bcc", "reply-to", "subject", "message-id", "content-type")
_KEPT_FIRST: Final = ("message-id", "in-reply-to", "references", "auto-submitted", "precedence")
_KEPT: Final = (
    *("comments", "disposition-notification-to", "feedback-id", "importance", "keywords", "organization"),
    *("priority", "sensitivity", "thread-index", "thread-topic"),
)
_KEPT_BEGINNINGS: Final = ("list-", "x-")
_BARE_RETURN: Final = re.compile(rb"\r(?!\n)")
_HEAD: Final = re.compile(rb"\r?\n\r?\n")


def mail_from_eml(data: bytes, *, mail_id: MailId | str | None = None) -> Mail:
    """Return the mail in the file *data*, under *mail_id* or a new id.

    Somebody named twice over To, Cc and Bcc is a recipient once, where first named. Raises `InvalidMailError`; its
    field is a header's name (`To[2].email`), or the mail's own where the file was read but breaks the contract.
    """
    _check_file(data)
    letter = open_letter(data)
    _refuse_repeated(letter)
    sender = _sender(letter)
    to, cc, bcc = _recipients(letter)
    body = read_body(letter)
    return Mail(
        id=new_mail_id() if mail_id is None else check_mail_id(mail_id),
        from_=sender,
        to=to,
        cc=cc,
        bcc=bcc,
        reply_to=read_mailboxes("Reply-To", letter.get("reply-to", "")),
        subject=decode_words(letter.get("subject", "")),
        text=body.text,
        html=body.html,
        headers=dict(_headers(letter)),
        attachments=body.attachments(),
    )


def _check_file(data: bytes) -> None:
    if not data.strip():
        raise InvalidMailError("", "is empty")
    if len(data) > MAX_FILE_BYTES:
        raise InvalidMailError("", f"has {len(data)} bytes, more than {MAX_FILE_BYTES}")
    if _BARE_RETURN.search(_HEAD.split(data, maxsplit=1)[0]):
        raise InvalidMailError("", "has a carriage return among its headers that ends no line")


def _refuse_repeated(letter: Letter) -> None:
    counts = Counter(name.lower() for name in letter.keys())  # noqa: SIM118 — iterating a letter is by number
    for name in _ONCE:
        if counts[name] > 1:
            raise InvalidMailError(
                name.title(), f"is there {counts[name]} times, and programs differ in which they take"
            )


def _sender(letter: Letter) -> Address:
    found = read_mailboxes("From", letter.get("from", ""))
    if len(found) != 1:
        raise InvalidMailError("From", f"has {len(found)} addresses; a mail has one sender" if found else "is missing")
    return found[0]


def _recipients(letter: Letter) -> list[list[Address]]:
    seen: set[str] = set()
    found = []
    for header in ("To", "Cc", "Bcc"):
        new = {address.email.lower(): address for address in reversed(read_mailboxes(header, letter.get(header, "")))}
        found.append([address for key, address in reversed(new.items()) if key not in seen])
        seen.update(new)
    if not seen:
        raise InvalidMailError("To", "names nobody, nor do Cc and Bcc")
    return found


def _headers(letter: Letter) -> Iterator[tuple[str, str]]:
    room, count, seen = MAX_HEADERS_BYTES, MAX_HEADERS, set[str]()
    for name, value in sorted(letter.items(), key=lambda header: header[0].lower() not in _KEPT_FIRST):
        size = len(name) + len(value)
        if name.lower() not in seen and size <= room and count and _is_kept(name, value):
            yield name, value
            seen.add(name.lower())
            room, count = room - size, count - 1


def _is_kept(name: str, value: str) -> bool:
    low = name.lower()
    if low not in _KEPT_FIRST and low not in _KEPT and not low.startswith(_KEPT_BEGINNINGS):
        return False
    try:
        check_headers({name: value})
    except InvalidMailError:
        return False
    return True
