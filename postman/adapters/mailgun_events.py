"""Mailgun's events, posted by its webhooks.

What proves them: HMAC-SHA256 with the webhook signing key over time stamp and
token. **The body is not covered**: who has one genuine post can put its
signature on any other. So the token is the post's *nonce*, and whoever receives
it must not take another body with it. An event of a subaccount is signed with
the main account's key besides; either will do.

Mailgun repeats a post for eight hours until it is answered with 200 or 406; a
signature is good for half an hour more. A failure is permanent for the address
where Mailgun calls it a hard bounce, or a *bounce* without saying which; a
failure because of its own suppression lists is a drop. Opens, clicks,
unsubscriptions and the old form posts (not JSON) are not read.

Settings: option *webhook_key*, the "HTTP webhook signing key"; two between a
comma while it is changed. Without it the provider has no events here.
"""

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import orjson

from postman.adapters._event_reading import check_age, id_in, moment_in, recipient_in, text_in, webhook_keys
from postman.adapters._http import MAX_MESSAGE_ID
from postman.adapters._outcomes import presentable
from postman.core.events import EventKind, MailEvent
from postman.errors import ConfigError, ForgedEventError
from postman.ports.events import EventPost, EventSource
from postman.ports.opening import ProviderSpec

__all__ = ["MailgunEvents", "open_events"]

_REPEATED_FOR: Final = 8.5 * 3_600.0
_BODY_LIMIT: Final = 1 << 20
"""A post tells of one event, and is parsed before it is verified."""
_KEY: Final = re.compile(r"[\x21-\x7e]+")
_LONGEST_TOKEN: Final = 200
_KINDS: Final[Mapping[str, EventKind]] = {
    "accepted": EventKind.ACCEPTED,
    "delivered": EventKind.DELIVERED,
    "rejected": EventKind.DROPPED,
    "complained": EventKind.COMPLAINED,
}
_HARD: Final = frozenset({"bounce", "hard"})


class MailgunEvents:
    """See the module. One of *keys* must have signed."""

    def __init__(self, name: str, keys: Sequence[str]) -> None:
        self._name = name
        if not all(_KEY.fullmatch(key) for key in keys):
            raise ConfigError(f"provider {name}: webhook_key: has spaces or characters that no key has")
        self._keys = [key.encode() for key in keys]

    @property
    def name(self) -> str:
        return self._name

    @property
    def body_limit(self) -> int:
        return _BODY_LIMIT

    def read(self, headers: Mapping[str, str], body: bytes, *, now: float) -> EventPost:  # noqa: ARG002 — all is in the body
        document = _object_in(body)
        seal = _seal_in(document.get("signature"))
        if seal is None:
            raise ForgedEventError(f"{self._name}: the post has no signature in the form of today's webhooks")
        check_age(seal.timestamp, now, oldest=_REPEATED_FOR, provider=self._name)
        if not self._has_signed(seal):
            raise ForgedEventError(f"{self._name}: the signature is not of this key")
        event = self._event(document.get("event-data"))
        events = () if event is None else (event,)
        return EventPost(events, unread=1 - len(events), nonce=seal.token)

    def _has_signed(self, seal: "_Seal") -> bool:
        signed = (seal.timestamp + seal.token).encode()
        wanted = [hmac.new(key, signed, sha256).hexdigest().encode() for key in self._keys]
        return any(hmac.compare_digest(one, given.encode()) for one in wanted for given in seal.signatures)

    def _event(self, document: object) -> MailEvent | None:
        """Return what the event tells; None where it is damaged or does not concern us."""
        data = _mapping(document)
        kind, at = _kind_of(data), moment_in(data.get("timestamp"))
        if kind is None or at is None:
            return None
        headers = _mapping(_mapping(data.get("message")).get("headers"))
        message_id = text_in(headers.get("message-id")).strip("<> ")
        variables = _mapping(data.get("user-variables"))
        return MailEvent(
            provider=self._name,
            kind=kind,
            mail_id=id_in(variables.get("mail_id")),
            cluster=text_in(variables.get("postman_cluster")),
            at=at,
            message_id=f"<{message_id}>"[:MAX_MESSAGE_ID] if message_id else "",
            recipient=recipient_in(data.get("recipient")),
            is_permanent=kind is EventKind.BOUNCED and _is_hard(data),
            detail=_detail_of(data),
        )


def open_events(spec: ProviderSpec) -> EventSource | None:
    """Open an account's events, None without *webhook_key*; `ConfigError` where that is no key."""
    keys = webhook_keys(spec)
    return MailgunEvents(spec.name, keys) if keys else None


@dataclass(frozen=True, slots=True)
class _Seal:
    timestamp: str
    token: str
    signatures: tuple[str, ...]


def _object_in(body: bytes) -> dict[str, Any]:
    try:
        return _mapping(orjson.loads(body))
    except orjson.JSONDecodeError:
        return {}


def _seal_in(value: object) -> _Seal | None:
    match value:
        case {"timestamp": str() | int() as timestamp, "token": str(token), "signature": str(signature), **others}:
            parent = others.get("parent-signature")
            given = (signature, parent) if isinstance(parent, str) else (signature,)
            return _Seal(str(timestamp), token, given) if 0 < len(token) <= _LONGEST_TOKEN else None
        case _:
            return None


def _kind_of(data: Mapping[str, Any]) -> EventKind | None:
    name = text_in(data.get("event"))
    if name != "failed":
        return _KINDS.get(name)
    match data.get("severity"):
        case "temporary":
            return EventKind.DEFERRED
        case "permanent":
            is_suppressed = text_in(data.get("reason")).startswith("suppress-")
            return EventKind.DROPPED if is_suppressed else EventKind.BOUNCED
        case _:
            return None


def _is_hard(data: Mapping[str, Any]) -> bool:
    kind = text_in(_mapping(data.get("delivery-status")).get("bounce-type"))
    return kind == "hard" if kind else text_in(data.get("reason")) in _HARD


def _detail_of(data: Mapping[str, Any]) -> str:
    status, reject = _mapping(data.get("delivery-status")), _mapping(data.get("reject"))
    words = (
        text_in(status.get("code")),
        text_in(status.get("description")) or text_in(status.get("message")),
        text_in(reject.get("reason")),
        text_in(reject.get("description")),
    )
    return presentable(" ".join(filter(None, words)) or text_in(data.get("reason")))


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
