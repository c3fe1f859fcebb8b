"""What becomes of a delivery, once its mail was dealt with."""

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Ack:
    """Done."""


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Hand it out again, after *delay* seconds."""

    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Put it among the dead letters, then done."""

    reason: DeadReason
    detail: str = ""
    parks: bool = True
    """Whether the ledger is told that the dead letter is durable."""


Verdict = Ack | GiveBack | DeadLetter
