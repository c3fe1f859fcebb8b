"""Follows the mails of a chaos run to their ends."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from postman.core.ids import MailId
from postman.core.protocol import Entry
from postman.errors import LedgerUnavailableError
from postman.ports.ledger import Ledger
from tests.chaos.checker import is_over

__all__ = ["MOST_OPEN", "Watch"]

MOST_OPEN: Final = 1_000
"""No more mails than that are looked for at a time."""

_STILL: Final = 300.0
"""A run in which nothing comes to an end for so many seconds is given up; a busy machine takes one to begin."""


@dataclass(slots=True)
class Watch:
    """Follows the published mails to their ends, on a way to the ledger that has no trouble."""

    ledger: Ledger
    open: dict[MailId, float] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    changed_at: float = field(default_factory=time.monotonic)

    async def run(self) -> None:
        while True:
            with suppress(LedgerUnavailableError):  # an emulator that is frozen
                await self.look()
            await asyncio.sleep(1.0)

    async def look(self) -> None:
        limit = time.monotonic() - 1.5
        due = [mail_id for mail_id, since in self.open.items() if since < limit][:MOST_OPEN]
        found = await asyncio.gather(*(self.ledger.find(mail_id) for mail_id in due))
        for mail_id, entry in zip(due, found, strict=True):
            if entry is not None and is_over(entry):
                self.entries[mail_id] = entry
                del self.open[mail_id]
                self.changed_at = time.monotonic()

    @property
    def is_still(self) -> bool:
        return time.monotonic() - self.changed_at > _STILL

    async def complain(self) -> None:
        """Raise `TimeoutError` when nothing comes to an end any more."""
        while not self.is_still:  # noqa: ASYNC110 — other processes decide
            await asyncio.sleep(1.0)
        raise TimeoutError(f"no mail came to its end for {_STILL:g} seconds; {len(self.open)} are open")
