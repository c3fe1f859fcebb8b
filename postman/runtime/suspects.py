"""Mails that may have ended the worker which had them before.

Two kinds. Whatever is handed out again may have ended a worker while it was
read, of which no trace is left: it is tasted first. And what lay with a worker
when its lease ran out, as the ledger tells, may have ended it while it was
sent: it goes alone, so that the next end tells whose fault it was and the
innocent do not pay for it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from postman.core.mail import Mail
from postman.ports.ledger import Ledger
from postman.ports.queue import Delivery
from postman.ports.tasting import Taster

__all__ = ["Suspects"]

_AGAIN: Final = 2
"""From this delivery on a message is under suspicion."""
_PATIENCE: Final = 2.0
"""So long a mail waits to be the only suspect, before it is given back."""


class Suspects:
    """One for each worker. Without *taster* nothing is tasted."""

    def __init__(self, ledger: Ledger, taster: Taster | None) -> None:
        self._ledger = ledger
        self._taster = taster
        self._turn = asyncio.Lock()
        self._alone: Mail | None = None

    async def harm_of(self, delivery: Delivery) -> str:
        """Return what reading the message does to a process; empty where it does nothing."""
        if self._taster is None or delivery.attempt < _AGAIN:
            return ""
        return await self._taster.taste(delivery.message)

    async def has_lapsed(self, delivery: Delivery, mail: Mail) -> bool:
        """Whether *mail* is known to have lain with a worker that ended; a first delivery is not asked about."""
        if delivery.attempt < _AGAIN:
            return False
        entry = await self._ledger.find(mail.id)
        return entry is not None and entry.lapses > 0

    def is_alone(self, mail: Mail) -> bool:
        """Whether *mail* is the one that is dealt with alone now."""
        return self._alone is mail

    @asynccontextmanager
    async def alone(self, mail: Mail) -> AsyncIterator[bool]:
        """Have *mail* be the only suspect that is claimed by this worker; False where others were before it."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._turn.acquire()
        except TimeoutError:
            yield False
            return
        self._alone = mail
        try:
            yield True
        finally:
            self._alone = None
            self._turn.release()
