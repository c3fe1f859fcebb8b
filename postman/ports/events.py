"""Events: what a provider posts to us about mails that it took.

An adapter proves that a post is its provider's, and reads it. It changes
nothing and knows no ledger. What it cannot read in a genuine post is counted,
not raised, so that one bad event does not cost the others. Verification is of
the bytes as they came, before they are parsed, and in constant time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from postman.core.events import MailEvent

__all__ = ["EventPost", "EventSource"]


@dataclass(frozen=True, slots=True)
class EventPost:
    """What a genuine post tells."""

    events: tuple[MailEvent, ...]
    """In the order of the post. Also those that carry no id of ours."""
    unread: int = 0
    """How many events were damaged or of a kind that does not concern us (opens, clicks)."""
    nonce: str = ""
    """What makes this post unique, where the provider says so: with another body it is a forgery."""


class EventSource(Protocol):
    """The events of one provider."""

    @property
    def name(self) -> str:
        """The provider's."""
        ...

    @property
    def body_limit(self) -> int:
        """Bytes that a post may have; what is longer is not read, so not verified either."""
        ...

    def read(self, headers: Mapping[str, str], body: bytes, *, now: float) -> EventPost:
        """Return what a post tells; *headers* are found without regard to case, *now* is seconds since 1970.

        Raises `ForgedEventError` where it is not proven to be the provider's: no signature, a wrong one, or one so old
        that the provider would not repeat it any more.
        """
        ...
