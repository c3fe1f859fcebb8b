"""Mail ids: the key by which a mail is sent at most once.

A caller brings its own id, or gets a UUIDv7 (RFC 9562): 128 bits, ordered by
time, made without coordination. Its canonical text is lower case with hyphens.
"""

from typing import Final, NewType

import uuid_utils

from postman.errors import InvalidMailError

__all__ = ["MAX_ID_LENGTH", "MailId", "check_mail_id", "is_mail_id", "new_mail_id"]

MailId = NewType("MailId", str)

MAX_ID_LENGTH: Final = 128


def new_mail_id() -> MailId:
    """Return a fresh id, later ones sorting after earlier ones."""
    return MailId(str(uuid_utils.uuid7()))


def is_mail_id(text: str) -> bool:
    """Whether *text* can be an id."""
    return 1 <= len(text) <= MAX_ID_LENGTH and text.isprintable()


def check_mail_id(text: str) -> MailId:
    """Return *text* as an id: 1 to 128 printable characters, else `InvalidMailError`."""
    if not 1 <= len(text) <= MAX_ID_LENGTH:
        raise InvalidMailError("id", f"must have 1 to {MAX_ID_LENGTH} characters, not {len(text)}")
    if not text.isprintable():
        raise InvalidMailError("id", "must have printable characters only")
    return MailId(text)
