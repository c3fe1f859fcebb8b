"""Providers: who takes a mail and delivers it.

An adapter makes one request for one mail, once: it never retries and never
follows a redirect, since a second POST is a second mail. It turns the answer,
or the lack of one, into a `Receipt` or one of the errors below, by a table of
statuses and codes. Certain failure and unknown outcome are different errors:
that line decides whether somebody gets a mail twice.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from postman.core.mail import Mail

__all__ = ["Provider", "Receipt"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that a provider took a mail."""

    provider: str
    message_id: str
    """The provider's own id for it; empty where it gave none."""
    is_recorded: bool = field(default=False, compare=False)
    """Whether what stands between us and the provider has told the ledger already."""


class Provider(Protocol):
    """One account at one provider."""

    @property
    def name(self) -> str:
        """Unique among the providers in use."""
        ...

    @property
    def timeout(self) -> float:
        """Seconds after which `send` gives up by itself, counted from its start to the end of the answer."""
        ...

    @property
    def look_up_after(self) -> float:
        """Seconds after which this provider's "not found" is evidence; 0 where it cannot be asked."""
        ...

    @property
    def idempotent_for(self) -> float:
        """Seconds in which a mail that is sent again makes no second copy, and is answered as the first time.

        Counted from the first `send`; 0 where the provider has no idempotency keys.
        """
        ...

    async def send(self, mail: "Mail", *, timeout: float | None = None) -> Receipt:
        """Hand *mail* over; return its receipt once the provider has said in its own way that it took it.

        Takes at most *timeout* seconds, or the provider's own where that is shorter. The mail carries its id and its
        `Message-ID` in the way that the provider gives back in look-ups and events.

        Raises, certainly not sent: `MailRejectedError`, `RouteRefusedError`, `ThrottledError`, `QuotaExceededError`,
        `CredentialsError`, `ProviderDownError`. May have been sent: `OutcomeUnknownError`; so is cancellation.
        `ClaimLostError` where what stands before the provider knows that the mail is not ours to send any more.
        """
        ...

    async def look_up(self, mail: "Mail") -> Receipt | None:
        """Ask whether the provider has *mail*, by our id.

        A receipt is proof at any time. None is evidence only when `look_up_after` seconds have passed since the mail
        may have been sent. Raises `ProviderError` when it could not be asked; where it can never be, always.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
