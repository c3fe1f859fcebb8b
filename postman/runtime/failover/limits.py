"""How much a worker lets a provider have, so that failing over does not topple the next one.

The rate is the owner's word. The number in flight is found out: it doubles with
each round trip until the first sign of congestion, then grows by one per round
trip, and shrinks by a third when the provider asks for less or does not answer
(additive increase, multiplicative decrease; latency is no sign, since it varies
with the size of a mail). The budget bounds second attempts to a share of first
ones: what exceeds it waits in the queue.
"""

from collections import deque
from math import inf
from typing import Final

__all__ = ["ConcurrencyLimit", "RateLimit", "RetryBudget"]


class RateLimit:
    """At the most *rate* mails per second; None: as many as come.

    Who comes up to a tenth of a second late makes up for it: without that, whoever looks now and then would never
    get the whole rate.
    """

    _SLACK: Final = 0.1

    def __init__(self, rate: float | None) -> None:
        self._step = 0.0 if rate is None else 1.0 / rate
        self._next = -inf

    def wait(self, now: float) -> float:
        """Return the seconds until one more may go."""
        return max(0.0, self._next - now)

    def take(self, now: float) -> None:
        """Let one go."""
        if self._step:
            self._next = max(self._next, now - self._SLACK) + self._step

    def give_back(self) -> None:
        """Undo a `take`: that one did not go."""
        self._next -= self._step


class ConcurrencyLimit:
    """Mails in flight at one provider: *start* of them at first, at the most *most*."""

    _BACK_OFF: Final = 0.7
    _NEAR: Final = 0.9
    _CAUTION: Final = 0.1

    def __init__(self, *, start: int, most: int) -> None:
        self.in_flight = 0
        self._start = min(start, most)
        self._most = most
        self._limit = float(self._start)
        self._calm_below = float(most)
        self._hurt_at = inf
        self._shrunk_at = -inf

    @property
    def limit(self) -> int:
        """Mails in flight at the most, now."""
        return int(self._limit)

    @property
    def is_settling(self) -> bool:
        """Whether it is below what the owner allows, so that room may be made soon."""
        return self.limit < self._most

    @property
    def has_room(self) -> bool:
        return self.in_flight < self.limit

    def enter(self) -> None:
        """Take a place; `has_room` is the caller's to ask."""
        self.in_flight += 1

    def leave(self) -> None:
        """Free a place."""
        self.in_flight -= 1

    def grow(self) -> None:
        """Learn from a success, to be called before `leave`: a limit that is hardly used proves nothing."""
        if 2 * self.in_flight >= self._limit:
            self._limit = min(self._limit + self._step(), float(self._most))

    def shrink(self, now: float, *, begun: float) -> None:
        """Learn from congestion that met a mail *begun* then; only once for all that were under way."""
        if begun > self._shrunk_at:
            self._hurt_at = self._limit
            self._limit = max(1.0, self._limit * self._BACK_OFF)
            self._calm_below = self._limit
            self._shrunk_at = now

    def restart(self) -> None:
        """Begin anew, small: after an outage nobody knows how much the provider takes."""
        self._limit = float(self._start)
        self._calm_below = float(self._most)
        self._hurt_at = inf

    def _step(self) -> float:
        """Return how much one success adds: doubling at first, then one a round trip, little where it last hurt."""
        if self._limit < self._calm_below:
            return 1.0
        return (1.0 if self._limit < self._NEAR * self._hurt_at else self._CAUTION) / self._limit


class RetryBudget:
    """Second attempts: a share *ratio* of the first attempts of the last *memory* seconds, and *floor* besides."""

    def __init__(self, *, ratio: float = 0.2, floor: int = 10, memory: float = 10.0) -> None:
        self._ratio = ratio
        self._floor = floor
        self._memory = memory
        self._seconds: deque[list[float]] = deque()

    def deposit(self, now: float) -> None:
        """Count a first attempt."""
        self._second(now)[1] += self._ratio

    def withdraw(self, now: float) -> bool:
        """Take leave for a second attempt; False where there is none left."""
        if self.left(now) < 1.0:
            return False
        self._second(now)[1] -= 1.0
        return True

    def refund(self, now: float) -> None:
        """Return what was withdrawn for an attempt that was not made."""
        self._second(now)[1] += 1.0

    def left(self, now: float) -> float:
        """Return how many second attempts may be made now; never below 0."""
        while self._seconds and self._seconds[0][0] + 1.0 <= now - self._memory:
            self._seconds.popleft()
        return max(0.0, self._floor + sum(amount for _, amount in self._seconds))

    def _second(self, now: float) -> list[float]:
        second = float(int(now))
        if not self._seconds or self._seconds[-1][0] < second:
            self._seconds.append([second, 0.0])
        return self._seconds[-1]
