"""What becomes of a delivery whose mail was settled before: what its entry says."""

from postman.core.protocol import Entry, State
from postman.core.shelf import dead_reason_of
from postman.core.verdict import Ack, DeadLetter, Verdict

__all__ = ["verdict_of"]


def verdict_of(entry: Entry) -> Verdict:
    """Return what becomes of another delivery of a mail that is sent, or refused, as *entry* says."""
    if entry.state is State.SENT or entry.parked:
        return Ack()
    return DeadLetter(dead_reason_of(entry), entry.reason, entry.token)
