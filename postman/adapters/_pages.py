"""Where a page of records ends, as the text that brings the next one: the same for all ledgers."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from typing import Final

__all__ = ["at_most", "read_place", "write_place"]

_MOST: Final = 500


def at_most(limit: int) -> int:
    """Return how many records are read where *limit* are asked for: 1 to 500."""
    return max(1, min(limit, _MOST))


def write_place(since: str, mail_id: str) -> str:
    """Return the text for the mail that a page ends with; *since* orders the shelf, and has no space in it."""
    return urlsafe_b64encode(f"{since} {mail_id}".encode()).decode().rstrip("=")


def read_place(text: str) -> tuple[str, str] | None:
    """Return what `write_place` was given; None for any other text."""
    try:
        since, _, mail_id = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition(" ")
    except (Error, ValueError):
        return None
    return (since, mail_id) if since and mail_id else None
