"""The worker's copy of the suppression list: a mail to an address on it is refused, not sent.

A mail costs a hash for each recipient, nothing where the list is empty, and no
question to the store. The store is asked for changes every few seconds, and for
all there is before the first mail is pulled. A store that is away stops no
mail: what was told before holds, and it is asked again until it answers.

An address takes about 120 bytes: it is kept as the first 15 bytes of its
key, which no two addresses share by chance.
"""

import asyncio
from datetime import UTC, datetime
from math import ceil
from typing import Final

import structlog

from postman.core.events import address_key
from postman.core.mail import Mail
from postman.core.suppression import Suppression, SuppressionReason
from postman.core.verdict import DeadReason
from postman.ports.clock import Clock
from postman.ports.suppressions import Suppressions
from postman.runtime.surprise import reason_of

__all__ = ["SuppressionList"]

_LOG = structlog.get_logger("postman.suppressions")

_EVERY: Final = 5.0
_LONGEST_START: Final = 60.0
_TOO_OLD: Final = 43_200.0
"""Seconds after which a copy is made anew: the store may have forgotten by then what was lifted since."""
_DIGEST: Final = 15
_WORDS_BITS: Final = 24
_WORDS_MASK: Final = (1 << _WORDS_BITS) - 1
_NAMES: Final = {
    SuppressionReason.BOUNCED: "a hard bounce",
    SuppressionReason.COMPLAINED: "a complaint",
    SuppressionReason.ADDED: "added by a person",
}


class SuppressionList:
    """See the module; a `Companion` of its worker. *every* is the seconds between two questions.

    A worker waits *longest_start* seconds at the most before it begins with what was read.
    """

    def __init__(
        self, store: Suppressions, clock: Clock, *, every: float = _EVERY, longest_start: float = _LONGEST_START
    ) -> None:
        self._store = store
        self._clock = clock
        self._every = every
        self._longest_start = longest_start
        self._known = self._coming = _Copy()
        self._cursor = ""
        self._asked_at = clock.now()
        """When the last answer was asked for."""
        self._fails = False

    def __len__(self) -> int:
        """How many addresses are known, some of which may have expired."""
        return len(self._known)

    def objection(self, mail: Mail) -> str:
        """Return why *mail* is not sent, naming the first recipient on the list by field and index; empty for none."""
        if not self._known:
            return ""
        now = self._clock.time()
        for field in ("to", "cc", "bcc"):
            for index, recipient in enumerate(getattr(mail, field)):
                if words := self._known.find(recipient.email, now):
                    return f"{DeadReason.SUPPRESSED}: {field}[{index}]: {words}; see postman suppressions"
        return ""

    async def get_ready(self) -> None:
        """Read the whole list, for a minute at the most: mails come first, and the rest is read beside them."""
        try:
            async with asyncio.timeout(self._longest_start):
                await self._refresh()
        except TimeoutError:
            self._fails = True
            _LOG.warning("suppressions_out_of_date", addresses=len(self), reason="the list is not read to its end yet")
        if not self._fails:
            _LOG.info("suppressions_read", addresses=len(self))

    async def run(self) -> None:
        """Keep up with the list until cancelled."""
        while True:
            await self._clock.sleep(self._every)
            await self._refresh()

    async def _refresh(self) -> None:
        try:
            await self._read()
        except Exception as error:  # noqa: BLE001 — whatever ails the list, the worker's mails must not wait for it
            if not self._fails:
                _LOG.warning("suppressions_out_of_date", addresses=len(self), **reason_of(error))
            self._fails = True
        else:
            if self._fails:
                _LOG.info("suppressions_up_to_date", addresses=len(self))
            self._fails = False

    async def _read(self) -> None:
        """Read what is new; a copy that is made anew takes the place of the old one when it is whole."""
        if self._clock.now() - self._asked_at > _TOO_OLD:
            self._coming, self._cursor = _Copy(), ""
        has_more = True
        while has_more:
            asked_at = self._clock.now()
            changes = await self._store.changes(self._cursor)
            for suppression in changes.suppressions:
                self._coming.take(suppression, self._clock.time())
            self._cursor, has_more, self._asked_at = changes.cursor, changes.has_more, asked_at
        self._known = self._coming


class _Copy:
    """Digests of addresses, each with one number: when it ends (0: never), and which words tell why."""

    def __init__(self) -> None:
        self._listed: dict[bytes, int] = {}
        self._words: dict[str, int] = {}
        self._told: list[str] = []

    def __len__(self) -> int:
        return len(self._listed)

    def take(self, suppression: Suppression, now: float) -> None:
        digest = _digest(suppression.key)
        if suppression.holds_at(now):
            end = ceil(suppression.expires_at or 0.0)
            self._listed[digest] = end << _WORDS_BITS | self._number_of(_words_of(suppression))
        else:
            self._listed.pop(digest, None)

    def find(self, email: str, now: float) -> str:
        """Return why *email* gets no mail at *now*; empty where it may."""
        entry = self._listed.get(_digest(address_key(email)), -1)
        if entry < 0:
            return ""
        end = entry >> _WORDS_BITS
        return "" if end and end <= now else self._told[entry & _WORDS_MASK]

    def _number_of(self, words: str) -> int:
        number = self._words.setdefault(words, len(self._told))
        if number == len(self._told):
            self._told.append(words)
        return number


def _digest(key: str) -> bytes:
    return bytes.fromhex(key[: 2 * _DIGEST])


def _words_of(suppression: Suppression) -> str:
    day = datetime.fromtimestamp(suppression.since, UTC).strftime("%Y-%m-%d")
    at = f" at {suppression.provider}" if suppression.provider else ""
    return f"{_NAMES[suppression.reason]}{at} on {day}"
