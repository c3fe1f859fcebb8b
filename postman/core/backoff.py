"""Waiting longer after each failure."""

from collections.abc import Callable
from random import Random

__all__ = ["Backoff"]


class Backoff:
    """Waits that begin at *first* seconds, grow by *factor* up to *longest*, and are spread over their upper half."""

    def __init__(
        self, first: float, *, longest: float, factor: float = 2.0, random: Callable[[], float] | None = None
    ) -> None:
        self._first = first
        self._longest = longest
        self._factor = factor
        self._random = random or Random().random  # noqa: S311 — spreads load, guards nothing
        self._failures = 0

    @property
    def failures(self) -> int:
        """How many waits were asked for since the last success."""
        return self._failures

    def next(self) -> float:
        """Return the next wait in seconds."""
        whole = min(self._first * self._factor ** min(self._failures, 64), self._longest)
        self._failures += 1
        return whole * (0.5 + self._random() / 2)

    def reset(self) -> None:
        """Begin anew, after a success."""
        self._failures = 0
