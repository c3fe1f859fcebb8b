"""How the calls of the last seconds ended, counted in buckets.

A sum over buckets forgets the past in small steps, and costs the same at any
rate of calls.
"""

from collections import deque
from dataclasses import dataclass

__all__ = ["Counts", "Window"]


@dataclass(slots=True)
class Counts:
    """How calls ended."""

    successes: int = 0
    failures: int = 0
    slow: int = 0
    """Of both."""

    @property
    def total(self) -> int:
        return self.successes + self.failures


@dataclass(slots=True)
class _Bucket(Counts):
    number: int = 0


class Window:
    """Counts over the last *seconds*, to within a tenth of them. Not thread-safe: its owner locks."""

    BUCKETS = 10

    def __init__(self, seconds: float) -> None:
        self._width = seconds / self.BUCKETS
        self._held: deque[_Bucket] = deque()

    def add(self, now: float, *, successes: int = 0, failures: int = 0, slow: int = 0) -> None:
        """Count calls that ended *now*, or in the past: what is older than the window is passed over."""
        bucket = self._bucket(self._number(now))
        if bucket is not None:
            bucket.successes += successes
            bucket.failures += failures
            bucket.slow += slow

    def counts(self, now: float) -> Counts:
        """Return how the calls of the window ended."""
        oldest = self._number(now) - self.BUCKETS
        held = [bucket for bucket in self._held if bucket.number > oldest]
        return Counts(sum(b.successes for b in held), sum(b.failures for b in held), sum(b.slow for b in held))

    def bucket_ends(self, now: float) -> float:
        """Return when the bucket of *now* ends."""
        return (self._number(now) + 1) * self._width

    def clear(self) -> None:
        self._held.clear()

    def _number(self, now: float) -> int:
        return int(now // self._width)

    def _bucket(self, number: int) -> _Bucket | None:
        newest = self._held[-1].number if self._held else number - 1
        if number > newest:
            self._held.append(_Bucket(number=number))
            while self._held[0].number <= number - self.BUCKETS:
                self._held.popleft()
            return self._held[-1]
        return next((bucket for bucket in reversed(self._held) if bucket.number == number), None)
