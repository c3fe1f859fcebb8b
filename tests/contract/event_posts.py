"""SendGrid and Mailgun as they post events: their forms, and their signatures made by the book."""

import base64
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from secrets import token_hex
from typing import Any

import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from postman.core.events import EventKind
from postman.testing.events import NOW, Signed, Told

__all__ = ["SIGNATURE", "TIMESTAMP", "MailgunSender", "SendGridSender", "mailgun_event", "sendgrid_event"]

SIGNATURE = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP = "X-Twilio-Email-Event-Webhook-Timestamp"

_SENDGRID_KINDS = {
    EventKind.ACCEPTED: {"event": "processed"},
    EventKind.DELIVERED: {"event": "delivered"},
    EventKind.DEFERRED: {"event": "deferred"},
    EventKind.BOUNCED: {"event": "bounce"},
    EventKind.DROPPED: {"event": "dropped"},
    EventKind.COMPLAINED: {"event": "spamreport"},
}
_MAILGUN_KINDS: dict[EventKind, dict[str, Any]] = {
    EventKind.ACCEPTED: {"event": "accepted"},
    EventKind.DELIVERED: {"event": "delivered"},
    EventKind.DEFERRED: {"event": "failed", "severity": "temporary", "reason": "generic"},
    EventKind.BOUNCED: {"event": "failed", "severity": "permanent"},
    EventKind.DROPPED: {"event": "rejected"},
    EventKind.COMPLAINED: {"event": "complained"},
}


def sendgrid_event(told: Told, **changes: Any) -> dict[str, Any]:
    """Return one event of SendGrid's, as its reference shows them."""
    document: dict[str, Any] = {
        "email": told.recipient,
        "timestamp": int(told.at),
        "smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>",
        "category": ["receipts"],
        "sg_event_id": "ZGVsaXZlcmVkLTAtMTIzNDU2",
        "sg_message_id": "14c5d75ce93.filter0042p3las1-15933-5A1B2C3D-1.0",
        "reason": told.detail,
        **_SENDGRID_KINDS[told.kind],
    }
    if told.kind is EventKind.BOUNCED:
        document["type"] = "bounce" if told.is_permanent else "blocked"
    if told.mail_id:
        document["mail_id"] = told.mail_id
    return {**document, **changes}


@dataclass(frozen=True)
class SendGridSender:
    """Signs as SendGrid's settings page says it does."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    repeats_for: float = 24 * 3_600.0
    covers_body: bool = True

    @property
    def public_key(self) -> str:
        spki = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(spki).decode()

    def post(self, *told: Told, at: float = NOW) -> Sequence[Signed]:
        return [self.sign(orjson.dumps([sendgrid_event(each) for each in told]), at=at)]

    def post_foreign(self) -> Signed:
        return self.sign(orjson.dumps([sendgrid_event(Told(EventKind.DELIVERED), event="open")]))

    def post_damaged(self) -> Signed:
        return self.sign(orjson.dumps([sendgrid_event(Told(EventKind.DELIVERED), timestamp=None)]))

    def with_other_key(self) -> "SendGridSender":
        return SendGridSender()

    def sign(self, body: bytes, *, at: float = NOW) -> Signed:
        timestamp = str(int(at))
        signature = self.key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
        return Signed({SIGNATURE: base64.b64encode(signature).decode(), TIMESTAMP: timestamp}, body)


def mailgun_event(told: Told, **changes: Any) -> dict[str, Any]:
    """Return the `event-data` of one webhook of Mailgun's, as its reference shows them."""
    document: dict[str, Any] = {
        "id": "CCXMjJ7nQi2N3BPigGOdgQ",
        "timestamp": told.at,
        "log-level": "info",
        "envelope": {"sender": "shop@mg.example.org", "targets": told.recipient, "transport": "smtp"},
        "message": {"headers": {"message-id": "20260203192638.000be97f@mg.example.org", "subject": "hidden subject"}},
        "recipient": told.recipient,
        "user-variables": {"mail_id": told.mail_id} if told.mail_id else [],
        "delivery-status": {"code": 550, "message": told.detail, "attempt-no": 1},
        **_MAILGUN_KINDS[told.kind],
    }
    if told.kind is EventKind.BOUNCED:
        document["reason"] = "bounce" if told.is_permanent else "generic"
    return {**document, **changes}


@dataclass(frozen=True)
class MailgunSender:
    """Signs as Mailgun's manual says it does."""

    key: str = "3f1a0c7d5b9e4a6680c2d4e6f8a0b1c3"
    repeats_for: float = 8 * 3_600.0
    covers_body: bool = False

    def post(self, *told: Told, at: float = NOW) -> Sequence[Signed]:
        return [self.sign(mailgun_event(each), at=at) for each in told]

    def post_foreign(self) -> Signed:
        return self.sign(mailgun_event(Told(EventKind.DELIVERED), event="opened"))

    def post_damaged(self) -> Signed:
        return self.sign(["no", "object"])

    def with_other_key(self) -> "MailgunSender":
        return MailgunSender("another-signing-key")

    def sign(
        self, event: object, *, at: float = NOW, token: str = "", changes: Mapping[str, object] | None = None
    ) -> Signed:
        """Return the post of *event*, whose signature has *changes*."""
        timestamp, token = str(int(at)), token or token_hex(25)
        digest = hmac.new(self.key.encode(), f"{timestamp}{token}".encode(), sha256).hexdigest()
        signature = {"timestamp": timestamp, "token": token, "signature": digest, **(changes or {})}
        body = orjson.dumps({"signature": signature, "event-data": event})
        return Signed({"Content-Type": "application/json"}, body)
