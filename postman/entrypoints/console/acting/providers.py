"""One provider: its share, whether it is used, and who decides over its breaker; with who changed what."""

import asyncio
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from aiohttp import web

from postman.config import ProviderEntry, parse_providers
from postman.config.providers import BREAKERS
from postman.entrypoints.console.access import needs_act
from postman.entrypoints.console.acting.desk import Form, acted, prepared
from postman.entrypoints.console.parts import PARTS
from postman.entrypoints.console.views.fleets import fleet_in
from postman.entrypoints.operating.providers import Edit, change_providers, enabling, forcing, weighing
from postman.errors import ConfigError
from postman.wiring import place_of

__all__ = ["provider_routes"]

_WHAT_BREAKERS_DO: Final = {
    "auto": "It decides by what becomes of the mails.",
    "open": "It gets no mail. What it has is finished, and it is asked about those in doubt.",
    "closed": "It gets its mails, whatever becomes of them.",
}


def provider_routes() -> list[web.RouteDef]:
    """Return the routes."""
    return [web.get("/acts/providers/{name}", _show), web.post("/acts/providers/{name}", _change)]


async def _show(request: web.Request) -> web.Response:
    needs_act(request)
    name, stores = request.match_info["name"], request.app[PARTS].stores
    known, reports = await asyncio.gather(stores.document(), stores.reports())
    fleet = fleet_in(reports, stores.clock.time())
    document = known.value if known is not None else None
    entries = _entries(document.text, place_of(stores.settings)) if document else ()
    entry = next((each for each in entries if each.spec.name == name), None)
    if entry is None:
        raise web.HTTPNotFound(text="The document has no such provider, or cannot be read now.")
    others = [each for each in entries if each is not entry and each.enabled and each.breaker != "open"]
    values = {
        "entry": entry,
        "line": next((each for each in fleet.providers if each.provider == name), None) if fleet else None,
        "is_last": not others,
        "breakers": [(each, _WHAT_BREAKERS_DO[each]) for each in BREAKERS],
        "changes": [each for each in reversed(document.changes) if name in each.what] if document else [],
        "action": _place(name),
    }
    return prepared(request, "act_provider.html", values, current="providers")


async def _change(request: web.Request) -> web.Response:
    name, stores = request.match_info["name"], request.app[PARTS].stores

    async def change(form: Form, by: str) -> tuple[str, str]:
        edit, why = _edit(name, form), form.get("why", "").strip()
        changed = await change_providers(stores.settings, edit, by=by, why=why)
        warning = f" But {changed.warning}." if changed.warning else ""
        return _place(name), f"Done: {edit.what}. Workers follow within seconds.{warning}"

    return await acted(request, "provider", _place(name), change)


def _edit(name: str, form: Form) -> Edit:
    match form.get("act", ""):
        case "enable":
            return enabling(name, enabled=True)
        case "disable":
            return enabling(name, enabled=False)
        case "weight":
            return weighing(name, _number(form.get("weight", "")))
        case "breaker":
            return forcing(name, form.get("breaker", ""))
    raise ConfigError("say what to change")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError("weight: must be a number") from None


def _entries(text: str, place: str) -> Sequence[ProviderEntry]:
    try:
        return parse_providers(text, place)
    except ConfigError:
        return ()


def _place(name: str) -> str:
    return f"/acts/providers/{quote(name, safe='')}"
