"""`ingress` and `events`: the same requests as of `postman serve`, answered by the same handlers."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from starlette.requests import Request
from starlette.responses import Response

from postman.entrypoints.functions.bridge import as_served, not_allowed
from postman.entrypoints.serve.answers import Refusal, json_answer
from postman.entrypoints.serve.events import take_events
from postman.entrypoints.serve.mails import publish_mails, show_mail
from postman.entrypoints.serve.parts import Parts

__all__ = ["EVENTS", "INGRESS", "Route", "serve_one"]


@dataclass(frozen=True, slots=True)
class Route:
    """Which handler a request goes to: by its method and the whole of its path."""

    method: str
    path: "re.Pattern[str]"
    handler: Callable[[web.Request], Awaitable[web.Response]]


async def _health(_request: web.Request) -> web.Response:
    return json_answer({"status": "ok"})


_HEALTH: Final = Route("GET", re.compile("/healthz"), _health)
INGRESS: Final = (
    _HEALTH,
    Route("POST", re.compile("/|/v1/mails"), publish_mails),
    Route("GET", re.compile("/v1/mails/(?P<mail_id>.+)", re.DOTALL), show_mail),
)
EVENTS: Final = (_HEALTH, Route("POST", re.compile("/v1/events/(?P<provider>[^/]+)"), take_events))


async def serve_one(request: Request, routes: Sequence[Route], parts: Parts) -> Response | web.Response:
    """Answer *request* by the handler of its route; raises `Refusal`."""
    found = [(route, match) for route in routes if (match := route.path.fullmatch(request.url.path))]
    if not found:
        raise Refusal(404, "Not Found")
    for route, match in found:
        if route.method == request.method:
            return await route.handler(as_served(request, parts, match.groupdict()))
    return not_allowed(*(route.method for route, _ in found))
