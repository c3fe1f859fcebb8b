"""A stand-in for Google's Secret Manager, of which it knows one method: AccessSecretVersion.

It speaks gRPC without TLS on a free port of this machine, keeps versions in
memory, and refuses as the real one does (codes as its users report them). For
outages, delays and lost answers put a `GrpcProxy` before it. It needs the package
google-cloud-secret-manager.
"""

from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import unquote

import google_crc32c
import grpc
from google.cloud.secretmanager_v1.types import AccessSecretVersionRequest, AccessSecretVersionResponse
from grpc import StatusCode

__all__ = ["SecretServer"]

_METHOD: Final = "/google.cloud.secretmanager.v1.SecretManagerService/AccessSecretVersion"
_OPTIONS: Final = (("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0))
_DAMAGE: Final = 0x5EC2E7


@dataclass(slots=True)
class _Version:
    data: bytes = field(repr=False)
    state: str = "ENABLED"


@dataclass(slots=True)
class _Secret:
    versions: list[_Version] = field(default_factory=list)
    aliases: dict[str, int] = field(default_factory=dict)
    is_forbidden: bool = False
    checksums: str = "right"

    def answer(self, version: str) -> tuple[StatusCode, bytes]:
        if self.is_forbidden:
            return StatusCode.PERMISSION_DENIED, b""
        number = len(self.versions) if version == "latest" else self.aliases.get(version, 0)
        number = int(version) if version.isdigit() else number
        if not 0 < number <= len(self.versions):
            return StatusCode.NOT_FOUND, b""
        kept = self.versions[number - 1]
        return (StatusCode.OK, kept.data) if kept.state == "ENABLED" else (StatusCode.FAILED_PRECONDITION, b"")


class SecretServer:
    """See the module; secrets are named `projects/P/secrets/S`. One event loop, where it is entered; *port* 0: any."""

    def __init__(self, *, port: int = 0) -> None:
        self._port = port
        self._secrets: dict[str, _Secret] = {}
        self.address = ""
        """Where it listens, `host:port`: for SECRET_MANAGER_EMULATOR_HOST."""
        self.calls: Counter[str] = Counter()
        """How often each version was asked for, by its resource name."""
        self.misrouted: list[str] = []
        """The names in calls whose routing header says another, or none."""

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers((_Methods(self),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port(f'127.0.0.1:{self._port}')}"
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop(grace=None)

    def create(self, secret: str) -> None:
        """Make a secret without a version, if there is none of that name."""
        self._secrets.setdefault(secret, _Secret())

    def add(self, secret: str, data: bytes) -> int:
        """Add a version and return its number; the secret is made where it is missing."""
        self.create(secret)
        self._secrets[secret].versions.append(_Version(data))
        return len(self._secrets[secret].versions)

    def name(self, secret: str, alias: str, version: int) -> None:
        """Let *alias* stand for *version*."""
        self._secrets[secret].aliases[alias] = version

    def set_state(self, secret: str, version: int, state: str) -> None:
        """Make a version `ENABLED`, `DISABLED` or `DESTROYED`."""
        self._secrets[secret].versions[version - 1].state = state

    def forbid(self, secret: str, *, forbidden: bool = True) -> None:
        """Let nobody read *secret*, or everybody again."""
        self._secrets[secret].is_forbidden = forbidden

    def checksums(self, secret: str, kind: str) -> None:
        """Send `right`, `wrong` or `no` checksums with values."""
        self._secrets[secret].checksums = kind

    async def access(self, request: Any, context: Any) -> Any:
        """Answer one call; for the server's use."""
        self.calls[request.name] += 1
        if _routed(context) != request.name:
            self.misrouted.append(request.name)
        secret, _, version = request.name.partition("/versions/")
        kept = self._secrets.get(secret, _Secret())
        code, data = kept.answer(version)
        if code is not StatusCode.OK:
            await context.abort(code, f"{request.name}: {code.name}")
        return _answer(request.name, data, kept.checksums)


class _Methods:
    """A generic handler of the one method."""

    def __init__(self, server: SecretServer) -> None:
        self._handler = grpc.unary_unary_rpc_method_handler(
            server.access,
            request_deserializer=AccessSecretVersionRequest.pb().FromString,
            response_serializer=AccessSecretVersionResponse.pb().SerializeToString,
        )

    def service(self, details: Any) -> Any:
        return self._handler if details.method == _METHOD else None


def _routed(context: Any) -> str:
    headers = dict(context.invocation_metadata())
    return unquote(str(headers.get("x-goog-request-params", "")).removeprefix("name="))


def _answer(name: str, data: bytes, checksums: str) -> Any:
    answer = AccessSecretVersionResponse.pb()(name=name)
    answer.payload.data = data
    if checksums != "no":
        right = google_crc32c.value(data)
        answer.payload.data_crc32c = right if checksums == "right" else right ^ _DAMAGE
    return answer
