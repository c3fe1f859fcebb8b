"""Is the fault here? When no provider can be reached from this worker, it is likelier than that all are down.

Then nothing is to be learnt of the providers: their breakers stay out of it, and
one mail at a time tries whether the world is back. A single provider that cannot
be reached proves nothing, and neither does one that refuses the connection: it
was reached.
"""

from collections.abc import Callable, Collection
from math import inf
from typing import Final

from postman.core.backoff import Backoff

__all__ = ["Locality"]

_TOGETHER: Final = 10.0
"""Failures so many seconds apart are one event."""
_ENOUGH: Final = 2
"""So many failures of each provider; a single one may be a blip."""
_FEWEST: Final = 2
"""Of a single provider nobody can say whose fault it is."""


class Locality:
    """Which of several *providers* could be reached of late."""

    def __init__(self, providers: Collection[str], *, random: Callable[[], float] | None = None) -> None:
        self._unreached: dict[str, tuple[int, float]] = {}
        self._providers = frozenset(providers)
        self._waits = Backoff(1.0, longest=30.0, random=random)
        self._next_trial = 0.0
        self._is_trying = False
        self.since: float | None = None
        """When the fault was found to be here; None while it is not."""

    def change(self, providers: Collection[str], *, known: Collection[str]) -> bool:
        """Go by *providers* from now on; True if that ends a local fault.

        What was learnt of those that are *known* is kept. Of any other nobody can say that it cannot be reached, though
        it may bear the name of one that was: its address may be another.
        """
        self._providers = frozenset(providers)
        self._unreached = {name: seen for name, seen in self._unreached.items() if name in known}
        if not self.is_local or (len(self._providers) >= _FEWEST and self._providers <= self._unreached.keys()):
            return False
        self.since = None
        self._waits.reset()
        return True

    @property
    def is_local(self) -> bool:
        return self.since is not None

    def reached(self, provider: str, at: float = inf) -> bool:
        """Note that *provider* could be reached *at* that time, by default now; True if that ends a local fault.

        What is older than its last failure, or than the fault, says nothing of today.
        """
        _, failed = self._unreached.get(provider, (0, -inf))
        if at < max(failed, -inf if self.since is None else self.since):
            return False
        self._unreached.pop(provider, None)
        was_local, self.since = self.is_local, None
        self._waits.reset()
        return was_local

    def unreached(self, provider: str, now: float) -> bool:
        """Note that no connection to *provider* could be made; True if that begins a local fault."""
        if provider not in self._providers:
            return False
        count, last = self._unreached.get(provider, (0, now))
        self._unreached[provider] = (count + 1 if now - last <= _TOGETHER else 1, now)
        if self.is_local or len(self._providers) < _FEWEST or not self._providers <= self._unreached.keys():
            return False
        if any(count < _ENOUGH or now - last > _TOGETHER for count, last in self._unreached.values()):
            return False
        self.since = now
        self._next_trial = now + self._waits.next()
        return True

    def wait(self, now: float) -> float:
        """Return the seconds until a mail may try; 0 where one may, or where nothing is wrong here."""
        if not self.is_local:
            return 0.0
        return max(self._next_trial - now, 1.0 if self._is_trying else 0.0)

    def try_now(self) -> bool:
        """Begin a trial, and say whether this is one, to be ended by `tried`."""
        self._is_trying = self.is_local
        return self._is_trying

    def tried(self, now: float) -> None:
        """End a trial, whatever came of it."""
        self._is_trying = False
        if self.is_local:
            self._next_trial = now + self._waits.next()
