"""Rare branches that a campaign must have reached: what never happened was not tested."""

from collections import Counter
from typing import Final

__all__ = ["BRANCHES", "ENOUGH", "RARE", "missing"]

ENOUGH: Final = 500
"""So many seeds must have reached each of `BRANCHES`."""
_MANY: Final = 10_000
"""So many also each of `RARE`."""

BRANCHES: Final = (
    "a breaker opened",
    "a change of the layout",
    "a claim whose reply was lost was recognised",
    "a doubtful mail was replayed",
    "a good mail among bad ones",
    "a lease at the queue ran out",
    "a look-up failed",
    "a mail was claimed again",
    "a poison mail crashed its worker",
    "a refused mail was replayed",
    "a repeated key was recognised",
    "a replay",
    "a replay was broken off",
    "a request was cut short by a drain",
    "a second copy, as its owner chose",
    "acked by another than who sent it",
    "an event came twice",
    "an idempotency key was repeated",
    "cleared: its owner chose resend",
    "cleared: nobody gave an answer that decides",
    "cleared: the provider does not have it",
    "crash",
    "dead letter: conflict",
    "dead letter: expired",
    "dead letter: in_doubt",
    "dead letter: malformed",
    "dead letter: poison",
    "dead letter: refused",
    "drained in peace",
    "failed over",
    "handed out before the lease was over",
    "ledger echo",
    "ledger late",
    "ledger muted",
    "ledger twice",
    "moved to another shard",
    "one message became two",
    "pause",
    "provider broken",
    "provider credentials",
    "provider deaf",
    "provider late",
    "provider mute",
    "provider quota",
    "queue dropped",
    "queue late",
    "sent from in_doubt by its event: bounced",
    "sent from in_doubt by look-up",
    "sent from sending by answer",
    "sent from sending by its event: accepted",
    "sent from sending by repeated key",
    "stop",
    "taken over from the dead",
    "taken over from the living",
    "taken over from who stands still",
    "too late: clear_doubt",
    "too late: move",
    "too late: record_doubt",
    "too late: release",
    "too late: repeat",
)
RARE: Final = (
    "an innocent mail was taken for poison",
    "cleared: it expires before there can be evidence",
    "sent by evidence while its worker was about to send",
    "sent from free by its event: delivered",
    "sent from in_doubt by answer",
    "sent from in_doubt by repeated key",
    "sent from refused by its event: delivered",
    "too late: record_refused",
)


def missing(marks: Counter[str], seeds: int) -> list[str]:
    """Return what a campaign of so many *seeds* should have reached, and did not."""
    wanted = (*(BRANCHES if seeds >= ENOUGH else ()), *(RARE if seeds >= _MANY else ()))
    return [branch for branch in wanted if not marks[branch]]
