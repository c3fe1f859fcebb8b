"""The proxy forwards what it is not told to spoil, and spoils what it is told to."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from postman.testing.grpc_proxy import ANY, GrpcProxy, StatusCode
from postman.testing.waiting import wait_until


class Echo:
    """A service of three methods that keeps what it heard."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.metadata: dict[str, str] = {}

    def service(self, details: Any) -> Any:
        return {
            "/test/One": grpc.unary_unary_rpc_method_handler(self.one),
            "/test/Three": grpc.unary_stream_rpc_method_handler(self.three),
            "/test/Talk": grpc.stream_stream_rpc_method_handler(self.talk),
        }.get(details.method)

    async def one(self, request: bytes, context: Any) -> bytes:
        self.heard.append(request)
        self.metadata = dict(context.invocation_metadata())
        if request == b"wrong":
            await context.abort(StatusCode.INVALID_ARGUMENT, "wrong", (("hint", "none"),))
        return request

    async def three(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        self.heard.append(request)
        for _ in range(3):
            yield request

    async def talk(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            self.heard.append(request)
            yield request


@pytest.fixture
async def echo() -> Echo:
    return Echo()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[GrpcProxy]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((echo,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with GrpcProxy(f"127.0.0.1:{port}") as running:
        yield running
    await server.stop(grace=None)


@pytest.fixture
async def channel(proxy: GrpcProxy) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(proxy.address) as opened:
        yield opened


async def test_all_kinds_of_calls_pass(channel: Any, proxy: GrpcProxy) -> None:
    """Unary calls, streams of answers, and streams both ways."""
    assert await channel.unary_unary("/test/One")(b"a") == b"a"
    assert [answer async for answer in channel.unary_stream("/test/Three")(b"b")] == [b"b"] * 3
    talk = channel.stream_stream("/test/Talk")()
    for word in (b"c", b"d"):
        await talk.write(word)
        assert await talk.read() == word
    await talk.done_writing()
    assert await talk.read() is grpc.aio.EOF
    assert proxy.calls == {"One": 1, "Three": 1, "Talk": 1}
    assert not proxy.troubled


async def test_metadata_and_errors_pass(channel: Any, echo: Echo) -> None:
    """The server sees the caller's metadata, the caller the server's refusal."""
    call = channel.unary_unary("/test/One")
    assert await call(b"a", metadata=(("authorization", "Bearer owner"),)) == b"a"
    assert echo.metadata["authorization"] == "Bearer owner"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"wrong")
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT
    assert dict(caught.value.trailing_metadata())["hint"] == "none"


async def test_failure_before_is_not_heard_by_the_server(channel: Any, proxy: GrpcProxy, echo: Echo) -> None:
    """It is as if the request was lost; the rule is used up then."""
    proxy.fail("One", code=StatusCode.ABORTED, times=1)
    assert await _code(channel.unary_unary("/test/One")(b"a")) is StatusCode.ABORTED
    assert echo.heard == []
    assert not proxy.lost
    assert await channel.unary_unary("/test/One")(b"a") == b"a"
    assert (proxy.calls["One"], proxy.troubled["One"]) == (2, 1)


async def test_failure_after_was_done_by_the_server(channel: Any, proxy: GrpcProxy, echo: Echo) -> None:
    """It is as if the answer was lost; of a stream it is the first one."""
    proxy.fail(ANY, after=True, times=2)
    assert await _code(channel.unary_unary("/test/One")(b"a")) is StatusCode.UNAVAILABLE
    assert await _code(channel.unary_stream("/test/Three")(b"b").read()) is StatusCode.UNAVAILABLE
    assert echo.heard == [b"a", b"b"]
    assert proxy.lost == {"One": 1, "Three": 1}


async def test_hanging_call_ends_when_healed(channel: Any, proxy: GrpcProxy, echo: Echo) -> None:
    """Until then it is silent, and other methods go on."""
    proxy.hang("One", after=True)
    hanging = asyncio.create_task(_code(channel.unary_unary("/test/One")(b"a")))
    await wait_until(lambda: echo.heard, within=5.0)
    assert len([answer async for answer in channel.unary_stream("/test/Three")(b"b")]) == 3
    assert not hanging.done()
    proxy.heal()
    assert await hanging is StatusCode.UNAVAILABLE
    assert await channel.unary_unary("/test/One")(b"a") == b"a"


async def test_deadline_of_the_caller_holds(channel: Any, proxy: GrpcProxy) -> None:
    """A delay is not waited out by a caller that has less patience."""
    proxy.delay("One", 30.0)
    assert await _code(channel.unary_unary("/test/One")(b"a", timeout=0.2)) is StatusCode.DEADLINE_EXCEEDED


async def test_unreachable_target_is_unavailable() -> None:
    """The caller learns it as it would without a proxy."""
    async with GrpcProxy("127.0.0.1:1") as proxy, grpc.aio.insecure_channel(proxy.address) as channel:
        assert await _code(channel.unary_unary("/test/One")(b"a", timeout=5)) is StatusCode.UNAVAILABLE


async def _code(call: Any) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()
