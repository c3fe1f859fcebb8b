"""What all parts of a simulation share: time, chance, the weather, the record, and the count of what was reached."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextvars import Context
from random import Random
from typing import Any, Final

from tests.simulation.loop import Lane, SimLoop, lane_context
from tests.simulation.process import WALL

__all__ = ["Stage"]

_MOST_LINES: Final = 20_000


class Stage:
    """See the module. *rates* are those of the faults; *traces* says whether the history is written down."""

    def __init__(self, seed: int, rates: Mapping[str, float], *, shuffles: bool, traces: bool) -> None:
        self.seed = seed
        self.rates = rates
        self.traces = traces
        self.loop = SimLoop(self.random("order"), shuffles=shuffles)  # type: ignore[abstract]  # has no sockets
        self.lane = Lane("world")
        self.is_chaotic = False
        self.lines: list[str] = []
        self.marks: Counter[str] = Counter()
        self.wrongs: list[str] = []
        self._context: Context = lane_context(self.lane)
        self._cuts: set[tuple[str, str]] = set()

    def random(self, purpose: str) -> Random:
        """Return a chance of its own for *purpose*, so that one part's draws do not move another's."""
        return Random(f"{self.seed} {purpose}")

    def time(self) -> float:
        """Return the true time of day, by which ledger and queue go."""
        return WALL + self.loop.time()

    def after(self, seconds: float, act: Callable[..., object], *args: Any) -> None:
        """Let the world do *act* after *seconds*, whoever asked for it."""
        self.loop.call_later(seconds, act, *args, context=self._context)

    def tell(self, line: str) -> None:
        """Write *line* into the history."""
        if self.traces and len(self.lines) < _MOST_LINES:
            self.lines.append(f"{self.loop.time():9.3f}  {line}")

    def reached(self, mark: str) -> None:
        """Count that a rare branch was reached."""
        self.marks[mark] += 1

    def wrong(self, what: str) -> None:
        """Note that an invariant is broken."""
        self.tell(f"WRONG: {what}")
        self.wrongs.append(f"at {self.loop.time():.3f} s: {what}")

    def chance(self, random: Random, fault: str) -> bool:
        """Whether *fault* happens now."""
        rate = self.rates.get(fault, 0.0)
        return self.is_chaotic and rate > 0 and random.random() < rate

    def cut(self, name: str, service: str) -> None:
        """Let no request of *name* (empty: of anybody) reach *service*."""
        self._cuts.add((name, service))

    def mend(self, name: str, service: str) -> None:
        self._cuts.discard((name, service))

    def mend_all(self) -> None:
        self._cuts.clear()

    def is_cut(self, name: str, service: str) -> bool:
        cuts = self._cuts
        return bool(cuts) and ((name, service) in cuts or ("", service) in cuts)
