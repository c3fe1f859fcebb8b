"""What becomes of a delivery, once its mail was dealt with."""

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Ack", "DeadLetter", "DeadReason", "GiveBack", "Verdict"]


class DeadReason(StrEnum):
    """Why a mail lies among the dead letters."""

    MALFORMED = "malformed"
    """It cannot be decoded."""
    CONFLICT = "conflict"
    """Its id stands for another content."""
    EXPIRED = "expired"
    """Its `expires_at` passed before a provider took it."""
    REFUSED = "refused"
    """A provider refused it for what it is, or every provider refused its sender."""
    IN_DOUBT = "in_doubt"
    """It may have been sent, and its owner chose `hold`."""
    POISON = "poison"
    """Two workers ended while they had it, or it cannot be read without harm."""
    SUPPRESSED = "suppressed"
    """One of its recipients is on the suppression list: an earlier mail bounced, or was complained about."""


@dataclass(frozen=True, slots=True)
class Ack:
    """Done."""

    by: str = field(default="", compare=False)
    """The provider that took the mail, as is known since this delivery; empty: it was done with before."""
    due: float = field(default=0.0, compare=False)
    """When its owner wanted it to be sent, in seconds since 1970; 0: at once."""


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Hand it out again, after *delay* seconds."""

    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Put it among the dead letters, then done."""

    reason: DeadReason
    detail: str = ""
    token: int | None = None
    """Of the entry whose letter it is: the ledger is told when it is durable. None where it is no entry's."""
    by: str = field(default="", compare=False)
    """The provider that refused it now; empty: none did, or one did before."""


Verdict = Ack | GiveBack | DeadLetter
