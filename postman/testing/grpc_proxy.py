"""A gRPC proxy that makes trouble on order, between a client and an emulator.

```python
async with GrpcProxy("127.0.0.1:8086") as proxy:
    connect(proxy.address)
    proxy.fail("Commit", code=StatusCode.UNAVAILABLE, after=True, times=1)  # done, and the answer lost
```

It forwards bytes and knows no service, so that it serves Firestore and Pub/Sub
alike, unary calls and streams. A method is named by its last part; ANY is every
method. Rules are used up in the order in which they were given, the first that
fits a call deciding it. It needs the package grpcio.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import grpc
from grpc import StatusCode

__all__ = ["ANY", "GrpcProxy", "StatusCode"]

ANY: Final = "*"

_UNLIMITED: Final = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
_OWN_CHANNEL: Final = (*_UNLIMITED, ("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 500))
_OWN_SERVER: Final = (*_UNLIMITED, ("grpc.so_reuseport", 0))


@dataclass(slots=True)
class _Rule:
    method: str
    code: StatusCode | None = None
    after: bool = False
    delay: float = 0.0
    hangs: bool = False
    left: int | None = None
    """How many calls it still decides; None for all."""

    def take(self, method: str) -> bool:
        if self.left == 0 or self.method not in (ANY, method):
            return False
        if self.left is not None:
            self.left -= 1
        return True


class GrpcProxy:
    """See the module. *target* is `host:port`, without TLS; one event loop, where it is entered."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._rules: list[_Rule] = []
        self._healed = asyncio.Event()
        self.calls: Counter[str] = Counter()
        """How many calls of each method came, forwarded or not."""
        self.troubled: Counter[str] = Counter()
        """How many of them a rule decided."""
        self.lost: Counter[str] = Counter()
        """How many of them were done by the server, whose answer a rule kept back."""
        self.address = ""
        """Where it listens, `host:port`."""

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(self._target, options=_OWN_CHANNEL)
        self._server = grpc.aio.server(options=_OWN_SERVER)
        self._server.add_generic_rpc_handlers((_Everything(self),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.heal()
        await self._server.stop(grace=None)
        await self._channel.close()

    def fail(
        self, method: str, *, code: StatusCode = StatusCode.UNAVAILABLE, after: bool = False, times: int | None = None
    ) -> None:
        """Answer with *code*: before the server hears of the call, or *after* it has answered, which loses the answer.

        Of a stream of answers *after* loses the first and ends it.
        """
        self._rules.append(_Rule(method, code=code, after=after, left=times))

    def delay(self, method: str, seconds: float, *, times: int | None = None) -> None:
        """Forward only after *seconds*."""
        self._rules.append(_Rule(method, delay=seconds, left=times))

    def hang(self, method: str, *, after: bool = False, times: int | None = None) -> None:
        """Never answer, until `heal`; the call is forwarded first where *after*. Healed, it ends as unavailable."""
        self._rules.append(_Rule(method, code=StatusCode.UNAVAILABLE, hangs=True, after=after, left=times))

    def heal(self) -> None:
        """Forget all rules, and end what hangs."""
        self._rules.clear()
        self._healed.set()
        self._healed = asyncio.Event()

    async def forward(self, path: str, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        """Answer one call; for the server's use."""
        method = path.rpartition("/")[2]
        self.calls[method] += 1
        rule = next((rule for rule in self._rules if rule.take(method)), None) or _Rule(method)
        if rule.code is not None or rule.delay:
            self.troubled[method] += 1
        healed = self._healed
        await asyncio.sleep(rule.delay)
        if not rule.after:
            await _trouble(rule, context, healed)
        try:
            async for answer in self._answers(path, requests, context):
                if rule.after:
                    self.lost[method] += 1
                    await _trouble(rule, context, healed)
                yield answer
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "", tuple(error.trailing_metadata() or ()))

    async def _answers(self, path: str, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        call = self._channel.stream_stream(path)(
            requests, timeout=context.time_remaining(), metadata=_forwardable(context.invocation_metadata())
        )
        try:
            async for answer in call:
                yield answer
        finally:
            call.cancel()


class _Everything:
    """A generic handler: every method, whatever its kind, is a stream of bytes both ways."""

    def __init__(self, proxy: GrpcProxy) -> None:
        self._proxy = proxy

    def service(self, details: Any) -> Any:
        async def behave(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            async for answer in self._proxy.forward(details.method, requests, context):
                yield answer

        return grpc.stream_stream_rpc_method_handler(behave)


async def _trouble(rule: _Rule, context: Any, healed: asyncio.Event) -> None:
    if rule.hangs:
        await healed.wait()
    if rule.code is not None:
        await context.abort(rule.code, "trouble made by the proxy")


def _forwardable(metadata: Any) -> list[tuple[str, str | bytes]]:
    return [(key, value) for key, value in metadata or () if not key.startswith(("grpc-", ":", "user-agent"))]
