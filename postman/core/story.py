"""A mail's story: what was done with it, and what its providers told, in order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from postman.core.entry import Entry, Happening, Note, State

__all__ = ["Line", "evidence_of", "story_of"]


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened."""

    at: float
    """Seconds since 1970; by the clock of who noted it, so neighbours may be out of order by a little."""
    what: str
    provider: str
    detail: str
    recipient: str = ""
    """A tag that tells the recipients of one mail apart; empty where it concerns them all."""


def story_of(entry: Entry) -> Sequence[Line]:
    """Return all that is known: the ledger's notes in their order, each provider's word before the first later note."""
    return list(_merged(entry.history, sorted(entry.events, key=lambda event: event.at)))


def evidence_of(entry: Entry) -> str:
    """Return what proves that a *sent* mail was accepted; empty for any other."""
    if entry.state is not State.SENT:
        return ""
    proofs = (note.detail for note in entry.history if note.event == "sent")
    return next(proofs, "")


def _merged(notes: Sequence[Note], events: Sequence[Happening]) -> Iterator[Line]:
    left = list(events)
    for note in notes:
        while left and left[0].at < note.at:
            yield _told(left.pop(0))
        yield Line(note.at, note.event, note.provider, note.detail)
    yield from map(_told, left)


def _told(event: Happening) -> Line:
    return Line(event.at, str(event.kind), event.provider, event.detail, event.recipient)
