"""What the ledger knows of a mail: its entry, the right to send it, and the answers to who asks for that right."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from postman.core.events import EventKind
from postman.core.ids import MailId

__all__ = [
    "MOVES",
    "Answer",
    "Claim",
    "Claimed",
    "Conflict",
    "Doubtful",
    "Entry",
    "Happening",
    "Held",
    "Note",
    "Poisonous",
    "Settled",
    "State",
]


class State(StrEnum):
    """What is known of a mail."""

    FREE = "free"
    SENDING = "sending"
    SENT = "sent"
    REFUSED = "refused"
    IN_DOUBT = "in_doubt"


MOVES: Final[Mapping[State | None, frozenset[State]]] = {
    None: frozenset({State.SENDING, State.SENT, State.REFUSED}),
    State.FREE: frozenset({State.FREE, State.SENDING, State.SENT, State.REFUSED}),
    State.SENDING: frozenset({State.SENDING, State.FREE, State.SENT, State.REFUSED, State.IN_DOUBT}),
    State.IN_DOUBT: frozenset({State.IN_DOUBT, State.SENDING, State.FREE, State.SENT}),
    State.REFUSED: frozenset({State.REFUSED, State.FREE, State.SENT, State.SENDING}),
    State.SENT: frozenset({State.SENT}),
}
"""Which state may follow which.

*Refused* is followed by *sending* only where no content was ever bound to the id, *in doubt* only at the same provider,
under the same key.
"""


@dataclass(frozen=True, slots=True)
class Note:
    """One line of a mail's history."""

    at: float
    """Seconds since 1970; the worker's clock on the fast path, so good for reading, not for deciding."""
    event: str
    provider: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Happening:
    """What a provider told of one recipient's copy."""

    at: float
    """Seconds since 1970, by the provider's clock."""
    kind: EventKind
    provider: str
    recipient: str
    """A tag of the address (`address_tag`); empty where the provider did not say whose copy it was."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """The record of one mail. Times are seconds since 1970 on the ledger's clock."""

    state: State
    token: int = 0
    """The fencing number: raised by every claim and take-over."""
    digest: str = ""
    """Of the content this id stands for; empty while no valid content was seen."""
    claim_id: str = ""
    """Which claim made the last change of token; by it a worker recognises its own after a lost reply."""
    provider: str = ""
    """Who holds the mail, or may hold it."""
    since: float = 0.0
    """When the state began."""
    lease_ends: float = 0.0
    """Until when a *sending* entry is its owner's alone."""
    attempts: int = 0
    """How often it was claimed."""
    lapses: int = 0
    """How often its worker's lease ran out, and another took over: the worker died, or stood still."""
    message_id: str = ""
    """The provider's id of a *sent* mail."""
    reason: str = ""
    """Why it was refused or is in doubt."""
    parked: bool = False
    """Whether its dead letter is durable."""
    dropped: bool = False
    """Whether somebody removed its dead letter: nobody waits for anything any more."""
    recipients: tuple[str, ...] = ()
    """Tags of its first twenty recipients (`address_tag`), by which it is found."""
    history: tuple[Note, ...] = field(default=(), repr=False)
    events: tuple[Happening, ...] = field(default=(), repr=False)
    """What became of it at its recipients, as far as its provider tells."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send one mail now."""

    mail_id: MailId
    token: int
    claim_id: str
    provider: str
    attempts: int = 1
    lapses: int = 0
    version: object = field(default=None, compare=False, repr=False)
    """The adapter's own: what it needs for a conditional write without reading first."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Go on and send."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Held:
    """Another worker is sending it, for *seconds* more at the most."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Settled:
    """It was sent or refused before."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Doubtful:
    """It may have been sent, *age* seconds ago: ask for evidence."""

    entry: Entry
    age: float


@dataclass(frozen=True, slots=True)
class Conflict:
    """The id stands for another content."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Poisonous:
    """Too many workers ended while they had it: do not send it."""

    entry: Entry


Answer = Claimed | Held | Settled | Doubtful | Conflict | Poisonous
