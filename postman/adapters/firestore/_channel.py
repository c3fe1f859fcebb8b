"""Where Firestore is, and a channel to it.

The channel reconnects within a second after an outage, notices a dead peer by
keepalive, and retries nothing by itself.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import google.auth
import grpc
from google.auth.exceptions import DefaultCredentialsError
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcAsyncIOTransport

from postman.errors import ConfigError

__all__ = ["Database", "connect"]

_HOST: Final = "firestore.googleapis.com:443"
_SCOPES: Final = ("https://www.googleapis.com/auth/datastore",)
_OPTIONS: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_500),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True)
class Database:
    """One Firestore database; *emulator* is `host:port`, or empty for Google's."""

    project: str
    name: str = "(default)"
    emulator: str = ""

    @property
    def path(self) -> str:
        """Its resource name."""
        return f"projects/{self.project}/databases/{self.name}"

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries: the routing header, and for the emulator the owner's rights."""
        routing = ("x-goog-request-params", f"database={quote(self.path, safe='')}")
        return (routing, ("authorization", "Bearer owner")) if self.emulator else (routing,)


async def connect(database: Database) -> Any:
    """Return a `grpc.aio.Channel`; it connects at its first call. `ConfigError` where there are no credentials."""
    if database.emulator:
        return grpc.aio.insecure_channel(database.emulator, options=_OPTIONS)
    try:
        credentials, _ = await asyncio.to_thread(google.auth.default, scopes=_SCOPES)
    except DefaultCredentialsError as error:
        raise ConfigError("no Google credentials found for Firestore") from error
    return FirestoreGrpcAsyncIOTransport.create_channel(_HOST, credentials=credentials, options=_OPTIONS)
