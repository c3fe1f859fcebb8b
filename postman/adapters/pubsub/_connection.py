"""One gRPC channel to Pub/Sub, and the only place where Google's errors are known.

It calls the service with plain protobuf messages: Google's generated client
wraps each of them once more, which costs three times the CPU. Nothing is sent
twice from here; the generated client would retry for a minute, longer than a
lease.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import grpc
from google.protobuf.empty_pb2 import Empty
from google.pubsub_v1 import types

from postman.errors import ConfigError, QueueError, QueueUnavailableError

__all__ = [
    "ACKNOWLEDGE",
    "CREATE_SUBSCRIPTION",
    "CREATE_TOPIC",
    "GET_SUBSCRIPTION",
    "MODIFY",
    "PUBLISH",
    "PULL",
    "Connection",
    "Method",
    "RefusedRequestError",
    "TimedOutError",
]

_HOST = "pubsub.googleapis.com:443"
_SCOPES = ("https://www.googleapis.com/auth/pubsub",)
_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.primary_user_agent", "postman"),
    ("grpc.use_local_subchannel_pool", 1),
)
"""An outage ends for us a second after it ends; a connection that went dead without a word is seen within 40 s.

An answer may be of any size: one that was refused here would come again and again, and block its shard.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """One method of the service."""

    path: str
    request: Any
    """The class of its requests."""
    response: Any
    field: str
    """The field of a request that names the resource; Google routes by it."""
    role: str


def _method(path: str, request: Any, response: Any, field: str, role: str) -> Method:
    return Method(f"/google.pubsub.v1.{path}", request.pb(), response, field, f"roles/pubsub.{role}")


_SUBSCRIPTION = types.Subscription.pb()
PUBLISH = _method("Publisher/Publish", types.PublishRequest, types.PublishResponse.pb(), "topic", "publisher")
PULL = _method("Subscriber/Pull", types.PullRequest, types.PullResponse.pb(), "subscription", "subscriber")
ACKNOWLEDGE = _method("Subscriber/Acknowledge", types.AcknowledgeRequest, Empty, "subscription", "subscriber")
MODIFY = _method("Subscriber/ModifyAckDeadline", types.ModifyAckDeadlineRequest, Empty, "subscription", "subscriber")
CREATE_TOPIC = _method("Publisher/CreateTopic", types.Topic, types.Topic.pb(), "name", "editor")
CREATE_SUBSCRIPTION = _method("Subscriber/CreateSubscription", types.Subscription, _SUBSCRIPTION, "name", "editor")
GET_SUBSCRIPTION = _method(
    "Subscriber/GetSubscription", types.GetSubscriptionRequest, _SUBSCRIPTION, "subscription", "viewer"
)


class RefusedRequestError(QueueError):
    """Pub/Sub calls the request wrong; a part of it may be right. Nothing of it was done."""


class TimedOutError(QueueUnavailableError):
    """No answer in time, on a connection that stands."""


_UNAVAILABLE: Mapping[grpc.StatusCode, str] = MappingProxyType(
    {
        grpc.StatusCode.UNAVAILABLE: "Pub/Sub cannot be reached for {name}",
        grpc.StatusCode.DEADLINE_EXCEEDED: "Pub/Sub did not answer in time for {name}",
        grpc.StatusCode.RESOURCE_EXHAUSTED: "a quota of Pub/Sub is used up for {name}",
        grpc.StatusCode.ABORTED: "Pub/Sub broke off a request for {name}",
        grpc.StatusCode.CANCELLED: "a request to Pub/Sub for {name} was broken off",
        grpc.StatusCode.INTERNAL: "Pub/Sub failed for {name}",
        grpc.StatusCode.UNKNOWN: "Pub/Sub failed for {name}",
        grpc.StatusCode.NOT_FOUND: "{name} does not exist: run `postman init`",
        grpc.StatusCode.PERMISSION_DENIED: "no permission for {name}: this account needs {role}",
        grpc.StatusCode.UNAUTHENTICATED: "Google does not accept our credentials for {name}; the account needs {role}",
    }
)


class Connection:
    """Opened by the first call, in its event loop; closed for good by `aclose`."""

    def __init__(self, emulator: str) -> None:
        """Speak to the emulator at *emulator* (`host:port`), or to Google if it is empty."""
        self._emulator = emulator
        self._calls: dict[str, Any] = {}
        self._channel: Any = None
        self._opening = asyncio.Lock()
        self._closed = False

    @property
    def is_emulated(self) -> bool:
        """Whether this is not Google's own service."""
        return bool(self._emulator)

    async def call(self, method: Method, request: Any, *, timeout: float) -> Any:
        """Send *request* once; return the answer.

        Raises `QueueUnavailableError` (`TimedOutError` where only the answer is missing), `RefusedRequestError` for an
        invalid request, and `QueueError` for all else.
        """
        send = self._calls.get(method.path) or await self._open(method)
        resource = getattr(request, method.field)
        metadata = (("x-goog-request-params", f"{method.field}={quote(resource)}"),)
        try:
            return await send(request, timeout=timeout, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise self._translate(error.code(), method, resource) from error

    async def create(self, method: Method, request: Any, *, timeout: float) -> bool:
        """Create what *request* describes; return False if it was there already."""
        try:
            await self.call(method, request, timeout=timeout)
        except QueueError as error:
            if _code_of(error) is grpc.StatusCode.ALREADY_EXISTS:
                return False
            raise
        return True

    async def find(self, method: Method, request: Any, *, timeout: float) -> Any | None:
        """Do as `call`, for what may not be there; return None then."""
        try:
            return await self.call(method, request, timeout=timeout)
        except QueueError as error:
            if _code_of(error) is grpc.StatusCode.NOT_FOUND:
                return None
            raise

    async def aclose(self) -> None:
        """Close the channel; calls under way fail."""
        self._closed = True
        self._calls.clear()
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    def _translate(self, code: grpc.StatusCode, method: Method, resource: str) -> QueueError:
        name = resource.rpartition("/")[2]
        if code is grpc.StatusCode.INVALID_ARGUMENT:
            return RefusedRequestError(f"Pub/Sub refuses a request for {name}")
        if code not in _UNAVAILABLE:
            return QueueError(f"Pub/Sub answers {code.name} for {name}")
        kind = TimedOutError if code is grpc.StatusCode.DEADLINE_EXCEEDED and self._stands() else QueueUnavailableError
        return kind(_UNAVAILABLE[code].format(name=name, role=method.role))

    def _stands(self) -> bool:
        return self._channel is not None and self._channel.get_state() is grpc.ChannelConnectivity.READY

    async def _open(self, method: Method) -> Any:
        async with self._opening:
            if self._closed:
                raise QueueUnavailableError("the connection to Pub/Sub was closed")
            if self._channel is None:
                self._channel = await self._connect()
        send = self._channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        self._calls[method.path] = send
        return send

    async def _connect(self) -> Any:
        if self._emulator:
            return grpc.aio.insecure_channel(self._emulator, options=_OPTIONS)
        from google.api_core import grpc_helpers_async
        from google.auth import default
        from google.auth.exceptions import DefaultCredentialsError

        try:
            credentials, _ = await asyncio.to_thread(default, scopes=_SCOPES)
        except DefaultCredentialsError as error:
            raise ConfigError("no Google credentials were found, nor PUBSUB_EMULATOR_HOST") from error
        return grpc_helpers_async.create_channel(_HOST, credentials=credentials, options=_OPTIONS)


def _code_of(error: QueueError) -> grpc.StatusCode | None:
    cause = error.__cause__
    return cause.code() if isinstance(cause, grpc.aio.AioRpcError) else None
