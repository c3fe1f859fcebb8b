"""What of an entry stands in columns of its own, by which many are found: its shelf, its ids and its recipients."""

import sqlite3
from typing import Final

from postman.adapters.sqlite._entries import UNREADABLE, load
from postman.core.entry import Entry
from postman.core.shelf import shelf_of

__all__ = ["Columns", "columns_of", "fill_columns"]

Columns = tuple[str | None, float, str | None]
"""Shelf, since, the provider's id; None where the entry has none."""

_PAGE: Final = 1_000
_SOME: Final = """
    SELECT prefix, mail_id, entry FROM entries WHERE (prefix, mail_id) > (?, ?) ORDER BY prefix, mail_id LIMIT ?
"""
_SET: Final = "UPDATE entries SET shelf = ?, since = ?, message_id = ? WHERE prefix = ? AND mail_id = ?"


def columns_of(entry: Entry) -> Columns:
    """Return what is kept beside *entry*."""
    return shelf_of(entry), entry.since, entry.message_id or None


def fill_columns(connection: sqlite3.Connection) -> None:
    """Fill them for entries that were written without; what a newer postman wrote, or is damaged, is left alone."""
    place = ("", "")
    while rows := connection.execute(_SOME, (*place, _PAGE)).fetchall():
        for prefix, mail_id, text in rows:
            try:
                entry, _ = load(text)
            except UNREADABLE:
                continue
            connection.execute(_SET, (*columns_of(entry), prefix, mail_id))
        place = rows[-1][:2]
