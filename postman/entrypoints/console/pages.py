"""Shows pages: what all of them have around what each of them shows."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from postman.entrypoints.console.access import FORM_FIELD, VISITOR, Visitor
from postman.entrypoints.console.frame import fragments, page_of
from postman.entrypoints.console.notes import drop_note, note_of
from postman.entrypoints.console.parts import PARTS, Values, View

__all__ = ["NAVIGATION", "frame_values", "render", "show_view", "stream_view"]

NAVIGATION: Final = (
    ("overview", "/", "Overview"),
    ("dead", "/dead", "Dead letters"),
    ("doubts", "/doubts", "Doubts"),
    ("providers", "/providers", "Providers"),
    ("shards", "/shards", "Shards"),
    ("workers", "/workers", "Workers"),
    ("suppressions", "/suppressions", "Suppressions"),
    ("acts", "/acts", "Acts"),
    ("runbook", "/runbook", "Runbook"),
)


def render(
    request: web.Request, template: str, values: Values, *, current: str = "", stream: str = "", status: int = 200
) -> web.Response:
    """Return a page. *current* is the name of its entry in the navigation, *stream* where its changes are told.

    A note that a post left behind is shown, and then is gone.
    """
    answer = page_of(template, {**frame_values(request), **values, "current": current, "stream": stream}, status=status)
    drop_note(request, answer)
    return answer


def frame_values(request: web.Request) -> Mapping[str, object]:
    """Return what every template may use: `visitor`, `may_act`, `form_token` and the like."""
    parts = request.app[PARTS]
    visitor = request.get(VISITOR, Visitor(may_look=False))
    note, tone = note_of(request)
    return {
        "cluster": parts.stores.settings.prefix,
        "form_field": FORM_FIELD,
        "form_token": visitor.form_token,
        "has_login": parts.access.has_login,
        "may_act": visitor.may_act,
        "navigation": NAVIGATION,
        "note": note,
        "note_tone": tone,
        "now": parts.stores.clock.time(),
        "path": request.path,
        "visitor": visitor,
    }


async def show_view(request: web.Request, view: View) -> web.Response:
    """Answer with the page; 503 where its `values` tell that nothing can be known now, 404 for what is not there."""
    ask = _ask(request)
    values = await view.values(request.app[PARTS].stores, ask)
    stream = f"/stream/{view.name}?{urlencode(ask)}" if view.is_live else ""
    return render(request, view.template, values, current=view.name, stream=stream, status=_status(values))


async def stream_view(request: web.Request) -> web.StreamResponse:
    """Tell the changes of a page, until the viewer leaves."""
    parts = request.app[PARTS]
    view = parts.views.get(request.match_info["view"])
    if view is None or not view.is_live:
        raise web.HTTPNotFound(text="There is no such live page.")
    ask, may_act = dict(request.query), request[VISITOR].may_act

    async def look() -> Mapping[str, str]:
        values = await view.values(parts.stores, ask)
        return fragments(view.template, {**values, "may_act": may_act})

    key = (view.name, tuple(sorted(ask.items())), may_act)
    return await parts.streams.serve(request, key, look)


def _ask(request: web.Request) -> dict[str, str]:
    """Return what stands in the URL: its query, and what the path has."""
    return {**request.query, **request.match_info}


def _status(values: Values) -> int:
    status = values.get("status", 200)
    return status if isinstance(status, int) else 200
