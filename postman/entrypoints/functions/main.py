"""The functions that the framework serves: `deliver`, `events` and `ingress`.

It imports this file once, in the process that starts the server, and finds them
by name; a target whose settings are wrong does not start. A file of your own
makes them known with one line:
`from postman.entrypoints.functions import deliver, events, ingress`.
"""

import os
from functools import cache

from aiohttp import web
from functions_framework import aio
from starlette.requests import Request
from starlette.responses import Response

from postman.entrypoints.functions.bridge import not_allowed, respond
from postman.entrypoints.functions.delivering import Desk, opened_desk, take_push
from postman.entrypoints.functions.resident import Resident
from postman.entrypoints.functions.serving import EVENTS, INGRESS, serve_one
from postman.entrypoints.functions.settings import TARGETS, FunctionSettings
from postman.entrypoints.logs import set_up_logs
from postman.entrypoints.serve.parts import Parts
from postman.entrypoints.serve.running import opened_parts

__all__ = ["deliver", "events", "ingress"]


@aio.http
async def deliver(request: Request) -> Response:
    """Take what a push subscription pushes, by POST to any path."""

    async def work() -> Response:
        if request.method != "POST":
            return not_allowed("POST")
        async with _desk().using() as desk:
            return await take_push(request, desk)

    return await respond("deliver", work)


@aio.http
async def ingress(request: Request) -> Response:
    """Take mails, as `postman serve` does at `/v1/mails`; here at `/` as well."""
    return await _served("ingress", request)


@aio.http
async def events(request: Request) -> Response:
    """Take the providers' events, as `postman serve` does at `/v1/events/{provider}`."""
    return await _served("events", request)


async def _served(target: str, request: Request) -> Response:
    async def work() -> Response | web.Response:
        async with _office(target).using() as parts:
            return await serve_one(request, INGRESS if target == "ingress" else EVENTS, parts)

    return await respond(target, work)


@cache
def _settings(target: str) -> FunctionSettings:
    return FunctionSettings.from_env(os.environ, target)


@cache
def _desk() -> Resident[Desk]:
    settings = _settings("deliver")
    set_up_logs(settings.chosen.log_level)
    return Resident(lambda: opened_desk(settings), ending=lambda desk: desk.worker.stop(), grace=settings.chosen.grace)


@cache
def _office(target: str) -> Resident[Parts]:
    settings = _settings(target)
    set_up_logs(settings.chosen.log_level)
    return Resident(lambda: opened_parts(settings.chosen, settings.access), grace=settings.chosen.grace)


if (_target := os.environ.get("FUNCTION_TARGET")) in TARGETS:
    _settings(_target)
