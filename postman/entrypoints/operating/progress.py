"""How far an act on many has come."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Progress", "Told"]

Told = Callable[[int, int | None], None]
"""Called with how many are done, and of how many, where that is known."""


@dataclass(slots=True)
class Progress:
    """See the module. Times in seconds of one clock."""

    begun: float
    done: int = 0
    total: int | None = None
    """None: it is not known yet."""

    def tell(self, done: int, total: int | None) -> None:
        """Note how far it is: a `Told`."""
        self.done, self.total = done, total

    def rate(self, now: float) -> float:
        """Return how many are done a second; 0 before anything can be said."""
        return self.done / (now - self.begun) if self.done and now > self.begun else 0.0

    def left(self, now: float) -> float | None:
        """Return the seconds that the rest takes at this rate; None where nobody can say."""
        rate = self.rate(now)
        return (self.total - self.done) / rate if rate and self.total is not None else None
