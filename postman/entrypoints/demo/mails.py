"""The mails of the demonstration: good ones, some that providers refuse, some that are no mails."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from postman.core.ids import MailId
from postman.core.mail import Address, Attachment, Mail
from postman.core.message import Message

__all__ = ["EXPIRED", "MALFORMED", "REFUSED", "bad_messages", "make_mails"]

REFUSED: Final = 12
EXPIRED: Final = 5
MALFORMED: Final = 8

_SENDER: Final = Address(email="shop@mg.example.org", name="Grüße, Shop")
_PICTURE: Final = bytes(range(256)) * 8


def make_mails(count: int, *, run: str) -> Iterator[Mail]:
    """Yield *count* mails of which `REFUSED` have a recipient that every provider refuses and `EXPIRED` are too old."""
    for number in range(count):
        is_refused = number % (count // REFUSED) == 5 and number // (count // REFUSED) < REFUSED
        is_expired = number % (count // EXPIRED) == 9 and number // (count // EXPIRED) < EXPIRED
        domain = "refused.example" if is_refused else "example.org"
        yield Mail(
            id=MailId(f"demo-{run}-{number:05}"),
            from_=_SENDER,
            to=(Address(email=f"customer{number}@{domain}"),),
            subject=f"Your receipt №{number}",
            text=f"Thank you for order {number}.\n",
            html=f"<p>Thank you for order <b>{number}</b>.</p>",
            attachments=(Attachment(filename="receipt.bin", content_type="application/octet-stream", content=_PICTURE),)
            if number % 10 == 0
            else (),
            expires_at=datetime.now(UTC) - timedelta(minutes=1) if is_expired and not is_refused else None,
        )


def bad_messages(*, run: str) -> Iterator[Message]:
    """Yield messages that some other program put into the queue, and that are no mails."""
    bodies = (b"", b"not json", b"[]", b'{"id": 7}', b"\xff\xfe", b'{"to": "nobody"}', b"[" * 5_000, b'{"a":"\\ud800"}')
    for number, body in enumerate(bodies[:MALFORMED]):
        yield Message(body, {"mail_id": f"demo-{run}-bad-{number}", "schema": "1"})
