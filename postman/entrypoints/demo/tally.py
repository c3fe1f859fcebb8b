"""What became of every mail, counted from what the sandbox accepted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from postman.runtime.deadletters import DeadLetter

__all__ = ["Tally", "count"]


@dataclass(frozen=True, slots=True)
class Tally:
    """The result. *lost* and *duplicates* must be nothing."""

    published: int
    delivered: Mapping[str, int]
    failed_over: int
    dead: Mapping[str, int]
    lost: Sequence[str]
    duplicates: Sequence[str]
    both: Sequence[str]
    """Delivered, and among the dead letters all the same."""

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.duplicates or self.both)


def count(
    published: Sequence[str], census: Mapping[str, Any], dead: Sequence[DeadLetter], failed_over: set[str]
) -> Tally:
    """Compare what was published with what was accepted and what lies among the dead letters."""
    accepted = Counter(mail["mail_id"] for mail in census["mails"])
    dead_ids = {letter.mail_id for letter in dead}
    return Tally(
        published=len(published),
        delivered=dict(Counter(mail["provider"] for mail in census["mails"])),
        failed_over=len(failed_over & accepted.keys()),
        dead=dict(Counter(letter.reason for letter in dead)),
        lost=[mail_id for mail_id in published if mail_id not in accepted and mail_id not in dead_ids],
        duplicates=[mail_id for mail_id, copies in accepted.items() if copies > 1],
        both=sorted(dead_ids & accepted.keys()),
    )
