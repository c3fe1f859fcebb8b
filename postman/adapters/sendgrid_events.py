"""SendGrid's events, posted by its signed Event Webhook.

What proves them: ECDSA on the curve P-256 with SHA-256, over the time stamp
followed by the body as it came. The body is covered, so a post that is told
again can only say the same, and needs no nonce.

SendGrid repeats a post for a day until it is answered with a 2xx, and does not
say whether it signs it anew; so a signature is good for 25 hours. A bounce of
the type *blocked* is the refusal of one mail, not of the address: it is not
permanent. Opens, clicks and unsubscriptions are not read.

Settings: option *webhook_key*, the "verification key" that SendGrid shows
(base64; PEM too); two between a comma while it is changed. Without it the
provider has no events here.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from postman.adapters._event_reading import check_age, id_in, moment_in, one_header, recipient_in, text_in, webhook_keys
from postman.adapters._http import MAX_MESSAGE_ID
from postman.adapters._outcomes import presentable
from postman.core.events import EventKind, MailEvent
from postman.errors import ConfigError, ForgedEventError
from postman.ports.events import EventPost, EventSource
from postman.ports.opening import ProviderSpec

__all__ = ["SendGridEvents", "open_events"]

_SIGNATURE: Final = "X-Twilio-Email-Event-Webhook-Signature"
_TIMESTAMP: Final = "X-Twilio-Email-Event-Webhook-Timestamp"
_REPEATED_FOR: Final = 25 * 3_600.0
_BODY_LIMIT: Final = 10 << 20
"""A post tells of up to thousands of events; SendGrid sends at most 768 KB at a time."""
_KINDS: Final[Mapping[str, EventKind]] = {
    "processed": EventKind.ACCEPTED,
    "delivered": EventKind.DELIVERED,
    "deferred": EventKind.DEFERRED,
    "bounce": EventKind.BOUNCED,
    "dropped": EventKind.DROPPED,
    "spamreport": EventKind.COMPLAINED,
}


class SendGridEvents:
    """See the module. *keys* are those that SendGrid shows; one of them must have signed."""

    def __init__(self, name: str, keys: Sequence[str]) -> None:
        self._name = name
        self._keys = [_public_key(key, name) for key in keys]

    @property
    def name(self) -> str:
        return self._name

    @property
    def body_limit(self) -> int:
        return _BODY_LIMIT

    def read(self, headers: Mapping[str, str], body: bytes, *, now: float) -> EventPost:
        signature = one_header(headers, _SIGNATURE, self._name)
        timestamp = one_header(headers, _TIMESTAMP, self._name)
        check_age(timestamp, now, oldest=_REPEATED_FOR, provider=self._name)
        digest = sha256(timestamp.encode())
        digest.update(body)
        self._verify(signature, digest.digest())
        return self._post_in(body)

    def _verify(self, signature: str, digest: bytes) -> None:
        try:
            decoded = base64.b64decode(signature)
        except (ValueError, binascii.Error):
            raise ForgedEventError(f"{self._name}: the signature is not base64") from None
        if not any(_has_signed(key, decoded, digest) for key in self._keys):
            raise ForgedEventError(f"{self._name}: the signature is not of this key and this body")

    def _post_in(self, body: bytes) -> EventPost:
        try:
            documents = orjson.loads(body)
        except orjson.JSONDecodeError:
            documents = None
        if not isinstance(documents, list):
            return EventPost((), unread=1)
        events = tuple(event for document in documents if (event := self._event(document)) is not None)
        return EventPost(events, unread=len(documents) - len(events))

    def _event(self, document: object) -> MailEvent | None:
        """Return what one event tells; None where it is damaged or does not concern us."""
        if not isinstance(document, dict):
            return None
        kind, at = _KINDS.get(text_in(document.get("event"))), moment_in(document.get("timestamp"))
        if kind is None or at is None:
            return None
        return MailEvent(
            provider=self._name,
            kind=kind,
            mail_id=id_in(document.get("mail_id")),
            at=at,
            message_id=text_in(document.get("sg_message_id")).partition(".")[0][:MAX_MESSAGE_ID],
            recipient=recipient_in(document.get("email")),
            is_permanent=kind is EventKind.BOUNCED and document.get("type") == "bounce",
            cluster=text_in(document.get("postman_cluster")),
            detail=presentable(text_in(document.get("reason")) or text_in(document.get("response"))),
        )


def open_events(spec: ProviderSpec) -> EventSource | None:
    """Open an account's events, None without *webhook_key*; `ConfigError` where that is no key."""
    keys = webhook_keys(spec)
    return SendGridEvents(spec.name, keys) if keys else None


def _has_signed(key: ec.EllipticCurvePublicKey, signature: bytes, digest: bytes) -> bool:
    try:
        key.verify(signature, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    except InvalidSignature:
        return False
    return True


def _public_key(text: str, provider: str) -> ec.EllipticCurvePublicKey:
    """Read base64 of a DER SubjectPublicKeyInfo, or PEM. Nothing of *text* is in an error."""
    try:
        if text.startswith("-----BEGIN"):
            key = load_pem_public_key(text.encode())
        else:
            key = load_der_public_key(base64.b64decode("".join(text.split()), validate=True))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError(f"provider {provider}: webhook_key: is not the verification key that SendGrid shows")
    return key
