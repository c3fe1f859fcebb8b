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
in_doubt --its key is repeated(token+1), at the same provider--> sending
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

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from postman.core.entry import (
    MOVES,
    Answer,
    Claim,
    Claimed,
    Conflict,
    Doubtful,
    Entry,
    Happening,
    Held,
    Note,
    Poisonous,
    Settled,
    State,
)
from postman.core.events import EventKind, MailEvent, address_tag
from postman.core.ids import MailId
from postman.errors import ClaimLostError

__all__ = [
    "MOST_LAPSES",
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
    "Step",
    "claim",
    "clear_doubt",
    "doubt",
    "drop",
    "happened",
    "move",
    "park",
    "refuse",
    "refuse_unclaimed",
    "release",
    "reopen",
    "repeat",
    "sent",
]

_T_co = TypeVar("_T_co", covariant=True)

MOST_LAPSES: Final = 2
"""A mail that lay with so many workers when they ended is not sent again: the third would follow them."""

_MAX_NOTES: Final = 50
_MAX_EVENTS: Final = 200


@dataclass(frozen=True, slots=True)
class Step(Generic[_T_co]):
    """The entry as it shall be, and what to tell the caller. *entry* is the given one where nothing changes."""

    entry: Entry | None
    answer: _T_co


def claim(
    entry: Entry | None,
    now: float,
    *,
    mail_id: MailId,
    digest: str,
    claim_id: str,
    provider: str,
    lease: float,
    recipients: Sequence[str] = (),
) -> Step[Answer]:
    """Take the right to send, naming the provider that may hold the mail from now on."""
    if entry is None:
        entry = Entry(State.FREE)
    if entry.claim_id == claim_id and entry.state is State.SENDING:
        return Step(entry, Claimed(_claim_of(entry, mail_id)))
    if entry.digest and entry.digest != digest:
        return Step(entry, Conflict(entry))
    told = replace(entry, recipients=tuple(recipients)) if recipients else entry
    return _answer_to(entry, now, claim_id) or _grant(
        told, now, mail_id=mail_id, digest=digest, claim_id=claim_id, provider=provider, lease=lease
    )


def move(entry: Entry | None, now: float, *, claim: Claim, provider: str) -> Step[Claim]:
    """Name the next provider; the one named before, by *claim*, certainly does not hold the mail.

    A move that arrives again when a later one was made is outdated: it would name the earlier provider anew.
    """
    current = _current(entry, claim)
    if current.provider == provider:
        return Step(current, replace(claim, provider=provider))
    if current.provider != claim.provider:
        raise ClaimLostError("the mail was moved on to another provider since")
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


def doubt(entry: Entry | None, now: float, *, claim: Claim, reason: str, since: float | None = None) -> Step[None]:
    """Record that the provider may have taken it: at the latest now, or at *since*, if nothing arrived after that."""
    if entry is not None and entry.token == claim.token and entry.state in (State.IN_DOUBT, State.SENT):
        return Step(entry, None)
    current = _current(entry, claim)
    note = Note(now, "in doubt", current.provider, reason)
    doubtful = _moved(current, State.IN_DOUBT, now, note, reason=reason, lease_ends=0.0, parked=False)
    return Step(doubtful if since is None else replace(doubtful, since=min(since, now)), None)


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


def happened(entry: Entry | None, now: float, *, event: MailEvent) -> Step[Entry | None]:
    """Note what a provider tells of a mail that it was given; its word is proof that it took it.

    Of a mail that is not known, or was never that provider's, nothing is noted and None is the answer: an id of
    somebody else's, who shares the account. Told again, in any order, it changes nothing more.
    """
    if entry is None or not _was_at(entry, event.provider):
        return Step(entry, None)
    proof = sent(entry, now, provider=event.provider, message_id=event.message_id, evidence=f"its event: {event.kind}")
    changed = _with_event(proof.entry or entry, event)
    return Step(changed, changed)


def clear_doubt(entry: Entry | None, now: float, *, token: int, reason: str) -> Step[None]:
    """Free a mail that was in doubt, after evidence of absence or by its owner's choice."""
    if entry is not None and entry.state is State.FREE and entry.token == token:
        return Step(entry, None)
    if entry is None or entry.state is not State.IN_DOUBT or entry.token != token:
        raise ClaimLostError("the doubt was settled, or renewed, by another")
    note = Note(now, "doubt cleared", entry.provider, reason)
    return Step(_moved(entry, State.FREE, now, note, provider="", reason="", parked=False), None)


def repeat(entry: Entry | None, now: float, *, mail_id: MailId, token: int, claim_id: str, lease: float) -> Step[Claim]:
    """Take the right to send a doubtful mail again at the same provider, which recognises its key.

    Only for the doubt with *token*, and not where two workers ended with the mail. Until the provider has answered, the
    mail may have been sent by this time too: a doubt that follows is a new one.
    """
    if entry is not None and entry.state is State.SENDING and entry.claim_id == claim_id:
        return Step(entry, _claim_of(entry, mail_id))
    if entry is None or entry.state is not State.IN_DOUBT or entry.token != token or entry.lapses >= MOST_LAPSES:
        raise ClaimLostError("the doubt was settled, or renewed, by another")
    taken = _moved(
        entry,
        State.SENDING,
        now,
        Note(now, "key repeated", entry.provider),
        token=entry.token + 1,
        claim_id=claim_id,
        lease_ends=now + lease,
        attempts=entry.attempts + 1,
        reason="",
        parked=False,
    )
    return Step(taken, _claim_of(taken, mail_id))


def refuse_unclaimed(
    entry: Entry | None, now: float, *, digest: str, reason: str, recipients: Sequence[str] = ()
) -> Step[Entry]:
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
    told = replace(entry, recipients=tuple(recipients)) if recipients else entry
    refused = _moved(told, State.REFUSED, now, note, reason=reason, digest=entry.digest or digest, parked=False)
    return Step(refused, refused)


def park(entry: Entry | None, now: float, *, token: int) -> Step[None]:
    """Record that the dead letter of a refused or doubtful mail is durable.

    One of an earlier *token* is another's: since then the mail was reopened, and has no dead letter of its own yet.
    Where an earlier letter was dropped before this one was durable, it waits for a person again.
    """
    if entry is None or entry.parked or entry.token != token or entry.state not in (State.REFUSED, State.IN_DOUBT):
        return Step(entry, None)
    return Step(replace(entry, parked=True, dropped=False, history=_noted(entry, Note(now, "dead-lettered"))), None)


def drop(entry: Entry | None, now: float, *, reason: str) -> Step[None]:
    """Record that somebody removed the mail's dead letter; of one that is not dead nothing is recorded."""
    is_dead = entry is not None and (entry.state is State.REFUSED or (entry.state is State.IN_DOUBT and entry.parked))
    if entry is None or not is_dead or entry.dropped:
        return Step(entry, None)
    return Step(replace(entry, dropped=True, history=_noted(entry, Note(now, "dropped", "", reason))), None)


def reopen(entry: Entry | None, now: float, *, reason: str) -> Step[Entry | None]:
    """Let a dead letter be sent again, by an operator's decision. Any state but these two stays, and is the answer."""
    if entry is None or not (entry.state is State.REFUSED or (entry.state is State.IN_DOUBT and entry.parked)):
        return Step(entry, entry)
    note = Note(now, "reopened", "", reason)
    free = _moved(entry, State.FREE, now, note, token=entry.token + 1, provider="", reason="", parked=False, lapses=0)
    return Step(free, free)


def _answer_to(entry: Entry, now: float, claim_id: str) -> Step[Answer] | None:
    """Return why the mail cannot be claimed; None where it can."""
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
        case State.FREE if entry.claim_id == claim_id:
            return Step(entry, Held(0.0))  # it arrives when its claim is over: nobody would know of the right
        case State.FREE | State.REFUSED if entry.lapses >= MOST_LAPSES:
            return Step(entry, Poisonous(entry))
        case State.FREE | State.REFUSED:
            return None


def _grant(
    entry: Entry, now: float, *, mail_id: MailId, digest: str, claim_id: str, provider: str, lease: float
) -> Step[Answer]:
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


def _accepted_again(entry: Entry, now: float, provider: str, message_id: str) -> Entry:
    """Note a second copy; a receipt that comes again, or says less or more than the first, is none."""
    if entry.provider == provider and not entry.message_id:
        return replace(entry, message_id=message_id) if message_id else entry
    is_known = entry.provider == provider and message_id in ("", entry.message_id)
    again = Note(now, "accepted again", provider, message_id)
    if is_known or any(replace(note, at=now) == again for note in entry.history):
        return entry
    return replace(entry, history=_noted(entry, again))


def _was_at(entry: Entry, provider: str) -> bool:
    return entry.provider == provider or any(note.provider == provider for note in entry.history)


def _with_event(entry: Entry, event: MailEvent) -> Entry:
    """Keep each kind of event once for each recipient; where there is no room, deliveries go first."""
    if event.kind in (EventKind.ACCEPTED, EventKind.DEFERRED):
        return entry
    new = Happening(event.at, event.kind, event.provider, address_tag(event.recipient), event.detail)
    if any(_is_same(new, known) for known in entry.events):
        return entry
    events = entry.events
    if len(events) >= _MAX_EVENTS:
        bad = tuple(known for known in events if known.kind is not EventKind.DELIVERED)
        if new.kind is EventKind.DELIVERED or len(bad) >= _MAX_EVENTS:
            return entry
        events = bad
    return replace(entry, events=(*events, new))


def _is_same(one: Happening, other: Happening) -> bool:
    return (one.kind, one.provider, one.recipient) == (other.kind, other.provider, other.recipient)


def _is_same_worker(claim_id: str, other: str) -> bool:
    """Whether two claims are of one process, as their ids tell: what stands before a full stop is the worker's."""
    worker, _, number = claim_id.partition(".")
    return bool(number) and other.startswith(f"{worker}.")


def _take_over(entry: Entry, now: float, claim_id: str) -> Step[Answer]:
    note = Note(now, "in doubt", entry.provider, "its worker's lease ran out")
    taken = _moved(
        entry,
        State.IN_DOUBT,
        now,
        note,
        token=entry.token + 1,
        claim_id=claim_id,
        lapses=entry.lapses + (0 if _is_same_worker(entry.claim_id, claim_id) else 1),
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
    return Claim(mail_id, entry.token, entry.claim_id, entry.provider, entry.attempts, entry.lapses)


def _moved(entry: Entry, state: State, now: float, note: Note, **changes: object) -> Entry:
    if state not in MOVES[entry.state]:
        raise ClaimLostError(f"a mail that is {entry.state} cannot become {state}")
    entry = replace(entry, dropped=False)
    return replace(entry, state=state, since=now, history=_noted(entry, note), **changes)  # type: ignore[arg-type]


def _noted(entry: Entry, note: Note) -> tuple[Note, ...]:
    if len(entry.history) < _MAX_NOTES:
        return (*entry.history, note)
    return (*entry.history[:5], *entry.history[6:], note)
