"""The calls that still run, and those that just ended well.

A breaker that learns only from calls that ended is blind while a service hangs:
so each call is noted when it begins. And a success in calm times must cost next
to nothing: so it is noted without the lock, in the *tick* in which it began, a
tenth of a second or less. Appending to a list is atomic; the owner of the lock
counts later what was appended.
"""

from collections import Counter, deque
from collections.abc import Iterator
from math import inf
from typing import Final

from postman.breaker.window import Window

__all__ = ["Running", "Tick"]

_LONGEST_TICK: Final = 0.1


class Tick:
    """The calls that began during a short time."""

    __slots__ = ("ends", "finished", "generation", "opened", "seen", "started", "until")

    def __init__(self, generation: int, opened: float, until: float) -> None:
        self.generation = generation
        self.opened = opened
        self.until = until
        self.ends = -inf
        """Before this moment a call may begin or succeed without the lock; never, unless it was set."""
        self.started: list[float] = []
        """When each call began."""
        self.finished: list[float] = []
        """When each call that ended had begun."""
        self.seen = 0
        """Of *finished*, how many are counted."""

    @property
    def uncounted(self) -> int:
        """How many of its calls run, or ended since it was looked at last."""
        return len(self.started) - self.seen

    @property
    def unfinished(self) -> int:
        """How many of its calls run."""
        return len(self.started) - len(self.finished)

    def still_running(self) -> Iterator[float]:
        """Yield when each call that runs had begun."""
        left = Counter(self.started)
        left.subtract(self.finished)
        return (max(began, self.opened) for began in left.elements())


class Running:
    """The ticks of one generation. Its owner locks; only what `Tick` says is done without the lock."""

    def __init__(self, window: Window, *, slow_after: float, forget_after: float, bucket: float) -> None:
        self._window = window
        self._slow_after = slow_after
        self._forget_after = forget_after
        self._width = min(_LONGEST_TICK, slow_after, bucket)
        self._earlier: deque[Tick] = deque()
        self.tick = Tick(0, -inf, -inf)

    def clear(self, generation: int) -> None:
        """Forget all calls; those that run are of another *generation* from now on."""
        self.slow_down()
        self._earlier.clear()
        self.tick = Tick(generation, -inf, -inf)

    def slow_down(self) -> None:
        """Send every call through the lock until `speed_up`."""
        self.tick.ends = -inf

    def speed_up(self, now: float, *, latest: float) -> None:
        """Let calls begin and succeed without the lock, for a tick at the most, and not after *latest*."""
        self.turn(now)
        if self.tick.ends == -inf and not self.overdue(now):
            self.tick.ends = min(self.tick.until, self._next_overdue(now), latest)

    def turn(self, now: float) -> None:
        """Begin another tick where the present one is over, and count what ended."""
        if now >= self.tick.until:
            self._begin_tick(now)

    def begin(self, now: float) -> Tick:
        """Note a call that begins."""
        self.turn(now)
        self.tick.started.append(now)
        return self.tick

    def end(self, tick: Tick, began: float) -> None:
        """Note a call that ended, which its caller counts."""
        tick.finished.append(began)
        tick.seen += 1

    def catch_up(self) -> None:
        """Count the successes that were noted without the lock."""
        for tick in (*self._earlier, self.tick):
            if fresh := len(tick.finished) - tick.seen:
                tick.seen += fresh
                self._window.add(tick.opened, successes=fresh)

    def count(self, now: float) -> int:
        """Return how many calls run."""
        return self._between(now - self._forget_after, now)

    def overdue(self, now: float) -> int:
        """Return how many calls run that are slow already."""
        if self._slow_after == inf:
            return 0
        return self._between(now - self._forget_after, now - self._slow_after)

    def _begin_tick(self, now: float) -> None:
        last = self.tick
        self.slow_down()
        self._earlier.append(last)
        self.catch_up()
        self._earlier = deque(
            tick for tick in self._earlier if tick.uncounted > 0 and tick.until > now - self._forget_after
        )
        self.tick = Tick(last.generation, now, min(now + self._width, self._window.bucket_ends(now)))

    def _between(self, after: float, until: float) -> int:
        """Count calls that run and began later than *after*, but not later than *until*."""
        found = 0
        for tick in (*self._earlier, self.tick):
            if tick.unfinished <= 0 or tick.opened > until:
                continue
            if tick.opened > after and tick.until <= until and tick is not self.tick:
                found += tick.unfinished
            else:
                found += sum(after < began <= until for began in tick.still_running())
        return found

    def _next_overdue(self, now: float) -> float:
        """Return when the next call that runs will be slow."""
        if self._slow_after == inf:
            return inf
        limit = now - self._slow_after
        for tick in self._earlier:
            if tick.until > limit and (left := [began for began in tick.still_running() if began > limit]):
                return min(left) + self._slow_after
        return inf
