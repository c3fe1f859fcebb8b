"""Between the functions framework and the handlers of `postman serve`, so that both answer alike.

A function gets Starlette's requests; the handlers take aiohttp's. They use
little of them, and that little is given here. Whatever goes wrong becomes the
same problem document as there.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from email.message import Message
from typing import cast

import structlog
from aiohttp import web
from multidict import CIMultiDict
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from postman.entrypoints.serve.answers import Refusal, problem_answer
from postman.entrypoints.serve.parts import PARTS, Parts
from postman.runtime.surprise import reason_of

__all__ = ["as_served", "not_allowed", "respond"]

_LOG = structlog.get_logger("postman.functions")


class _Body:
    """The pieces of a body as they come; `ConnectionError` where they break off."""

    def __init__(self, request: Request) -> None:
        self._pieces: AsyncIterator[bytes] = request.stream()

    async def readany(self) -> bytes:
        """Return the next piece, empty at the end."""
        try:
            return await anext(self._pieces, b"")
        except ClientDisconnect:
            raise ConnectionResetError from None


class _Served:
    """What the handlers use of a request, and what `read_body` and `Access` do."""

    def __init__(self, request: Request, parts: Parts | None, match: Mapping[str, str]) -> None:
        self.app = {PARTS: parts}
        self.match_info = match
        self.headers = CIMultiDict(request.headers.items())
        self.host = self.headers.get("Host", "")
        self.remote = request.client.host if request.client else None
        self.content = _Body(request)
        kind = Message()
        kind["Content-Type"] = self.headers.get("Content-Type", "application/octet-stream")
        self.content_type = kind.get_content_type()
        self.charset = kind.get_content_charset()

    @property
    def content_length(self) -> int | None:
        length = self.headers.get("Content-Length", "")
        return int(length) if length.isascii() and length.isdigit() else None


def as_served(request: Request, parts: Parts | None = None, match: Mapping[str, str] | None = None) -> web.Request:
    """Return *request* as the handlers of `serve` take it, with what their path named."""
    return cast("web.Request", _Served(request, parts, match or {}))


async def respond(name: str, work: Callable[[], Awaitable[web.Response | Response]]) -> Response:
    """Answer with what *work* returns, or with a problem; what nobody expected is logged without foreign words."""
    try:
        answer = await work()
    except Refusal as refusal:
        answer = problem_answer(refusal)
    except Exception as error:  # noqa: BLE001 — an outermost step: one request's fault is no other's
        _LOG.error("request_failed", route=name, **reason_of(error))
        answer = problem_answer(Refusal(500, "a fault of ours; it is in the log"))
    return answer if isinstance(answer, Response) else _as_starlette(answer)


def not_allowed(*methods: str) -> Response:
    """Return the answer to a method other than *methods*."""
    answer = problem_answer(Refusal(405, "Method Not Allowed"))
    answer.headers["Allow"] = ",".join(methods)
    return _as_starlette(answer)


def _as_starlette(answer: web.Response) -> Response:
    body = answer.body if isinstance(answer.body, bytes) else b""
    return Response(body, status_code=answer.status, headers=dict(answer.headers))
