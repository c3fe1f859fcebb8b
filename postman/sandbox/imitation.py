"""What every imitated provider must be able to say.

Implementations do no I/O and know no faults: a request goes in, an answer comes out, and the listener does the rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from postman.sandbox.answers import Accepted, Answer
from postman.sandbox.faults import Fault, Traffic
from postman.sandbox.mails import SentMail
from postman.sandbox.settings import ProviderName

__all__ = ["EventPost", "Imitation", "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """A request that arrived whole."""

    method: str
    path: str
    """Decoded, without the query."""
    query: Mapping[str, str] = field(default_factory=dict)
    authorization: str = field(default="", repr=False)
    content_type: str = ""
    body: bytes = field(default=b"", repr=False)
    base_url: str = ""
    """The scheme, host and port that the client used."""


@dataclass(frozen=True, slots=True)
class EventPost:
    """A signed request to the customer's webhook."""

    body: bytes
    headers: Mapping[str, str]


class Imitation(Protocol):
    """One provider's manners."""

    name: ProviderName
    body_limit: int
    """Bytes that a request may have."""

    def traffic(self, request: Request) -> Traffic:
        """Say which faults may hit *request*."""
        ...

    def answer(self, request: Request) -> Accepted | Answer:
        """Answer honestly. What is accepted is stored by the caller, and only then answered."""
        ...

    def too_large(self) -> Answer:
        """Answer a request beyond `body_limit`."""
        ...

    def down(self) -> Answer:
        """Answer 503 as this provider does."""
        ...

    def throttled(self, fault: Fault) -> Answer:
        """Answer "too many requests" as this provider does."""
        ...

    def malformed(self) -> Answer:
        """Answer with a status of success and a body that is not this provider's success."""
        ...

    def failed(self, status: int) -> Answer:
        """Answer *status* with this provider's kind of body."""
        ...

    def event_posts(self, mails: Sequence[SentMail]) -> list[EventPost]:
        """Return the signed events of *mails*, most of them in few posts where the provider batches."""
        ...
