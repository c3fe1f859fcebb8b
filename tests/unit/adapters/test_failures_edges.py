"""Where a request that failed had got to: certainly not sent, or perhaps."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import aiohttp
import httpx
import pytest

from postman.adapters._http import HttpClient, Reply
from postman.errors import OutcomeUnknownError, ProviderDownError, ProviderError, ProviderUnreachableError


class Failing(httpx.AsyncBaseTransport):
    """Fails each request with *error*, which it raises from *cause*."""

    def __init__(self, error: Exception, cause: Exception | None = None) -> None:
        self.error = error
        self.cause = cause

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise self.error from self.cause


class Hanging(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError


class Endless(httpx.AsyncByteStream):
    def __init__(self, size: int) -> None:
        self.size = size
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.size):
            yield b"x" * 1024

    async def aclose(self) -> None:
        self.is_closed = True


def failure(transport: httpx.AsyncBaseTransport, *, timeout: float = 5.0) -> ProviderError:
    async def main() -> Reply:
        client = HttpClient("p", "http://127.0.0.1:1", headers={}, transport=transport)
        return await client.exchange(client.request("POST", "/"), timeout=timeout)

    with pytest.raises(ProviderError) as caught:
        asyncio.run(main())
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("x"),
        httpx.ConnectTimeout("x"),
        httpx.PoolTimeout("x"),
        httpx.UnsupportedProtocol("x"),
        aiohttp.ConnectionTimeoutError("x"),
        aiohttp.InvalidURL("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_without_a_connection_nothing_was_sent(error: Exception) -> None:
    """And nobody there answered."""
    found = failure(Failing(error))
    assert type(found) is ProviderUnreachableError
    assert found.provider == "p"
    assert found.problem == f"could not be reached ({type(error).__name__})"


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadTimeout("x"),
        httpx.WriteError("x"),
        httpx.ReadError("x"),
        httpx.RemoteProtocolError("x"),
        httpx.InvalidURL("x"),
        httpx.StreamError("x"),
        httpx.DecodingError("x"),
        aiohttp.ServerDisconnectedError(),
        aiohttp.http.HttpProcessingError(message="x"),
        ssl.SSLError("x"),
        ConnectionResetError("x"),
        BrokenPipeError("x"),
        TimeoutError("x"),
        RuntimeError("x"),
        ValueError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_with_a_connection_it_may_have_been(error: Exception) -> None:
    """Whatever the exception is called, and whoever raised it."""
    found = failure(Failing(error))
    assert type(found) is OutcomeUnknownError
    assert found.provider == "p"
    assert found.problem == f"gave no whole answer ({type(error).__name__})"


@pytest.mark.parametrize("refusal", [ConnectionRefusedError("x"), ConnectionResetError("x")])
def test_who_says_no_was_reached(refusal: OSError) -> None:
    """Then the way there is in order, and the fault is not here."""
    assert (
        type(failure(Failing(httpx.ConnectError("x"), _chained(httpx.ConnectError("y"), refusal)))) is ProviderDownError
    )
    os_error = aiohttp.ClientConnectorError(_key(), refusal)
    assert type(failure(Failing(httpx.ConnectError("x"), os_error))) is ProviderDownError


@pytest.mark.parametrize("other", [OSError("x"), TimeoutError("x"), aiohttp.InvalidURL("x")])
def test_who_says_nothing_was_not(other: Exception) -> None:
    found = failure(Failing(httpx.ConnectError("x"), _chained(httpx.ConnectTimeout("y"), other)))
    assert type(found) is ProviderUnreachableError


def test_the_first_cause_decides() -> None:
    """The transport's own name for it may hide that the connection stood."""
    assert type(failure(Failing(httpx.ConnectTimeout("x"), ConnectionResetError("y")))) is OutcomeUnknownError
    assert type(failure(Failing(httpx.ReadError("x"), httpx.ConnectError("y")))) is ProviderUnreachableError


def test_a_request_has_its_time_and_no_more() -> None:
    """Beyond it, nobody knows."""
    assert type(failure(Hanging(), timeout=0.05)) is OutcomeUnknownError


@pytest.mark.parametrize(("size", "is_read"), [(1024, True), (1025, False)])
def test_an_answer_may_be_a_megabyte_long(size: int, is_read: bool) -> None:
    """Of a longer one nobody knows what it says; its connection is closed either way."""
    body = Endless(size)
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=body))
    if is_read:
        client = HttpClient("p", "http://127.0.0.1:1", headers={}, transport=transport)
        reply = asyncio.run(client.exchange(client.request("GET", "/"), timeout=5.0))
        assert len(reply.body) == size * 1024
    else:
        found = failure(transport)
        assert type(found) is OutcomeUnknownError
        assert (found.provider, found.problem) == ("p", "answered with far too much")
    assert body.is_closed


def test_a_closed_client_sends_nothing() -> None:
    async def main() -> Reply:
        client = HttpClient("p", "http://127.0.0.1:1", headers={}, transport=Failing(httpx.ReadError("x")))
        await client.aclose()
        return await client.exchange(client.request("POST", "/"), timeout=1.0)

    with pytest.raises(ProviderDownError) as caught:
        asyncio.run(main())
    assert caught.value.provider == "p"


def test_what_was_raised_shows_nothing_of_the_request() -> None:
    """Libraries' exceptions carry its headers, and so the key."""
    found = failure(Failing(httpx.ReadError("SECRET"), ValueError("SECRET")))
    assert found.__cause__ is None
    assert found.__context__ is None
    assert "SECRET" not in str(found)


def _chained(error: Exception, context: Exception) -> Exception:
    error.__cause__ = context
    return error


def _key() -> aiohttp.client_reqrep.ConnectionKey:
    return aiohttp.client_reqrep.ConnectionKey("127.0.0.1", 1, False, True, None, None, None)
