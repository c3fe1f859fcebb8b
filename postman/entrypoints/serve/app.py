"""The HTTP application: its routes, and what becomes of errors."""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web

from postman.entrypoints.serve.answers import Refusal, json_answer, problem_answer
from postman.entrypoints.serve.events import take_events
from postman.entrypoints.serve.mails import publish_mails, show_mail
from postman.entrypoints.serve.parts import PARTS, Parts
from postman.runtime.surprise import reason_of

__all__ = ["Parts", "make_app"]

_LOG = structlog.get_logger("postman.serve")

_UNREADABLE: Final = (400, 408, 413)
"""After these nobody waits for the rest of a body."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(parts: Parts) -> web.Application:
    """Return the application; *parts* stay the caller's to close."""
    app = web.Application(middlewares=[_problems])
    app[PARTS] = parts
    app.add_routes(
        [
            web.get("/healthz", _health),
            web.post("/v1/events/{provider}", take_events),
            web.post("/v1/mails", publish_mails),
            web.get("/v1/mails/{mail_id:.+}", show_mail),
        ]
    )
    return app


async def _health(_request: web.Request) -> web.Response:
    return json_answer({"status": "ok"})


@web.middleware
async def _problems(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Answer every error as a problem; what nobody expected is logged without the words of foreign code."""
    try:
        return await handler(request)
    except Refusal as refusal:
        answer = problem_answer(refusal)
    except web.HTTPException as error:
        answer = problem_answer(Refusal(error.status, error.reason))
        answer.headers.update({name: value for name, value in error.headers.items() if name == "Allow"})
    except Exception as error:  # noqa: BLE001 — an outermost step: one request's fault is no other's
        route = request.match_info.route.resource
        _LOG.error("request_failed", route=route.canonical if route else "", **reason_of(error))
        answer = problem_answer(Refusal(500, "a fault of ours; it is in the log"))
    if answer.status in _UNREADABLE:
        answer.force_close()
    return answer
