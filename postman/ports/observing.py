"""Observing: a provider as the proxy that stands before it sees it, and what proxy and workers say to each other.

A worker may send through a proxy that records each acceptance itself before it
answers. The proxy opens no mail and holds no key. All that it must know of a
provider is where it is, which requests it takes, what an acceptance looks like,
and how to say it once more from the record.

A worker names the mail and its patience in two headers. Each answer of the
proxy carries `OUTCOME`; an answer without it is of something that stands in
between, and proves nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from postman.ports.provider import Receipt

__all__ = [
    "MAIL_ID",
    "OUTCOME",
    "OWN_HEADERS",
    "PATIENCE",
    "Answered",
    "ObservedProvider",
    "Outcome",
    "Passage",
    "Traffic",
]

OWN_HEADERS: Final = "postman-"
"""So begin the names, in lower case, of what is between a worker and the proxy only."""

MAIL_ID: Final = "postman-mail-id"
"""On a request that sends a mail: its id, percent-encoded."""

PATIENCE: Final = "postman-patience"
"""On a request that sends a mail: the seconds for which its worker waits for an answer."""

OUTCOME: Final = "postman-outcome"
"""On every answer of the proxy: an `Outcome`."""


class Outcome(StrEnum):
    """What became of a request."""

    RECORDED = "recorded"
    """The provider took the mail, now or before, and the ledger knows it. The answer is in the provider's own form."""
    ANSWERED = "answered"
    """The provider said something else: the answer is its own, unchanged."""
    DOWN = "down"
    """Certainly not sent: the provider refused the connection."""
    UNREACHABLE = "unreachable"
    """Certainly not sent: no connection to the provider came about."""
    UNKNOWN = "unknown"
    """It may have been sent: the provider gave no whole answer."""
    OUTDATED = "outdated"
    """Certainly not sent: by the ledger, this mail is not to be sent to this provider now."""
    UNAVAILABLE = "unavailable"
    """Certainly not sent: the proxy cannot read the ledger, is stopping, or has no time left."""
    REFUSED = "refused"
    """Certainly not sent: the proxy lets no such request through."""


class Traffic(StrEnum):
    """What a request is for."""

    SEND = "send"
    LOOK_UP = "look-up"


@dataclass(frozen=True, slots=True)
class Passage:
    """A whole request on its way to a provider."""

    method: str
    path: str
    """As the provider knows it, without its query."""
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """By names in lower case; of the connection's own there are none. They hold the key."""
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Answered:
    """A provider's whole answer."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Found without regard to case."""
    body: bytes = field(default=b"", repr=False)


class ObservedProvider(Protocol):
    """One account at one provider, without its key."""

    @property
    def name(self) -> str:
        """As in the providers' document."""
        ...

    @property
    def timeout(self) -> float:
        """Seconds that a request may take."""
        ...

    def traffic(self, method: str, path: str) -> Traffic | None:
        """Return what such a request is for; None where nothing of the kind is passed on."""
        ...

    async def forward(self, passage: Passage, *, timeout: float) -> Answered:
        """Make the request once, within *timeout* seconds; return the provider's whole answer, whatever it is.

        Raises `ProviderDownError` or `ProviderUnreachableError` where the provider has certainly not read it, else
        `OutcomeUnknownError`. Never follows a redirect.
        """
        ...

    def receipt_of(self, answer: Answered) -> Receipt | None:
        """Return the receipt that *answer* to a request that sends a mail is; None where it is no acceptance."""
        ...

    def acceptance(self, receipt: Receipt) -> Answered:
        """Return what the provider answers when it takes a mail: `receipt_of` it equals *receipt*."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
