"""Mails that wait for somebody: in doubt, or given up; and the answers of the search."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from postman.entrypoints.console.knowledge import Known
from postman.entrypoints.console.parts import Values, View
from postman.entrypoints.console.records import IN_DOUBT, ListedMail, Listing
from postman.entrypoints.console.stores import Stores

__all__ = ["DEAD", "DOUBTS", "FOUND"]

_PER_PAGE: Final = 50


async def _doubts(stores: Stores, ask: Mapping[str, str]) -> Values:
    shelves = stores.shelves
    if shelves is None:
        return {"now": stores.clock.time(), "is_read": False}
    listing, counts = await asyncio.gather(shelves.page(IN_DOUBT, ask.get("after", ""), _PER_PAGE), shelves.counts())
    return {
        **_listed(stores, listing, {}, ask),
        "count": (counts.value or {}).get(IN_DOUBT, 0),
    }


async def _dead(stores: Stores, ask: Mapping[str, str]) -> Values:
    shelves = stores.shelves
    if shelves is None:
        waiting = await stores.waiting()
        dead = waiting.value.dead if waiting.value else {}
        counted = sorted((shard, each) for shard, each in dead.items() if each.count)
        total = sum(each.count for _, each in counted) if waiting.value and waiting.value.is_counted else None
        return {"now": stores.clock.time(), "is_read": False, "by_shard": counted, "total": total}
    counts = await shelves.counts()
    reasons = {shelf: count for shelf, count in sorted((counts.value or {}).items()) if shelf != IN_DOUBT and count}
    reason = _chosen(ask.get("reason", ""), reasons)
    listing: Known[Listing] = Known(None, stores.clock.time())
    if reason:
        listing = await shelves.page(reason, ask.get("after", ""), _PER_PAGE)
    return {
        **_listed(stores, listing, {"reason": reason}, ask),
        "counts_known": counts,
        "reasons": reasons,
        "reason": reason,
        "total": sum(reasons.values()),
    }


def _chosen(asked: str, reasons: Mapping[str, int]) -> str:
    """Return the reason that is shown: the one that was asked for, or the most frequent."""
    if asked in reasons:
        return asked
    return max(reasons, key=lambda each: reasons[each], default="")


def _listed(stores: Stores, listing: Known[Listing], kept: Mapping[str, str], ask: Mapping[str, str]) -> Values:
    records: Sequence[ListedMail] = listing.value.records if listing.value else ()
    after = listing.value.after if listing.value else ""
    return {
        "now": stores.clock.time(),
        "is_read": True,
        "known": listing,
        "records": records,
        "older": f"?{urlencode({**kept, 'after': after})}" if after else "",
        "is_first": not ask.get("after"),
        "first": f"?{urlencode(kept)}" if kept else "?",
    }


async def _found(stores: Stores, ask: Mapping[str, str]) -> Values:
    shelves, tag, message_id = stores.shelves, ask.get("recipient", ""), ask.get("message_id", "")
    base = {"now": stores.clock.time(), "tag": tag, "message_id": message_id, "text": ask.get("text", "")}
    if shelves is None or not (tag or message_id):
        return {**base, "is_read": shelves is not None, "known": Known(None, stores.clock.time()), "records": ()}
    known = await (shelves.by_recipient(tag) if tag else shelves.by_message_id(message_id))
    return {**base, "is_read": True, "known": known, "records": known.value or ()}


DOUBTS: Final = View("doubts", "doubts.html", _doubts)
DEAD: Final = View("dead", "dead.html", _dead)
FOUND: Final = View("search", "search.html", _found, is_live=False)
