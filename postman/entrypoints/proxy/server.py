"""The observing proxy as a server: reads what workers send, and answers with what became of it.

It leads to the providers of the document and to nothing else. A request's target
is compared, as it came, with the few that the providers' adapters name; nothing
is decoded, joined or normalised, so that there is nothing to be misread. A body
is read whole before anything is passed on: of a worker that died in the middle
nothing reaches a provider. A worker may know of a provider a little before the
proxy does, so for one that is unknown the document is looked at once more.
"""

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote

import orjson
import structlog
from aiohttp import ClientError, web

from postman.core.ids import MailId, is_mail_id
from postman.entrypoints.proxy.room import Room
from postman.errors import ConfigError
from postman.ports.observing import MAIL_ID, OUTCOME, OWN_HEADERS, PATIENCE, ObservedProvider, Outcome, Passage, Traffic
from postman.runtime.observer import Observer, Passed
from postman.runtime.surprise import reason_of

__all__ = ["LARGEST_BODY", "ProxyServer"]

_LOG = structlog.get_logger("postman.proxy")

LARGEST_BODY: Final = 32 << 20
"""Bytes; the largest mail is 10 MB, which its attachments' encoding and a provider's form make a third larger."""

_HELD: Final = 8 * LARGEST_BODY
"""Bytes of bodies in memory."""
_LONGEST_PATIENCE: Final = 3_600.0
_BACKLOG: Final = 1_024
_CLOSING: Final = 0.5
_LOOK: Final = 0.05
_LOOKING: Final = 3.0
"""Seconds that the look at the document may take before a request is refused."""
_LENGTH: Final = re.compile(r"\d{1,12}")

_STATUSES: Final[Mapping[Outcome, int]] = {
    Outcome.DOWN: 502,
    Outcome.UNREACHABLE: 502,
    Outcome.UNKNOWN: 504,
    Outcome.OUTDATED: 409,
    Outcome.UNAVAILABLE: 503,
}

_NOT_FORWARDED: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class _RefusedError(Exception):
    """A request that is not let through; its text is the reason."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


class _UnknownError(_RefusedError):
    """What the proxy's document knows nothing of."""

    def __init__(self, problem: str) -> None:
        super().__init__(404, problem)


@dataclass(frozen=True, slots=True)
class _Head:
    """A request before its body was read."""

    provider: ObservedProvider
    traffic: Traffic
    path: str
    query: Mapping[str, str]
    length: int


class ProxyServer:
    """Serves *observer* on one port; *most* requests at a time, the others wait.

    *look_again* lets *observer* go by the providers' document as it is now.
    """

    def __init__(
        self, observer: Observer, *, most: int, look_again: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._observer = observer
        self._look_again = look_again
        self._room = Room(most, _HELD)
        self._handler = web.Server(self._serve, access_log=None, auto_decompress=False)
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; raises `ConfigError` if the port cannot be had."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(self._handler, host, port, backlog=_BACKLOG)
        except (OSError, OverflowError) as error:
            problem = getattr(error, "strerror", None) or type(error).__name__
            raise ConfigError(f"port {port} on {host} cannot be used: {problem}") from error
        self.port = self._server.sockets[0].getsockname()[1]

    def stop_listening(self) -> None:
        """Take no new connections; a mail that comes over an old one is answered that the proxy is stopping."""
        self._observer.close()
        if self._server is not None:
            self._server.close()
            self._server = None

    async def wait_until_left(self, seconds: float) -> None:
        """Return when nobody is connected any more, or after *seconds*.

        Workers leave a connection that is idle for some seconds, or that answers that the proxy is stopping. One that
        was closed from here could be closed upon a request, of which its worker would know nothing then.
        """
        limit = asyncio.get_running_loop().time() + seconds
        while self._handler.connections and asyncio.get_running_loop().time() < limit:  # noqa: ASYNC110 — aiohttp's
            await asyncio.sleep(_LOOK)

    async def aclose(self) -> None:
        """Close the connections, after the answers that are being written."""
        self.stop_listening()
        await self._handler.shutdown(_CLOSING)

    async def _serve(self, received: web.BaseRequest) -> web.StreamResponse:
        try:
            response = self._health() if received.raw_path == "/health" else await self._pass_on(received)
        except _RefusedError as refusal:
            _LOG.warning("refused", status=refusal.status, reason=str(refusal))
            response = _own(Outcome.REFUSED, refusal.status, str(refusal))
            response.force_close()
        except Exception as error:  # noqa: BLE001 — the outermost step: whether the mail was sent is not known
            _LOG.error("unexpected", **reason_of(error))
            response = _own(Outcome.UNKNOWN, 500, "an error of the proxy")
        if self._observer.is_closed:
            response.force_close()
        return response

    def _health(self) -> web.Response:
        state = "stopping" if self._observer.is_closed else "ready"
        document = {"state": state, "in_flight": self._observer.in_flight, "unrecorded": self._observer.unrecorded}
        return web.Response(
            status=503 if self._observer.is_closed else 200,
            body=orjson.dumps(document),
            content_type="application/json",
        )

    async def _pass_on(self, received: web.BaseRequest) -> web.Response:
        begun = asyncio.get_running_loop().time()
        head = await self._known_head(received)
        patience = _patience(received, head.provider.timeout)
        mail_id = _mail_id(received) if head.traffic is Traffic.SEND else None
        try:
            async with asyncio.timeout_at(begun + patience) as waiting, self._room.taken(head.length):
                passage = Passage(
                    received.method, head.path, head.query, _headers(received), await _body(received, head)
                )
                left = begun + patience - asyncio.get_running_loop().time()
                waiting.reschedule(None)
                return _response(await self._pass(head, passage, mail_id, left))
        except TimeoutError:
            return _own(Outcome.UNAVAILABLE, 503, "no room, or no whole request, in time")

    async def _pass(self, head: _Head, passage: Passage, mail_id: MailId | None, patience: float) -> Passed:
        if mail_id is None:
            return await self._observer.ask(head.provider, passage)
        return await self._observer.send(head.provider, passage, mail_id, patience=patience)

    async def _known_head(self, received: web.BaseRequest) -> _Head:
        try:
            return self._head(received)
        except _UnknownError:
            if self._look_again is None:
                raise
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOKING):
                await self._look_again()
        return self._head(received)

    def _head(self, received: web.BaseRequest) -> _Head:
        target, _, query = received.raw_path.partition("?")
        parts = target.split("/", 2)
        if len(parts) != 3 or parts[0]:
            raise _RefusedError(404, "the path must begin with a provider's name")
        provider = self._observer.find(parts[1])
        if provider is None:
            raise _UnknownError("the proxy's document has no provider of this name")
        path = f"/{parts[2]}"
        traffic = provider.traffic(received.method, path)
        if traffic is None:
            raise _UnknownError("no such request is passed on")
        if traffic is Traffic.SEND and query:
            raise _RefusedError(404, "no such request is passed on")
        return _Head(provider, traffic, path, _query(query), _length(received, traffic))


def _query(text: str) -> Mapping[str, str]:
    try:
        return dict(parse_qsl(text, keep_blank_values=True, strict_parsing=True)) if text else {}
    except ValueError:
        raise _RefusedError(400, "the query cannot be read") from None


def _length(received: web.BaseRequest, traffic: Traffic) -> int:
    """Return how long the body is by its header. A mail's must say so: a body that was cut off is then seen."""
    text = received.headers.get("Content-Length", "" if traffic is Traffic.SEND else "0")
    if not _LENGTH.fullmatch(text):
        raise _RefusedError(411, "a Content-Length is needed")
    if int(text) > LARGEST_BODY:
        raise _RefusedError(413, f"a request may have {LARGEST_BODY} bytes at the most")
    return int(text)


def _mail_id(received: web.BaseRequest) -> MailId:
    try:
        text = unquote(received.headers.get(MAIL_ID, ""), errors="strict")
    except UnicodeDecodeError:
        text = ""
    if not is_mail_id(text):
        raise _RefusedError(400, f"a request that sends a mail needs its id in the header {MAIL_ID}")
    return MailId(text)


def _patience(received: web.BaseRequest, default: float) -> float:
    text = received.headers.get(PATIENCE, "")
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _LONGEST_PATIENCE:
        raise _RefusedError(400, f"the header {PATIENCE} must be a number of seconds, at most an hour")
    return seconds


def _headers(received: web.BaseRequest) -> Mapping[str, str]:
    """Return what goes on to the provider: nothing of this connection, nothing between worker and proxy."""
    named = {name.strip().lower() for name in received.headers.get("Connection", "").split(",")}
    return {
        name.lower(): value
        for name, value in received.headers.items()
        if name.lower() not in _NOT_FORWARDED | named and not name.lower().startswith((OWN_HEADERS, "x-forwarded-"))
    }


async def _body(received: web.BaseRequest, head: _Head) -> bytes:
    """Return the whole body, never a part of it."""
    body = bytearray()
    try:
        while len(body) <= head.length and (piece := await received.content.readany()):
            body += piece
    except (web.RequestPayloadError, ClientError, OSError):
        body.clear()
    if len(body) != head.length:
        raise _RefusedError(400, "the request ended before its body was whole")
    return bytes(body)


def _response(passed: Passed) -> web.Response:
    if passed.answer is None:
        return _own(passed.outcome, _STATUSES[passed.outcome], passed.problem)
    answer = passed.answer
    response = web.Response(status=answer.status, body=answer.body or None, headers=dict(answer.headers))
    response.headers[OUTCOME] = passed.outcome
    return response


def _own(outcome: Outcome, status: int, problem: str) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps({"error": problem}),
        content_type="application/json",
        headers={OUTCOME: outcome},
    )
