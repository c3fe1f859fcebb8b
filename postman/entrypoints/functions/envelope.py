"""The envelope in which Pub/Sub pushes a message: JSON with the bytes as base64.

Its form: https://cloud.google.com/pubsub/docs/push#receive_push. What is none
cannot come from a push subscription, unless that is set to push without a
wrapper: then the attributes, among them the mail's id, would be missing.
"""

import binascii
import re
from base64 import b64decode
from datetime import datetime
from typing import Any, Final

import orjson

from postman.core.layout import MOST_SHARDS
from postman.core.message import Message
from postman.runtime.pushed import Pushed

__all__ = ["ENVELOPE_LIMIT", "EnvelopeError", "read_envelope"]

ENVELOPE_LIMIT: Final = 15 * 1024 * 1024
"""Bytes: a message of 10 MB in base64, and 100 attributes of 1,280 bytes."""
_MOST_MARKS: Final = 200_000
"""Commas and opening brackets: those of 100 attributes that are nothing else, and room to spare."""
_MARKS: Final = (b",", b"[", b"{")


class EnvelopeError(ValueError):
    """A body is no envelope; the text says why, and holds nothing of it."""


def read_envelope(body: bytes, *, prefix: str, lease_ends: float, now: float) -> Pushed:
    """Return what was pushed, from which of the shards that *prefix* begins the name of; raises `EnvelopeError`.

    *lease_ends* is when Pub/Sub stops waiting; *now* stands in where it is not told when the message was published.
    """
    envelope = _loaded(body)
    inner = envelope.get("message")
    if not isinstance(inner, dict):
        raise EnvelopeError("has no message: the subscription must push with its wrapper")
    attributes = inner.get("attributes") or {}
    if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
        raise EnvelopeError("message.attributes: must be texts by name")
    return Pushed(
        Message(_bytes(inner.get("data") or ""), attributes),
        attempt=_attempt(envelope.get("deliveryAttempt")),
        published_at=_moment(inner.get("publishTime"), now),
        lease_ends=lease_ends,
        shard=_shard(envelope.get("subscription"), prefix),
    )


def _loaded(body: bytes) -> dict[str, Any]:
    if sum(map(body.count, _MARKS)) > _MOST_MARKS:
        raise EnvelopeError("has too many commas and brackets")
    try:
        envelope = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise EnvelopeError("is not JSON") from None  # the error holds the whole text
    if not isinstance(envelope, dict):
        raise EnvelopeError("must be an object")
    return envelope


def _bytes(data: object) -> bytes:
    if not isinstance(data, str):
        raise EnvelopeError("message.data: must be a text")
    try:
        return b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise EnvelopeError("message.data: is not base64") from None


def _attempt(told: object) -> int:
    """Told only where the subscription has a dead-letter policy."""
    return max(1, told) if isinstance(told, int) else 1


def _moment(told: object, now: float) -> float:
    try:
        return datetime.fromisoformat(told).timestamp() if isinstance(told, str) else now
    except (ValueError, OverflowError, OSError):
        return now


def _shard(subscription: object, prefix: str) -> int | None:
    """Return the number in a name like `{prefix}-mail-3` or `{prefix}-mail-3-push`, None where there is none."""
    name = subscription.rpartition("/")[2] if isinstance(subscription, str) else ""
    match = re.fullmatch(rf"{re.escape(prefix)}-mail-([0-9]{{1,4}})(?:-[a-z][a-z0-9-]*)?", name)
    return int(match[1]) if match and int(match[1]) < MOST_SHARDS else None
