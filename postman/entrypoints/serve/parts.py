"""What the requests' handlers work with."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from postman.core.ids import MailId
from postman.core.mail import Mail
from postman.entrypoints.serve.access import Access
from postman.entrypoints.serve.intake import Places
from postman.ports.clock import Clock
from postman.ports.ledger import Ledger
from postman.runtime.receiver import Receiver

__all__ = ["PARTS", "Parts", "Publish"]

Publish = Callable[[Mail, Mapping[str, str]], Awaitable[MailId]]
"""Publishes a mail with its trace context; returns when the queue has it."""

_POSTS_AT_ONCE: Final = 200
_BATCHES_AT_ONCE: Final = 50
_BYTES_AT_ONCE: Final = 64 * 1024 * 1024
"""Of events, and of mails besides; reading them takes some times that."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The places bound the memory that bodies take."""

    ledger: Ledger
    receiver: Receiver
    publish: Publish
    clock: Clock
    shard_of: Callable[[MailId, str], int | None]
    """Where a published mail of a tenant went."""
    access: Access
    body_within: float = 20.0
    """Seconds for a whole body: a slow sender may not hold a place for ever."""
    event_places: Places = field(default_factory=lambda: Places(_POSTS_AT_ONCE, _BYTES_AT_ONCE))
    mail_places: Places = field(default_factory=lambda: Places(_BATCHES_AT_ONCE, _BYTES_AT_ONCE))


PARTS = web.AppKey("parts", Parts)
