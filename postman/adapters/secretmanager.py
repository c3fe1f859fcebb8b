"""Keys in Google's Secret Manager: `secret:ID` and longer forms, see `VersionName`.

Each read is one call, for five seconds at the most, and is sent once. It speaks
the protocol's messages directly: Google's generated client would try again
for a minute, and writes whole answers, so keys, into the log where its logger
is at DEBUG. A checksum that comes with a value is checked; the service sends one
with each.

The account needs roles/secretmanager.secretAccessor on each secret.
`SECRET_MANAGER_EMULATOR_HOST` leads elsewhere, without TLS, so on this machine
only.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

import google.auth
import google_crc32c
import grpc
from google.api_core import grpc_helpers_async
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud.secretmanager_v1.types import AccessSecretVersionRequest, AccessSecretVersionResponse
from pydantic import SecretStr

from postman.adapters._secret_names import VersionName
from postman.adapters._secret_values import secret_of
from postman.adapters._this_machine import is_on_this_machine
from postman.errors import ConfigError
from postman.ports.secrets import SecretError, SecretRefusedError, SecretUnavailableError, Surroundings

__all__ = ["SecretManagerSecrets", "open_secrets"]

_HOST: Final = "secretmanager.googleapis.com:443"
_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
_METHOD: Final = "/google.cloud.secretmanager.v1.SecretManagerService/AccessSecretVersion"
_OPTIONS: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_500),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),
    ("grpc.primary_user_agent", "postman"),
    ("grpc.use_local_subchannel_pool", 1),
)
_ON_THIS_MACHINE: Final = (*_OPTIONS, ("grpc.enable_http_proxy", 0))
"""No proxy of the environment sees what goes there."""

_CALL_LIMIT: Final = 5.0
"""Seconds for one call."""
_CREDENTIALS_LIMIT: Final = 4.0
"""Seconds more for the first one, which looks for credentials."""

_CLOSED: Final = "Secret Manager was closed"
_EMULATOR: Final = "SECRET_MANAGER_EMULATOR_HOST"

_Code = grpc.StatusCode
_REFUSED: Final = {
    _Code.NOT_FOUND: "there is no such secret, or no such version of it",
    _Code.FAILED_PRECONDITION: "its version is disabled or destroyed",
    _Code.PERMISSION_DENIED: "may not be read: this account needs roles/secretmanager.secretAccessor on it, "
    "and the project the Secret Manager API",
    _Code.UNAUTHENTICATED: "Google does not accept our credentials",
    _Code.INVALID_ARGUMENT: "Secret Manager calls the name wrong",
    _Code.OUT_OF_RANGE: "Secret Manager calls the name wrong",
    _Code.UNIMPLEMENTED: "what answers is not Secret Manager",
}
_UNAVAILABLE: Final = {
    _Code.UNAVAILABLE: "Secret Manager cannot be reached",
    _Code.DEADLINE_EXCEEDED: "Secret Manager did not answer in time",
    _Code.RESOURCE_EXHAUSTED: "a quota of Secret Manager is used up",
}
"""And all codes that stand in neither table: what we do not know may pass."""


def open_secrets(surroundings: Surroundings) -> "SecretManagerSecrets":
    """Open the Secret Manager; raises `ConfigError` for an emulator elsewhere than on this machine."""
    emulator = surroundings.environ.get(_EMULATOR, "")
    return SecretManagerSecrets(surroundings.project, emulator=emulator)


class SecretManagerSecrets:
    """See the module. It connects at its first read, in that event loop; *call_limit* is seconds for one call."""

    def __init__(self, project: str, *, emulator: str = "", call_limit: float = _CALL_LIMIT) -> None:
        if emulator and not is_on_this_machine(emulator):
            raise ConfigError(f"{_EMULATOR}: must be host:port on this machine, since keys travel there in the clear")
        self._project = project
        self._emulator = emulator
        self._call_limit = call_limit
        self._lock = asyncio.Lock()
        self._channel: Any = None
        self._closed = False

    def is_pinned(self, reference: str) -> bool:
        return VersionName.of(reference).is_pinned

    async def read(self, reference: str) -> SecretStr:
        name = VersionName.of(reference)
        if not (name.project or self._project):
            raise SecretRefusedError(reference, "names no project, and POSTMAN_PROJECT is not set")
        async with self._translated(reference):
            payload = await self._access(name.path(self._project))
        if payload.HasField("data_crc32c") and payload.data_crc32c != google_crc32c.value(payload.data):
            raise SecretUnavailableError(reference, "its value was damaged on the way")
        return secret_of(reference, payload.data)

    async def aclose(self) -> None:
        """Close the channel; every later read fails, and so do those under way."""
        self._closed = True
        async with self._lock:
            channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def _access(self, path: str) -> Any:
        send = (await self._open()).unary_unary(
            _METHOD,
            request_serializer=AccessSecretVersionRequest.pb().SerializeToString,
            response_deserializer=AccessSecretVersionResponse.pb().FromString,
        )
        metadata = (("x-goog-request-params", f"name={quote(path, safe='')}"),)
        answer = await send(AccessSecretVersionRequest.pb()(name=path), timeout=self._call_limit, metadata=metadata)
        return answer.payload

    async def _open(self) -> Any:
        async with self._lock:
            if self._closed:
                raise SecretUnavailableError("", _CLOSED)
            if self._channel is None:
                self._channel = await self._connect()
            return self._channel

    async def _connect(self) -> Any:
        if self._emulator:
            return grpc.aio.insecure_channel(self._emulator, options=_ON_THIS_MACHINE)
        credentials, _ = await asyncio.to_thread(google.auth.default, scopes=_SCOPES)
        return grpc_helpers_async.create_channel(_HOST, credentials=credentials, options=_OPTIONS)

    @asynccontextmanager
    async def _translated(self, reference: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._call_limit + _CREDENTIALS_LIMIT):
                yield
        except grpc.aio.AioRpcError as error:
            raise _problem(reference, error.code()) from error
        except TimeoutError as error:
            raise _problem(reference, _Code.DEADLINE_EXCEEDED) from error
        except DefaultCredentialsError as error:
            raise SecretRefusedError(reference, "no Google credentials were found") from error
        except GoogleAuthError as error:
            raise SecretUnavailableError(reference, "Google gives us no credentials now") from error
        except asyncio.CancelledError:
            if self._closed and not _is_cancelled():
                raise SecretUnavailableError(reference, _CLOSED) from None
            raise


def _problem(reference: str, code: grpc.StatusCode) -> SecretError:
    if code in _REFUSED:
        return SecretRefusedError(reference, _REFUSED[code])
    return SecretUnavailableError(reference, _UNAVAILABLE.get(code, f"Secret Manager failed with {code.name}"))


def _is_cancelled() -> bool:
    """Whether somebody cancelled this task; else it is the channel's end that looks so."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
