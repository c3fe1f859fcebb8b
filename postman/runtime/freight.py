"""How many bytes a worker holds: a bound on its memory that does not depend on what lies in the queues.

A pull may bring as many messages as it asks for, each as large as a message may
be. So it asks for no more than would fit if all that the open pulls bring were
of that size; what is there already counts as it is. One message each shard may
ask for as long as there is any room, so that an idle worker listens everywhere:
hence at the most *budget* and one largest message for each shard are held.

A mail that is dealt with takes more than its message (it is read, and written
anew for the provider), so only a share of the budget is dealt with at a time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from postman.core.message import Message

__all__ = ["BUDGET", "LARGEST", "Freight", "weight_of"]

BUDGET: Final = 256 << 20
LARGEST: Final = 10_000_000
"""Bytes of a message: the most that Pub/Sub takes."""

_SHARE: Final = 4


class Freight:
    """Counts bytes; used from one event loop. *budget* is in bytes of messages."""

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._expected = 0
        self._held = 0
        self._busy = 0

    @property
    def held(self) -> int:
        """Bytes of the messages that are here."""
        return self._held

    @property
    def is_full(self) -> bool:
        return self._held >= self._budget

    def room(self, most: int) -> int:
        """Return for how many messages a pull may ask: from one up to *most*."""
        free = self._budget - self._held - self._expected * LARGEST
        return 1 + max(0, min(most - 1, free // LARGEST))

    def listening_room(self, pulls: int) -> int:
        """Return for how many messages each of *pulls* may ask at the same time, leaving half of the room."""
        return max(2, self._budget // (2 * pulls * LARGEST))

    @contextmanager
    def expecting(self, messages: int) -> Iterator[None]:
        """Count all *messages* of a pull but one, as large as can be, for as long as it is open."""
        self._expected += messages - 1
        try:
            yield
        finally:
            self._expected -= messages - 1

    def load(self, size: int) -> None:
        """Take a message in."""
        self._held += size

    def unload(self, size: int) -> None:
        """Let go of a message."""
        self._held -= size

    def may_begin(self, size: int) -> bool:
        """Whether a mail of *size* can be dealt with beside the others; alone, any can."""
        return not self._busy or self._busy + size <= self._budget // _SHARE

    def begin(self, size: int) -> None:
        self._busy += size

    def end(self, size: int) -> None:
        self._busy -= size


def weight_of(message: Message) -> int:
    """Return the bytes that *message* takes, roughly."""
    return len(message.data) + sum(len(name) + len(value) for name, value in message.attributes.items())
