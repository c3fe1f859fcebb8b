"""What providers tell of mails that they took: values, and how an address is kept without being readable.

An event is proof that its provider took the mail, whatever else it says.
"""

import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from postman.core.mail import Mail

__all__ = ["EventKind", "MailEvent", "address_key", "address_tag", "recipient_tags"]

_TAG: Final = 12
_MOST_TAGS: Final = 20
"""Recipients of a mail by which it is found."""
_PURPOSE: Final = b"postman address\0"


class EventKind(StrEnum):
    """What happened, in the words of the trade."""

    ACCEPTED = "accepted"
    """The provider took the mail (SendGrid: processed)."""
    DELIVERED = "delivered"
    """The recipient's server took it."""
    DEFERRED = "deferred"
    """The recipient's server asked for patience; the provider tries again."""
    BOUNCED = "bounced"
    """The recipient's server refused it."""
    DROPPED = "dropped"
    """The provider did not try: it has the address on a list of its own, or refuses the mail after all."""
    COMPLAINED = "complained"
    """The recipient called it spam."""


@dataclass(frozen=True, slots=True)
class MailEvent:
    """One event, about one recipient's copy of one mail."""

    provider: str
    kind: EventKind
    mail_id: str
    """Ours; empty where the event is of a mail that did not carry one."""
    at: float
    """Seconds since 1970, by the provider's clock."""
    message_id: str = ""
    """The provider's own id, in the form of `Receipt.message_id`; empty where the event has none."""
    recipient: str = field(default="", repr=False)
    """The address; empty where it is not told."""
    is_permanent: bool = False
    """Of a bounce: whether the address itself is bad (a hard bounce), so that no later mail can arrive."""
    detail: str = ""
    """Why, in the provider's words, without addresses."""
    cluster: str = ""
    """Whose mail it is (`POSTMAN_PREFIX`): others may send through the same account; empty where it does not tell."""


def address_key(address: str) -> str:
    """Return 64 hexadecimal digits that stand for *address*, the same whatever its case.

    It hides addresses from who looks at a store or a page, not from somebody who tries out addresses against it.
    """
    return sha256(_PURPOSE + unicodedata.normalize("NFC", address.strip()).casefold().encode()).hexdigest()


def recipient_tags(mail: "Mail") -> list[str]:
    """Return the tags of a mail's first recipients, *to* before *cc* before *bcc*, each once."""
    return list(dict.fromkeys(address_tag(each.email) for each in mail.recipients[:_MOST_TAGS]))


def address_tag(address: str) -> str:
    """Return a short form of `address_key`, enough to tell the recipients of one mail apart; empty for none."""
    return address_key(address)[:_TAG] if address else ""
