"""The suppression list: looked through, added to, lifted from. It knows no address, only keys of them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

from postman.config import Settings
from postman.core.suppression import Suppression, SuppressionReason
from postman.entrypoints.operating.words import checked_why
from postman.errors import ConfigError
from postman.ports.suppressions import Suppressions
from postman.wiring import open_suppressions

__all__ = ["AT_ONCE", "expiry", "lift", "opened_suppressions", "standing_suppressions", "suppress"]

AT_ONCE: Final = 50
"""Addresses that are dealt with at a time."""
_DAY: Final = 86_400.0
_LONGEST: Final = 36_500


@asynccontextmanager
async def opened_suppressions(chosen: Settings) -> AsyncIterator[Suppressions]:
    """Open the list; raises `ConfigError` where the ledger keeps none."""
    store = open_suppressions(chosen)
    if store is None:
        raise ConfigError("POSTMAN_LEDGER: this kind of ledger keeps no suppression list")
    async with aclosing(store):
        yield store


async def standing_suppressions(store: Suppressions, now: float) -> Sequence[Suppression]:
    """Return who gets no mail at *now*, oldest first."""
    cursor, has_more = "", True
    found: dict[str, Suppression] = {}
    while has_more:
        changes = await store.changes(cursor)
        found |= {each.key: each for each in changes.suppressions}
        cursor, has_more = changes.cursor, changes.has_more
    return sorted((each for each in found.values() if each.holds_at(now)), key=lambda each: (each.since, each.key))


async def suppress(
    store: Suppressions, keys: Sequence[str], *, now: float, days: float | None = None, why: str = ""
) -> Sequence[Suppression]:
    """Put *keys* of addresses on the list, for *days* or for good; return what stands there of each.

    One that is there for longer already stays as it is. Raises `ConfigError` for a wrong number of days, or *why*.
    """
    expires_at, detail, places = expiry(now, days), checked_why(why), asyncio.Semaphore(AT_ONCE)

    async def put(key: str) -> Suppression:
        async with places:
            own = Suppression(key, SuppressionReason.ADDED, now, expires_at, detail=detail)
            await store.put(own)
            return await store.find(key) or own

    return await asyncio.gather(*map(put, keys))


def expiry(now: float, days: float | None) -> float | None:
    """Return when what is added at *now* ends; None: never."""
    if days is None:
        return None
    if not 0 < days <= _LONGEST:
        raise ConfigError(f"--for: must be more than 0 and at most {_LONGEST} days")
    return now + days * _DAY


async def lift(store: Suppressions, key: str) -> Suppression | None:
    """Let the address whose *key* it is get mail again; return what stood there, None for nothing."""
    return await store.lift(key)
