"""The suppression list: an address added, or lifted. It is hashed at once, and shown nowhere again."""

import re
from typing import Final

from aiohttp import web

from postman.core.addresses import normal_email
from postman.core.events import address_key
from postman.entrypoints.console.access import needs_act
from postman.entrypoints.console.acting.desk import Form, acted, prepared
from postman.entrypoints.console.parts import PARTS
from postman.entrypoints.operating.suppressions import lift, opened_suppressions, suppress
from postman.entrypoints.operating.words import tagged
from postman.errors import ConfigError

__all__ = ["suppression_routes"]

_HOME: Final = "/acts/suppressions"
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_SHOWN: Final = 12


def suppression_routes() -> list[web.RouteDef]:
    """Return the routes."""
    return [web.get(_HOME, _choose), web.post(_HOME, _act)]


async def _choose(request: web.Request) -> web.Response:
    needs_act(request)
    suppressed = await request.app[PARTS].stores.suppressed()
    key = request.query.get("key", "")
    values = {"has_list": suppressed is not None, "key": key if _KEY.fullmatch(key) else ""}
    return prepared(request, "act_suppressions.html", values, current="suppressions")


async def _act(request: web.Request) -> web.Response:
    stores = request.app[PARTS].stores

    async def change(form: Form, by: str) -> tuple[str, str]:
        key, act = _key(form.get("who", "").strip()), form.get("act", "")
        async with opened_suppressions(stores.settings) as store:
            if act == "lift":
                stood = await lift(store, key)
                told = "gets mail again" if stood else "was not on the list"
                return _HOME, f"The address {key[:_SHOWN]}… {told}."
            if act != "add":
                raise ConfigError("say whether to add or to lift")
            why, days = form.get("why", "").strip(), _days(form.get("days", "").strip())
            detail = f"added by {tagged(by)}: {why}" if why else f"added by {tagged(by)}"
            await suppress(store, [key], now=stores.clock.time(), days=days, why=detail)
            return _HOME, f"The address {key[:_SHOWN]}… gets no mail."

    return await acted(request, "suppression", _HOME, change)


def _key(text: str) -> str:
    """Return the key of an address, or *text* where it is one."""
    if _KEY.fullmatch(text):
        return text
    try:
        return address_key(normal_email(text))
    except ValueError:
        raise ConfigError("this is neither an address nor a key of one") from None


def _days(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise ConfigError("days: must be a number") from None
