"""The judge: the providers' own log of what they accepted, against the ledger and the dead letters.

It asks nobody who took part. What a provider accepted is a fact; what the ledger and the dead letters say must agree
with it, mail by mail, and every second copy must be one that the ledger's history expects.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from postman.core.message import Message
from postman.core.protocol import Entry, State

__all__ = ["DOUBT", "Accepted", "Breach", "Evidence", "Letter", "breaches", "events_of", "history_of", "is_over"]

DOUBT: Final = "in doubt"


@dataclass(frozen=True, slots=True)
class Accepted:
    """One mail in a provider's log."""

    mail_id: str
    provider: str
    message_id: str


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter."""

    mail_id: str
    reason: str
    data: bytes = field(repr=False)
    at: float = 0.0
    """When a worker set out to publish it, in seconds since 1970."""

    @classmethod
    def of(cls, message: Message) -> "Letter":
        """Read what a worker wrote."""
        attributes = message.attributes
        return cls(attributes["mail_id"], attributes["dead_reason"], message.data, float(attributes["dead_at"]))


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known after a run."""

    published: Mapping[str, bytes] = field(repr=False)
    """The bytes of every mail whose publishing succeeded, by its id."""
    entries: Mapping[str, Entry] = field(repr=False)
    accepted: Sequence[Accepted] = field(repr=False)
    letters: Sequence[Letter] = field(repr=False)

    @property
    def copies(self) -> Counter[str]:
        """How often each mail was accepted."""
        return Counter(each.mail_id for each in self.accepted)

    @property
    def doubled(self) -> list[str]:
        return [mail_id for mail_id, count in self.copies.items() if count > 1]


@dataclass(frozen=True, slots=True)
class Breach:
    """A promise that was not kept."""

    mail_id: str
    problem: str
    history: Sequence[str] = ()


def breaches(evidence: Evidence, *, may_double: bool) -> list[Breach]:
    """Return every promise that was not kept; a second copy that a doubt explains is none where it *may* be."""
    found = list(_strangers(evidence))
    accepted: dict[str, list[Accepted]] = defaultdict(list)
    letters: dict[str, list[Letter]] = defaultdict(list)
    for taken in evidence.accepted:
        accepted[taken.mail_id].append(taken)
    for letter in evidence.letters:
        letters[letter.mail_id].append(letter)
    for mail_id, data in evidence.published.items():
        entry = evidence.entries.get(mail_id)
        problems = [
            *_of_the_end(entry, accepted[mail_id], letters[mail_id], data),
            *_of_copies(entry, len(accepted[mail_id]), may_double=may_double),
        ]
        found.extend(Breach(mail_id, problem, history_of(entry)) for problem in problems)
    return found


def is_over(entry: Entry | None) -> bool:
    """Whether no worker will touch the mail again."""
    return entry is not None and (entry.state is State.SENT or entry.parked)


def events_of(entry: Entry) -> tuple[str, ...]:
    """Return what happened to a mail, in order, without the circumstances."""
    return tuple(note.event for note in entry.history)


def history_of(entry: Entry | None) -> list[str]:
    """Return the lines of the mail's history as a person reads them."""
    return [] if entry is None else [f"{n.at:.3f} {n.event} {n.provider} {n.detail}".rstrip() for n in entry.history]


def _strangers(evidence: Evidence) -> Iterable[Breach]:
    for mail_id in {each.mail_id for each in evidence.accepted} - evidence.published.keys():
        yield Breach(mail_id, "a provider has a mail that nobody published")


def _of_the_end(
    entry: Entry | None, accepted: Sequence[Accepted], letters: Sequence[Letter], data: bytes
) -> Iterable[str]:
    if entry is None or not is_over(entry):
        yield "lost: it is neither sent nor dead-lettered" if not accepted else "accepted, and not recorded"
        return
    if entry.state is State.SENT:
        yield from _of_the_receipt(entry, accepted)
        return
    if not letters:
        yield "lost: recorded as dead-lettered, and there is no dead letter"
    if any(letter.data != data for letter in letters):
        yield "its dead letter has other bytes"
    if entry.state is State.REFUSED and accepted:
        yield "recorded as refused, and a provider has it"


def _of_the_receipt(entry: Entry, accepted: Sequence[Accepted]) -> Iterable[str]:
    if not accepted:
        yield "recorded as sent, and no provider has it"
    elif not any(_is_receipt(entry, each) for each in accepted):
        yield "recorded as sent with a receipt that no provider gave"


def _is_receipt(entry: Entry, accepted: Accepted) -> bool:
    given, known = accepted.message_id.strip("<>"), entry.message_id.strip("<>")
    return entry.provider == accepted.provider and (not known or given in (known, known.partition(".")[0]))


def _of_copies(entry: Entry | None, copies: int, *, may_double: bool) -> Iterable[str]:
    if copies < 2:
        return
    doubts = 0 if entry is None else events_of(entry).count(DOUBT)
    if not may_double:
        yield f"doubled: accepted {copies} times"
    elif copies > 1 + doubts:
        yield f"doubled without a doubt in its history: accepted {copies} times, {doubts} doubts"
