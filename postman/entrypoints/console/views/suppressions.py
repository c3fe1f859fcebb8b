"""Addresses that get no more mail; by their keys, since nobody knows the addresses."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from postman.entrypoints.console.knowledge import Known
from postman.entrypoints.console.parts import Values, View
from postman.entrypoints.console.stores import Stores

__all__ = ["SUPPRESSIONS"]

_PER_PAGE: Final = 100
_KEY: Final = re.compile(r"[0-9a-f]{12,64}")


async def _values(stores: Stores, ask: Mapping[str, str]) -> Values:
    known = await stores.suppressed()
    listed = (known.value if known is not None else None) or ()
    key, reason, page = ask.get("key", ""), ask.get("reason", ""), _number(ask.get("page", ""))
    is_key = bool(_KEY.fullmatch(key))
    chosen = [
        each for each in listed if (not reason or each.reason == reason) and (not is_key or each.key.startswith(key))
    ]
    begin = (page - 1) * _PER_PAGE
    return {
        "now": stores.clock.time(),
        "has_list": known is not None,
        "known": known or Known(),
        "total": len(listed),
        "reasons": sorted(Counter(str(each.reason) for each in listed).items()),
        "reason": reason,
        "key": key if is_key else "",
        "matching": len(chosen),
        "shown": chosen[begin : begin + _PER_PAGE],
        "newer": _link(key, reason, page - 1) if page > 1 else "",
        "older": _link(key, reason, page + 1) if begin + _PER_PAGE < len(chosen) else "",
    }


def _number(text: str) -> int:
    return max(1, int(text)) if text.isascii() and text.isdecimal() and len(text) < 9 else 1


def _link(key: str, reason: str, page: int) -> str:
    chosen = {"key": key, "reason": reason, "page": str(page) if page > 1 else ""}
    return f"?{urlencode({name: value for name, value in chosen.items() if value})}"


SUPPRESSIONS: Final = View("suppressions", "suppressions.html", _values)
