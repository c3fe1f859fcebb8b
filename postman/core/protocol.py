"""What the ledger knows of a mail, and who may change it: pure functions over entries.

Every ledger adapter runs these functions inside its own atomic step (a
transaction, a conditional write), so that all of them obey one protocol, and a
test can walk through every interleaving of workers, crashes and lapsed leases.

```
absent | free --claim(token+1)--> sending --sent--> sent            any token: a receipt is a fact, also a late one
                                  sending --release--> free          only with the current token
                                  sending --refuse--> refused        only with the current token
                                  sending --outcome unknown--> in_doubt
                                  sending --lease over, claimed by another (token+1)--> in_doubt
in_doubt --evidence--> sent       in_doubt --absence, or the owner's choice--> free
refused | in_doubt (parked) --an operator's replay(token+1)--> free
```

Each function takes the entry as it is (None where there is none) and the time
on the ledger's own clock, and returns a `Step`: the entry as it shall be, and
the answer. Each may be run again after its reply was lost: it then recognises
what it did, by the claim's id and token, and answers the same.

Late evidence of acceptance always counts, late evidence of refusal never
un-parks a doubt: a worker that was paused must not free a mail that another
worker has put in doubt.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Generic, TypeVar

from postman.core.ids import MailId
from postman.errors import ClaimLostError

__all__ = [
    "MOVES",
    "Answer",
    "Claim",
    "Claimed",
    "Conflict",
    "Doubtful",
    "Entry",
    "Held",
    "Note",
    "Settled",
    "State",
    "Step",
    "claim",
    "clear_doubt",
    "doubt",
    "move",
    "park",
    "refuse",
    "refuse_unclaimed",
    "release",
    "reopen",
    "sent",
]

_T_co = TypeVar("_T_co", covariant=True)

_MAX_NOTES: Final = 50


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
    State.IN_DOUBT: frozenset({State.IN_DOUBT, State.FREE, State.SENT}),
    State.REFUSED: frozenset({State.REFUSED, State.FREE, State.SENT, State.SENDING}),
    State.SENT: frozenset({State.SENT}),
}
"""Which state may follow which. *Refused* is followed by *sending* only where no content was ever bound to the id."""


@dataclass(frozen=True, slots=True)
class Note:
    """One line of a mail's history."""

    at: float
    """Seconds since 1970; the worker's clock on the fast path, so good for reading, not for deciding."""
    event: str
    provider: str = ""
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
    message_id: str = ""
    """The provider's id of a *sent* mail."""
    reason: str = ""
    """Why it was refused or is in doubt."""
    parked: bool = False
    """Whether its dead letter is durable."""
    history: tuple[Note, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send one mail now."""

    mail_id: MailId
    token: int
    claim_id: str
    provider: str
    attempts: int = 1
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


Answer = Claimed | Held | Settled | Doubtful | Conflict


@dataclass(frozen=True, slots=True)
class Step(Generic[_T_co]):
    """The entry as it shall be, and what to tell the caller. *entry* is the given one where nothing changes."""

    entry: Entry | None
    answer: _T_co


def claim(
    entry: Entry | None, now: float, *, mail_id: MailId, digest: str, claim_id: str, provider: str, lease: float
) -> Step[Answer]:
    """Take the right to send, naming the provider that may hold the mail from now on."""
    if entry is None:
        entry = Entry(State.FREE)
    if entry.claim_id == claim_id and entry.state is State.SENDING:
        return Step(entry, Claimed(_claim_of(entry, mail_id)))
    if entry.digest and entry.digest != digest:
        return Step(entry, Conflict(entry))
    match entry.state:
        case State.SENT:
            return Step(entry, Settled(entry))
        case State.REFUSED if entry.digest:
            return Step(entry, Settled(entry))
        case State.IN_DOUBT:
            return Step(entry, Doubtful(entry, max(0.0, now - entry.since)))
        case State.SENDING if entry.lease_ends > now:
            return Step(entry, Held(entry.lease_ends - now))
        case State.SENDING:
            return _take_over(entry, now, claim_id)
        case State.FREE | State.REFUSED:
            taken = _moved(
                entry,
                State.SENDING,
                now,
                Note(now, "claimed", provider),
                token=entry.token + 1,
                digest=digest,
                claim_id=claim_id,
                provider=provider,
                lease_ends=now + lease,
                attempts=entry.attempts + 1,
                reason="",
                parked=False,
            )
            return Step(taken, Claimed(_claim_of(taken, mail_id)))


def move(entry: Entry | None, now: float, *, claim: Claim, provider: str) -> Step[Claim]:
    """Name the next provider; the one named before certainly does not hold the mail."""
    current = _current(entry, claim)
    if current.provider == provider:
        return Step(current, replace(claim, provider=provider))
    note = Note(now, "failed over", provider, f"from {current.provider}")
    moved = replace(current, provider=provider, history=_noted(current, note))
    return Step(moved, replace(claim, provider=provider))


def release(entry: Entry | None, now: float, *, claim: Claim, reason: str) -> Step[None]:
    """Give the right back: certainly not sent."""
    if entry is not None and entry.state is State.FREE and entry.token == claim.token:
        return Step(entry, None)
    current = _current(entry, claim)
    note = Note(now, "released", current.provider, reason)
    return Step(_moved(current, State.FREE, now, note, provider="", lease_ends=0.0), None)


def refuse(entry: Entry | None, now: float, *, claim: Claim, reason: str) -> Step[None]:
    """Record that the mail will not be sent, for its own fault."""
    if entry is not None and entry.state is State.REFUSED and entry.token == claim.token:
        return Step(entry, None)
    current = _current(entry, claim)
    note = Note(now, "refused", current.provider, reason)
    return Step(_moved(current, State.REFUSED, now, note, reason=reason, lease_ends=0.0, parked=False), None)


def doubt(entry: Entry | None, now: float, *, claim: Claim, reason: str) -> Step[None]:
    """Record that the provider may have taken it."""
    if entry is not None and entry.token == claim.token and entry.state in (State.IN_DOUBT, State.SENT):
        return Step(entry, None)
    current = _current(entry, claim)
    note = Note(now, "in doubt", current.provider, reason)
    return Step(_moved(current, State.IN_DOUBT, now, note, reason=reason, lease_ends=0.0, parked=False), None)


def sent(entry: Entry | None, now: float, *, provider: str, message_id: str, evidence: str) -> Step[None]:
    """Record an acceptance. It is a fact whoever brings it and however late; a second one is kept in the history."""
    if entry is None:
        entry = Entry(State.FREE)
    if entry.state is State.SENT:
        return Step(_accepted_again(entry, now, provider, message_id), None)
    note = Note(now, "sent", provider, evidence)
    changed = _moved(
        entry, State.SENT, now, note, provider=provider, message_id=message_id, reason="", lease_ends=0.0, parked=False
    )
    return Step(changed, None)


def clear_doubt(entry: Entry | None, now: float, *, token: int, reason: str) -> Step[None]:
    """Free a mail that was in doubt, after evidence of absence or by its owner's choice."""
    if entry is not None and entry.state is State.FREE and entry.token == token:
        return Step(entry, None)
    if entry is None or entry.state is not State.IN_DOUBT or entry.token != token:
        raise ClaimLostError("the doubt was settled, or renewed, by another")
    note = Note(now, "doubt cleared", entry.provider, reason)
    return Step(_moved(entry, State.FREE, now, note, provider="", reason="", parked=False), None)


def refuse_unclaimed(entry: Entry | None, now: float, *, digest: str, reason: str) -> Step[Entry]:
    """Refuse a mail that nobody is sending (undecodable, expired); any other state stays, and is the answer.

    With an empty *digest* no content is bound to the id: a valid mail with this id is still sent. A mail of another
    content than the one refused stays as it is.
    """
    if entry is None:
        entry = Entry(State.FREE, digest=digest)
    is_unbound = entry.state is State.REFUSED and not entry.digest and bool(digest)
    is_other = bool(entry.digest) and entry.digest != digest
    if is_other or (entry.state is not State.FREE and not is_unbound):
        return Step(entry, entry)
    note = Note(now, "refused", "", reason)
    refused = _moved(entry, State.REFUSED, now, note, reason=reason, digest=entry.digest or digest, parked=False)
    return Step(refused, refused)


def park(entry: Entry | None, now: float) -> Step[None]:
    """Record that the dead letter of a refused or doubtful mail is durable."""
    if entry is None or entry.parked or entry.state not in (State.REFUSED, State.IN_DOUBT):
        return Step(entry, None)
    return Step(replace(entry, parked=True, history=_noted(entry, Note(now, "dead-lettered"))), None)


def reopen(entry: Entry | None, now: float, *, reason: str) -> Step[Entry | None]:
    """Let a dead letter be sent again, by an operator's decision. Any state but these two stays, and is the answer."""
    if entry is None or not (entry.state is State.REFUSED or (entry.state is State.IN_DOUBT and entry.parked)):
        return Step(entry, entry)
    note = Note(now, "reopened", "", reason)
    free = _moved(entry, State.FREE, now, note, token=entry.token + 1, provider="", reason="", parked=False)
    return Step(free, free)


def _accepted_again(entry: Entry, now: float, provider: str, message_id: str) -> Entry:
    """Note a second copy; a receipt that comes again, or says less than the first, is none."""
    is_known = entry.provider == provider and message_id in ("", entry.message_id)
    again = Note(now, "accepted again", provider, message_id)
    if is_known or any(replace(note, at=now) == again for note in entry.history):
        return entry
    return replace(entry, history=_noted(entry, again))


def _take_over(entry: Entry, now: float, claim_id: str) -> Step[Answer]:
    note = Note(now, "in doubt", entry.provider, "its worker's lease ran out")
    taken = _moved(
        entry,
        State.IN_DOUBT,
        now,
        note,
        token=entry.token + 1,
        claim_id=claim_id,
        reason="its worker's lease ran out",
        lease_ends=0.0,
        parked=False,
    )
    return Step(taken, Doubtful(taken, 0.0))


def _current(entry: Entry | None, claim: Claim) -> Entry:
    if entry is None or entry.state is not State.SENDING or entry.token != claim.token:
        raise ClaimLostError("the claim was taken over by another worker")
    return entry


def _claim_of(entry: Entry, mail_id: MailId) -> Claim:
    return Claim(mail_id, entry.token, entry.claim_id, entry.provider, entry.attempts)


def _moved(entry: Entry, state: State, now: float, note: Note, **changes: object) -> Entry:
    if state not in MOVES[entry.state]:
        raise ClaimLostError(f"a mail that is {entry.state} cannot become {state}")
    return replace(entry, state=state, since=now, history=_noted(entry, note), **changes)  # type: ignore[arg-type]


def _noted(entry: Entry, note: Note) -> tuple[Note, ...]:
    if len(entry.history) < _MAX_NOTES:
        return (*entry.history, note)
    return (*entry.history[:5], *entry.history[6:], note)
