"""Addresses that get no more mail: because one bounced for good, or was complained about, or a person says so."""

from dataclasses import dataclass
from enum import StrEnum

from postman.core.events import EventKind, MailEvent, address_key

__all__ = ["Suppression", "SuppressionReason", "suppression_of"]


class SuppressionReason(StrEnum):
    """Why an address is on the list."""

    BOUNCED = "bounced"
    """Its server said that there is no such address: a hard bounce."""
    COMPLAINED = "complained"
    """Its owner called a mail spam."""
    ADDED = "added"
    """A person put it there."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """One address, which it does not tell. Times in seconds since 1970."""

    key: str
    """`address_key` of the address."""
    reason: SuppressionReason
    since: float
    expires_at: float | None = None
    """When it ends by itself; None: never."""
    provider: str = ""
    mail_id: str = ""
    """Which mail bounced, or was complained about; empty where a person added it."""
    detail: str = ""
    """Why, in the provider's or the person's words, without addresses."""
    is_lifted: bool = False
    """Whether a person took it off the list; kept for a while, so that all workers hear of it."""

    def holds_at(self, now: float) -> bool:
        """Whether mails to the address are refused at *now*."""
        return not self.is_lifted and (self.expires_at is None or now < self.expires_at)


def suppression_of(event: MailEvent, now: float, *, kept_for: float) -> Suppression | None:
    """Return what *event*, told at *now*, puts on the list; None for nothing.

    It counts from when it happened, so that a bounce that is told again does not undo what a person lifted meanwhile. A
    bounce holds for *kept_for* seconds (0: for ever), since a mailbox may be used anew; a complaint is its owner's will
    and holds for ever.
    """
    reason = _reason(event)
    if reason is None or not event.recipient:
        return None
    since = min(event.at, now)
    expires_at = since + kept_for if kept_for and reason is SuppressionReason.BOUNCED else None
    return Suppression(
        address_key(event.recipient), reason, since, expires_at, event.provider, event.mail_id, event.detail
    )


def _reason(event: MailEvent) -> SuppressionReason | None:
    if event.kind is EventKind.COMPLAINED:
        return SuppressionReason.COMPLAINED
    if event.kind is EventKind.BOUNCED and event.is_permanent:
        return SuppressionReason.BOUNCED
    return None
