"""The HTTP application: its routes, who may use them, and what becomes of errors.

A room of pages that act adds its own by a function that is handed to `make_app`:
it adds routes to the application, and its live pages to `Parts.views`. Every
POST but the login and the search needs somebody who may act, and a form token;
a page that only prepares an act calls `access.needs_act`.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final
from urllib.parse import urlencode

import structlog
from aiohttp import web

from postman.entrypoints.console.access import VISITOR, needs_act
from postman.entrypoints.console.frame import HEADERS, asset
from postman.entrypoints.console.login import LOGIN, login_routes
from postman.entrypoints.console.pages import render, show_view, stream_view
from postman.entrypoints.console.parts import PARTS, Parts
from postman.entrypoints.console.searching import search
from postman.entrypoints.console.views.mails import MAIL
from postman.entrypoints.console.views.overview import OVERVIEW
from postman.entrypoints.console.views.providers import PROVIDERS
from postman.entrypoints.console.views.shards import SHARDS
from postman.entrypoints.console.views.shelves import DEAD, DOUBTS, FOUND
from postman.entrypoints.console.views.suppressions import SUPPRESSIONS
from postman.entrypoints.console.views.workers import WORKERS
from postman.runtime.surprise import reason_of

__all__ = ["Room", "make_app"]

_LOG = structlog.get_logger("postman.console")

Room = Callable[[web.Application], None]
"""Adds the pages of one room."""

_LONGEST: Final = 256 * 1024
_FREE: Final = ("/live", "/static/")
"""Paths that tell nothing of the cluster."""
_SEARCH: Final = "/search"
_OPEN_POSTS: Final = frozenset({LOGIN, _SEARCH})
_READING: Final = frozenset({"GET", "HEAD"})
_PATHS: Final = (
    ("/", OVERVIEW),
    ("/mails/", MAIL),
    (r"/mails/{id:[\s\S]+}", MAIL),
    ("/dead", DEAD),
    ("/doubts", DOUBTS),
    ("/providers", PROVIDERS),
    ("/shards", SHARDS),
    ("/workers", WORKERS),
    ("/suppressions", SUPPRESSIONS),
    (_SEARCH, FOUND),
)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(parts: Parts, rooms: Sequence[Room] = ()) -> web.Application:
    """Return the application; *parts* stay the caller's to close."""
    app = web.Application(middlewares=[_problems, _let_in], client_max_size=_LONGEST)
    app[PARTS] = parts
    for path, view in _PATHS:
        parts.views[view.name] = view
        app.router.add_get(path, partial(show_view, view=view))
    app.add_routes(
        [
            web.get("/live", _live),
            web.get("/static/{name}", _static),
            web.get("/stream/{view}", stream_view),
            web.get("/runbook", _runbook),
            web.post(_SEARCH, search),
            *login_routes(),
        ]
    )
    for room in rooms:
        room(app)
    app.on_response_prepare.append(_add_headers)
    app.on_shutdown.append(_end_streams)
    return app


async def _live(_request: web.Request) -> web.Response:
    return web.Response(text="alive\n")


async def _static(request: web.Request) -> web.Response:
    return asset(request.match_info["name"])


async def _runbook(request: web.Request) -> web.Response:
    return render(request, "runbook.html", {"text": request.app[PARTS].runbook.html}, current="runbook")


async def _add_headers(_request: web.Request, answer: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        if name != "Cache-Control" or name not in answer.headers:
            answer.headers[name] = value


async def _end_streams(app: web.Application) -> None:
    await app[PARTS].streams.aclose()


@web.middleware
async def _let_in(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Find out who asks, before anything is done for them."""
    if request.path.startswith(_FREE):
        return await handler(request)
    access = request.app[PARTS].access
    visitor = request[VISITOR] = await access.visitor(request)
    if request.method not in _READING:
        access.check_origin(request)
        if request.path not in _OPEN_POSTS:
            needs_act(request)
            await access.check_form(request, visitor)
    if not visitor.may_look and request.path != LOGIN:
        raise web.HTTPSeeOther(f"{LOGIN}?{urlencode({'next': request.path_qs})}")
    answer = await handler(request)
    if not answer.prepared:
        access.keep(request, answer, visitor)
    return answer


@web.middleware
async def _problems(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Answer every error as a page; what nobody expected is logged without the words of foreign code."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _problem(request, error.status, error.text or error.reason, error.headers.get("Retry-After", ""))
    except Exception as error:  # noqa: BLE001 — an outermost step: one page's fault is no other's
        route = request.match_info.route.resource
        _LOG.error("console_page_failed", route=route.canonical if route else "", **reason_of(error))
        return _problem(request, 500, "A fault of ours, which is in the log.")


def _problem(request: web.Request, status: int, text: str, retry_after: str = "") -> web.Response:
    """Return a page that says what is wrong, with the way to log in where that helps."""
    if status == 404 and text.startswith("404"):
        text = "There is no such page."
    is_login = status == 403 and VISITOR in request and not request[VISITOR].may_act
    values = {"status": status, "text": text, "offers_login": is_login and request.app[PARTS].access.has_login}
    answer = render(request, "problem.html", values, status=status)
    if retry_after:
        answer.headers["Retry-After"] = retry_after
    return answer
