"""A ledger in this process's memory: for tests and for trying things out.

*Guarantees.* Atomic among the tasks of one event loop, which is all it can be
shared by. Nothing is durable: when the process ends, it is forgotten what was
sent. Its time is the clock's `time()`. It grows with every mail.
"""

from collections.abc import Mapping
from typing import TypeVar

from postman.adapters._ledger import Transition, TransitionLedger
from postman.core.ids import MailId
from postman.core.protocol import Entry
from postman.errors import ConfigError
from postman.ports.clock import Clock
from postman.ports.opening import Cluster

__all__ = ["MemoryLedger", "open_ledger"]

_T = TypeVar("_T")


class MemoryLedger(TransitionLedger):
    """See the module."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[MailId, Entry] = {}

    @property
    def entries(self) -> Mapping[MailId, Entry]:
        """All of them, for who looks into it."""
        return self._entries

    async def ensure(self) -> None:
        """Nothing to make."""

    async def check(self) -> None:
        """Always usable."""

    async def aclose(self) -> None:
        """Nothing to close; what is recorded stays readable."""

    async def _apply(self, mail_id: MailId, transition: Transition[_T]) -> _T:
        step = transition(self._entries.get(mail_id), self._clock.time())
        if step.entry is not None:
            self._entries[mail_id] = step.entry
        return step.answer


def open_ledger(rest: str, cluster: Cluster) -> MemoryLedger:
    """Return a new, empty ledger. Raises `ConfigError` if *rest*, what follows `memory:`, is not empty."""
    if rest:
        raise ConfigError(f"nothing may follow memory: in the ledger's URL, not {rest!r}")
    return MemoryLedger(cluster.clock)
