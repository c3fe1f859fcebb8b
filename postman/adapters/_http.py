"""What the HTTP providers share: one request, made once, and what its failure means.

The line between "certainly not sent" and "may have been sent" is drawn by where
the request had got to, not by the name of an exception: the transport reports a
connection that was reset after the whole mail had left as a `ConnectTimeout`.
aiohttp tells when a request is given its connection; whatever fails before that
left nothing behind, whatever fails later may have been read by the provider.

Connections are kept for a few seconds only. A provider that closes an idle one
at the moment of a request leaves a doubt about it, and the longer a connection
was idle the likelier that is.
"""

import asyncio
import ssl
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import SimpleNamespace
from typing import TypeVar, cast

import aiohttp
import httpx
import orjson
from aiohttp.http import HttpProcessingError
from httpx_aiohttp import AiohttpTransport

from postman.errors import OutcomeUnknownError, ProviderDownError, ProviderError, ProviderUnreachableError

__all__ = ["MAX_MESSAGE_ID", "MAX_REPLY_BYTES", "Form", "HttpClient", "Reply", "shorter"]

Form = Sequence[tuple[str, tuple[str | None, bytes, str | None]]]
"""Fields of a multipart form, in order: the name, then filename (None where it is no file), content and its type."""

MAX_REPLY_BYTES = 1 << 20
"""Of a reply's body, inflated. Providers answer with some hundred bytes."""

MAX_MESSAGE_ID = 998
"""Characters of a provider's id that are kept; it goes into ledgers and logs."""

_CONNECT_TIMEOUT = 5.0
_KEEPALIVE = 4.0
_MAX_CONNECTIONS = 1_000
_PIECE_BYTES = 1 << 18
_ANY_ZLIB = 47
"""Window bits: the largest, with a head of gzip or of zlib."""

_Bytes = TypeVar("_Bytes", bytes, bytearray)

_FAILURES = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    aiohttp.ClientError,
    HttpProcessingError,
    OSError,
    RuntimeError,
    ValueError,
)
_NEVER_CONNECTED = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)


class _Stage(StrEnum):
    """Where a request is."""

    UNSEEN = "unseen"
    """The transport does not tell: the exception's class must do."""
    CONNECTING = "connecting"
    CONNECTED = "connected"
    """It has its connection; the provider may have read it."""


@dataclass(slots=True)
class _Journey:
    stage: _Stage


_JOURNEY: ContextVar[_Journey] = ContextVar("postman_http_journey")


class _ReplyTooLongError(Exception):
    """A reply exceeds `MAX_REPLY_BYTES`."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    """Found without regard to case."""
    body: bytes

    def document(self) -> dict[str, object] | None:
        """Return the body as a JSON object; None if it is none."""
        try:
            parsed = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None
        return parsed if isinstance(parsed, dict) else None

    @property
    def is_html(self) -> bool:
        """Whether it looks like a page of some gateway in front of the provider."""
        return "html" in self.headers.get("content-type", "").lower() or self.body.lstrip()[:1] == b"<"


class HttpClient:
    """The connections to one provider, made when first used, in the loop that uses them.

    It uses httpx's transport without httpx's client, whose cookies, redirects and look at the environment's proxies
    and passwords are not wanted here, and cost a third of a request's CPU.
    """

    def __init__(
        self,
        provider: str,
        base_url: str,
        *,
        headers: Mapping[str, str],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._provider = provider
        self._base_url = base_url
        self._headers = {
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": "postman",
            **headers,
        }
        self._first_stage = _Stage.CONNECTING if transport is None else _Stage.UNSEEN
        self._transport = transport or AiohttpTransport(verify=_tls(), client=_session)
        self._is_closed = False

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        form: Form | None = None,
    ) -> httpx.Request:
        """Build a request, whose body is *content* or the multipart *form*."""
        url = _url(self._base_url + path)
        if params:
            url = url.copy_merge_params(params)
        return httpx.Request(method, url, headers={**self._headers, **(headers or {})}, content=content, files=form)

    async def exchange(self, request: httpx.Request, *, timeout: float) -> Reply:
        """Make *request* and return the whole answer, within *timeout* seconds in all.

        Raises `ProviderDownError` if the provider certainly has not read the request, `ProviderUnreachableError` if
        nobody there answered at all, else `OutcomeUnknownError`.
        Neither shows or chains anything of the request: libraries' exceptions carry its headers, and so the key.
        """
        if self._is_closed:
            raise ProviderDownError("its connections were closed here", provider=self._provider)
        journey = _Journey(self._first_stage)
        token = _JOURNEY.set(journey)
        try:
            async with asyncio.timeout(timeout):
                return await self._attempt(request, timeout)
        except _ReplyTooLongError:
            failure: ProviderError = OutcomeUnknownError("answered with far too much", provider=self._provider)
        except _FAILURES as error:
            failure = self._failure(error, journey)
        finally:
            _JOURNEY.reset(token)
        raise failure

    async def aclose(self) -> None:
        """Close the connections; whoever waits for an answer does not get it. Twice is fine."""
        self._is_closed = True
        await self._transport.aclose()

    async def _attempt(self, request: httpx.Request, timeout: float) -> Reply:
        response = await self._transport.handle_async_request(await _ready(request, _phases(timeout)))
        try:
            return Reply(response.status_code, response.headers, await _body(response))
        finally:
            await response.aclose()

    def _failure(self, error: Exception, journey: _Journey) -> ProviderError:
        origin = error if isinstance(error, TimeoutError) else error.__cause__ or error
        name = type(origin).__name__
        if journey.stage is _Stage.CONNECTING or (
            journey.stage is _Stage.UNSEEN and isinstance(origin, _NEVER_CONNECTED)
        ):
            unmade = ProviderDownError if _was_answered(origin) else ProviderUnreachableError
            return unmade(f"could not be reached ({name})", provider=self._provider)
        return OutcomeUnknownError(f"gave no whole answer ({name})", provider=self._provider)


def _was_answered(error: BaseException) -> bool:
    """Whether somebody at the provider's address said no, so that the way there is in order."""
    seen = [error, getattr(error, "os_error", None), error.__cause__, error.__context__]
    return any(isinstance(each, ConnectionRefusedError | ConnectionResetError) for each in seen)


def shorter(own: float, given: float | None) -> float:
    """Return the seconds that a call may take: a provider's *own*, or those *given* for this call, if less."""
    return own if given is None else min(own, given)


@cache
def _url(text: str) -> httpx.URL:
    return httpx.URL(text)


def _phases(timeout: float) -> dict[str, float]:
    connect = min(timeout, _CONNECT_TIMEOUT)
    return {"connect": connect, "pool": connect, "read": timeout, "write": timeout}


class _Pieces(httpx.AsyncByteStream):
    """A body cut so that no single write holds up the event loop."""

    def __init__(self, whole: AsyncIterable[bytes]) -> None:
        self._whole = whole

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._whole:
            for start in range(0, len(part), _PIECE_BYTES):
                yield part[start : start + _PIECE_BYTES]


async def _ready(request: httpx.Request, timeouts: Mapping[str, float]) -> httpx.Request:
    """Return *request* with its body as one write if it is small, else in pieces, never chunked."""
    request.extensions = {**request.extensions, "timeout": timeouts}
    if int(request.headers.get("content-length", 0)) <= _PIECE_BYTES:
        await request.aread()
        return request
    pieces = _Pieces(cast("httpx.AsyncByteStream", request.stream))
    return httpx.Request(
        request.method, request.url, headers=request.headers, stream=pieces, extensions=request.extensions
    )


async def _body(response: httpx.Response) -> bytes:
    """Read the body as it came, then inflate it: httpx inflates whatever comes, and in it what is folded up again."""
    if response.is_stream_consumed:
        return _short(response.content)
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += _short(chunk)
        _short(body)
    return _inflated(bytes(body), response.headers.get("content-encoding", "identity").strip().lower())


def _short(body: _Bytes) -> _Bytes:
    if len(body) > MAX_REPLY_BYTES:
        raise _ReplyTooLongError
    return body


def _inflated(body: bytes, coding: str) -> bytes:
    """Undo the one *coding* that peers use without being asked; of any other the body stays as it is."""
    if coding not in ("gzip", "x-gzip", "deflate"):
        return body
    try:
        return _short(zlib.decompressobj(_ANY_ZLIB).decompress(body, MAX_REPLY_BYTES + 1))
    except zlib.error as error:
        raise httpx.DecodingError("the body is not what it is said to be") from error


@cache
def _tls() -> ssl.SSLContext:
    """Return what checks certificates; reading the authorities takes some hundredths of a second."""
    return httpx.create_ssl_context()


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_MAX_CONNECTIONS, keepalive_timeout=_KEEPALIVE, ssl=_tls()),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        trace_configs=[_trace()],
    )


def _trace() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(_note_connected)
    trace.on_connection_reuseconn.append(_note_connected)
    return trace


async def _note_connected(_session: aiohttp.ClientSession, _context: SimpleNamespace, _parameters: object) -> None:
    """Called by aiohttp in the task that makes the request, whose journey it therefore sees."""
    _JOURNEY.get().stage = _Stage.CONNECTED
