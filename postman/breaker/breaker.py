"""The circuit breaker.

Closed, it lets every call through and counts how they end. After too many
failures it opens and rejects calls at once. When its time is over it lets one
call through as a probe: that call's success closes it, its failure opens it
again, for longer.

Three rules make it sound under concurrency. Every change of state raises a
*generation*, which a permit carries: the report of a call that began in another
generation counts for nothing. A call that was cancelled, or failed by its
caller's fault, is no evidence: it neither closes nor opens, and a probe that
ends so is offered again. A probe that never reports loses its place after
*probe_lease* seconds.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

from postman.breaker.window import Window

__all__ = ["CircuitBreaker", "Permit", "RejectedError", "State"]

_LONGEST: Final = 86_400.0


class State(StrEnum):
    """Where a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave for one call; to be reported once."""

    generation: int
    is_probe: bool


class RejectedError(Exception):
    """The breaker lets nobody through; *retry_after* seconds until it may."""

    def __init__(self, name: str, state: State, retry_after: float) -> None:
        super().__init__(f"{name} is {state}")
        self.name = name
        self.state = state
        self.retry_after = retry_after


class CircuitBreaker:
    """See the module. It has no timer and no thread of its own, and may be used from several threads and event loops.

    It opens after *consecutive* failures in a row, or when at least *minimum* calls ended within *window* seconds and
    the share *rate* of them failed. The first open period lasts *open_for* seconds; each failed probe multiplies it
    by *factor*, up to *max_open*; each is spread by *jitter* (0.2 = up to a fifth longer or shorter).
    """

    def __init__(
        self,
        name: str,
        *,
        consecutive: int = 5,
        rate: float = 0.5,
        minimum: int = 20,
        window: float = 30.0,
        open_for: float = 5.0,
        factor: float = 2.0,
        max_open: float = 300.0,
        jitter: float = 0.2,
        probe_lease: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] | None = None,
    ) -> None:
        self.name = name
        self._consecutive = consecutive
        self._rate = rate
        self._minimum = minimum
        self._open_for = open_for
        self._factor = factor
        self._max_open = max_open
        self._jitter = jitter
        self._probe_lease = probe_lease
        self._clock = clock
        self._random = random or Random().random  # noqa: S311 — jitter, not a secret
        self._lock = threading.Lock()
        self._window = Window(window)
        self._state = State.CLOSED
        self._generation = 0
        self._failures_in_row = 0
        self._failed_probes = 0
        self._until = 0.0
        self._probe_ends = 0.0
        self._has_probe = False

    @property
    def state(self) -> State:
        """The state as it stands; asking changes nothing."""
        return self._state

    def retry_after(self) -> float:
        """Return the seconds until `acquire` may succeed; 0 where it may now."""
        with self._lock:
            return self._wait(self._clock())

    def acquire(self) -> Permit:
        """Return leave for one call, or raise `RejectedError`."""
        with self._lock:
            now = self._clock()
            if self._state is State.CLOSED:
                return Permit(self._generation, is_probe=False)
            wait = self._wait(now)
            if wait > 0:
                raise RejectedError(self.name, self._state, wait)
            self._become(State.HALF_OPEN)
            self._has_probe = True
            self._probe_ends = now + self._probe_lease
            return Permit(self._generation, is_probe=True)

    def succeeded(self, permit: Permit) -> bool:
        """Report a success; False where it came too late to count."""
        with self._lock:
            if permit.generation != self._generation:
                return False
            if permit.is_probe:
                self._close()
            else:
                self._failures_in_row = 0
                self._window.add(self._clock(), failed=False)
            return True

    def failed(self, permit: Permit, *, retry_after: float | None = None) -> bool:
        """Report a failure; False where it came too late to count.

        *retry_after* is the least time to stay open, should this failure open the breaker.
        """
        with self._lock:
            if permit.generation != self._generation:
                return False
            now = self._clock()
            if permit.is_probe:
                self._failed_probes += 1
                self._open(now, retry_after)
                return True
            self._failures_in_row += 1
            self._window.add(now, failed=True)
            if self._is_too_much(now):
                self._open(now, retry_after)
            return True

    def ignored(self, permit: Permit) -> bool:
        """Report a call that says nothing about the other side: cancelled, or at fault itself."""
        with self._lock:
            if permit.generation != self._generation:
                return False
            if permit.is_probe:
                self._has_probe = False
            return True

    def trip(self, seconds: float) -> None:
        """Open now, for at least *seconds* (at the most a day); a later end already set stays."""
        with self._lock:
            now = self._clock()
            until = now + min(seconds, _LONGEST)
            if self._state is not State.OPEN:
                self._become(State.OPEN)
                self._until = until
            self._until = max(self._until, until)

    def close(self) -> None:
        """Close now, whatever was counted."""
        with self._lock:
            self._close()

    def _wait(self, now: float) -> float:
        match self._state:
            case State.CLOSED:
                return 0.0
            case State.OPEN:
                return max(0.0, self._until - now)
            case State.HALF_OPEN:
                return max(0.0, self._probe_ends - now) if self._has_probe else 0.0

    def _is_too_much(self, now: float) -> bool:
        if self._failures_in_row >= self._consecutive:
            return True
        successes, failures = self._window.counts(now)
        total = successes + failures
        return total >= self._minimum and failures >= self._rate * total

    def _open(self, now: float, retry_after: float | None) -> None:
        period = min(self._open_for * self._factor**self._failed_probes, self._max_open)
        period *= 1 + self._jitter * (2 * self._random() - 1)
        self._become(State.OPEN)
        self._until = now + max(period, min(retry_after or 0.0, _LONGEST))

    def _close(self) -> None:
        self._become(State.CLOSED)
        self._failed_probes = 0

    def _become(self, state: State) -> None:
        self._state = state
        self._generation += 1
        self._failures_in_row = 0
        self._has_probe = False
        self._window.clear()
