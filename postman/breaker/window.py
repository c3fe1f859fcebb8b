"""Successes and failures of the last seconds, counted in buckets.

A sum over buckets forgets the past in small steps, and costs the same at any
rate of calls.
"""

from collections import deque
from dataclasses import dataclass

__all__ = ["Window"]


@dataclass(slots=True)
class _Bucket:
    number: int
    successes: int = 0
    failures: int = 0


class Window:
    """Counts over the last *seconds*, to within a *buckets*th part of them. Not thread-safe: its owner locks."""

    def __init__(self, seconds: float, *, buckets: int = 10) -> None:
        self._width = seconds / buckets
        self._buckets = buckets
        self._held: deque[_Bucket] = deque()

    def add(self, now: float, *, failed: bool) -> None:
        bucket = self._bucket(now)
        if failed:
            bucket.failures += 1
        else:
            bucket.successes += 1

    def counts(self, now: float) -> tuple[int, int]:
        """Return how many calls succeeded and how many failed."""
        oldest = int(now / self._width) - self._buckets
        held = [bucket for bucket in self._held if bucket.number > oldest]
        return sum(bucket.successes for bucket in held), sum(bucket.failures for bucket in held)

    def clear(self) -> None:
        self._held.clear()

    def _bucket(self, now: float) -> _Bucket:
        number = int(now / self._width)
        if not self._held or self._held[-1].number < number:
            self._held.append(_Bucket(number))
        while self._held[0].number <= number - self._buckets and len(self._held) > 1:
            self._held.popleft()
        return self._held[-1]
