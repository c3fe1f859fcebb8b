"""A single document with a single text, which many read and somebody replaces now and then.

A look is one read. A change is one read and one write, conditional on what was
read, so that of two changes from the same text one is refused; nothing is tried
again. Where the write's answer is lost, the next look tells.
"""

from collections.abc import Callable
from typing import Any, Final

from google.cloud.firestore_v1.types import Write

from postman.adapters.firestore._calls import CallFailedError, Calls, Code, Snapshot
from postman.adapters.firestore._channel import Database

__all__ = ["SingleDocument"]

_LIMIT: Final = 6.0
_LATE: Final = frozenset({Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION, Code.NOT_FOUND, Code.ABORTED})
"""Outcomes of a write that was not made because another came before it."""


class SingleDocument:
    """The text in *field* of the document at *path*, like `collection/name`."""

    def __init__(self, database: Database, path: str, field: str) -> None:
        self.place = f"document {path} of database {database.name}"
        self._database = database
        self._name = f"{database.path}/documents/{path}"
        self._field = field
        self._calls = Calls(database)

    async def read(self) -> str | None:
        """Return the text; None where there is no document."""
        async with self._calls.within(_LIMIT):
            return self._text_in(await self._look())

    async def change(self, replace: Callable[[str | None], str], *, late: Exception) -> None:
        """Put what *replace* makes of the text in its place; raises *late* where another change came before it."""
        async with self._calls.within(_LIMIT):
            snapshot = await self._look()
            text = replace(self._text_in(snapshot))
            [outcome] = await self._calls.batch_write([self._replacement(text, snapshot)])
        if outcome.code in _LATE:
            raise late
        if outcome.code is not Code.OK:
            raise CallFailedError(self._database, outcome.code)

    async def aclose(self) -> None:
        """Close the channel."""
        await self._calls.aclose()

    async def _look(self) -> Snapshot:
        return (await self._calls.read([self._name]))[self._name]

    def _text_in(self, snapshot: Snapshot) -> str | None:
        return None if snapshot.document is None else str(snapshot.document.fields[self._field].string_value)

    def _replacement(self, text: str, snapshot: Snapshot) -> Any:
        """Return the write that puts *text* where *snapshot* still holds."""
        write = Write.pb()()
        write.update.name = self._name
        write.update.fields[self._field].string_value = text
        if snapshot.document is None:
            write.current_document.exists = False
        else:
            write.current_document.update_time.CopyFrom(snapshot.document.update_time)
        return write
