"""SendGrid's events: their documents, and the signature of the posts that carry them.

The signature is ECDSA with P-256 and SHA-256 over the time stamp followed by the body as sent.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256

import orjson

from postman.errors import ConfigError
from postman.sandbox.imitation import EventPost
from postman.sandbox.mails import SentMail

__all__ = ["SIGNATURE_HEADER", "TIMESTAMP_HEADER", "Signer", "event_documents", "sg_message_id"]

SIGNATURE_HEADER = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP_HEADER = "X-Twilio-Email-Event-Webhook-Timestamp"


def sg_message_id(mail: SentMail, recipient: int) -> str:
    """Return the id of the copy for one recipient, by its place; it begins with the id of the request."""
    return f"{mail.draft.message_id}.recvd-sandbox-{mail.part}.{recipient}"


def event_documents(mail: SentMail, only_recipient: int | None = None) -> list[dict[str, object]]:
    """Return the events of *mail*, without custom arguments: processed and delivered for each recipient."""
    chosen = range(len(mail.recipients)) if only_recipient is None else (only_recipient,)
    return [_event(mail, index, kind) for index in chosen for kind in ("processed", "delivered")]


def _event(mail: SentMail, index: int, kind: str) -> dict[str, object]:
    sg_id = sg_message_id(mail, index)
    event: dict[str, object] = {
        "event": kind,
        "email": mail.recipients[index].email,
        "timestamp": int(mail.accepted_at),
        "smtp-id": mail.draft.message_id_header,
        "sg_message_id": sg_id,
        "sg_event_id": base64.urlsafe_b64encode(sha256(f"{sg_id}:{kind}".encode()).digest()[:16]).decode().rstrip("="),
    }
    if mail.draft.tags:
        event["category"] = list(mail.draft.tags)
    if kind == "delivered":
        event |= {"response": "250 OK", "ip": "127.0.0.1"}
    return event


class Signer:
    """A key pair of its own, made at once.

    Raises `ConfigError` where the package `cryptography` is missing.
    """

    def __init__(self) -> None:
        try:
            from cryptography.hazmat.primitives import hashes, serialization
            from cryptography.hazmat.primitives.asymmetric import ec
        except ModuleNotFoundError as error:
            raise ConfigError("SendGrid's events need the package cryptography to be signed") from error
        key = ec.generate_private_key(ec.SECP256R1())
        spki = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.public_key = base64.b64encode(spki).decode()
        """As SendGrid shows it: base64 of a DER SubjectPublicKeyInfo."""
        self._sign: Callable[[bytes], bytes] = lambda data: key.sign(data, ec.ECDSA(hashes.SHA256()))

    def post(self, mails: Sequence[SentMail], now: float) -> EventPost:
        """Return one signed post with the events of *mails*; custom arguments are merged into each event."""
        events = [{**mail.draft.metadata, **event} for mail in mails for event in event_documents(mail)]
        body, timestamp = orjson.dumps(events), str(int(now))
        signature = self._sign(timestamp.encode() + body)
        headers: Mapping[str, str] = {
            "Content-Type": "application/json",
            "User-Agent": "SendGrid Event API",
            SIGNATURE_HEADER: base64.b64encode(signature).decode(),
            TIMESTAMP_HEADER: timestamp,
        }
        return EventPost(body, headers)
