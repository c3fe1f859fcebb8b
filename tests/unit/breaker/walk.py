"""A long walk at random through all that one can do to a breaker, always the same for the same seed.

Hypothesis finds short histories and makes them shorter; this goes far, quickly.
What fails with it can be looked at in its seed and step.
"""

from math import inf
from random import Random

from tests.unit.breaker.kit import Kit, Time
from tests.unit.breaker.model import Rules
from tests.unit.breaker.pair import AT_ONCE, OVERLAPPING, Ending, Pair

__all__ = ["walk"]

_ENDINGS = (
    *[Ending("none")] * 8,
    *[Ending("service", asked) for asked in (None, None, None, None, 4.0, 2.0**20, 0.0)],
    *[Ending("throttled", asked) for asked in (None, 4.0)],
    *[Ending("cancelled", by=by) for by in ("cancel", "close", "interrupt")],
    *[Ending(fault) for fault in ("call", "local", "broken", "account")],
)
_FORCES = ("open", "closed", "disabled")


def walk(kit: Kit, seed: int, steps: int) -> None:
    """Drive a breaker and its model together through so many *steps*."""
    walker = _Walker(kit, Random(seed))
    for _ in range(steps):
        walker.step()
    walker.pair.look()
    walker.pair.drop()


class _Walker:
    """Half of all look at the breaker after each step; a quarter have a clock that goes back."""

    def __init__(self, kit: Kit, random: Random) -> None:
        self._random = random
        self._looks = random.random() < 0.5
        self._goes_back = random.random() < 0.25
        self.pair = Pair(kit, _rules(random), Time())
        self.pair.set_luck(random.choice([0.0, 0.5]))
        rules = self.pair.rules
        fine = (0.125, -0.125, -4.0, -1_000.0) if self._goes_back else (0.015625, 0.0625)
        self._times = (*fine, rules.window / 10, rules.window, rules.lease, rules.open_for, rules.slow_after or 4.0)

    def step(self) -> None:
        acts = [self._begin, self._end, self._call, self._call_for_a_while, self._wait, self._wait_for_leave]
        rare = [self._operate, self._change, self.pair.look]
        self._random.choice(rare if self._random.random() < 0.1 else acts)()
        self.pair.look() if self._looks else self.pair.check()

    def _begin(self) -> None:
        way = self._random.choice(OVERLAPPING)
        for _ in range(self._random.randint(1, 3)):
            self.pair.begin(way)

    def _end(self) -> None:
        for _ in range(min(len(self.pair.held), self._random.randint(1, 3))):
            self.pair.end(self._random.randrange(len(self.pair.held)), self._ending(), keep=self._random.random() < 0.1)

    def _call(self) -> None:
        ending = self._ending()
        for _ in range(self._random.randint(1, 3)):
            self.pair.at_once(self._random.choice(AT_ONCE), ending, lambda: None)

    def _call_for_a_while(self) -> None:
        def inside() -> None:
            self.pair.time.now += self._random.choice(self._times)
            if self._random.random() < 0.5:
                self._call()

        self.pair.at_once(self._random.choice(AT_ONCE), self._ending(), inside)

    def _wait(self) -> None:
        """Before the clock goes back a call is made, so that the breaker has seen from where."""
        step = self._random.choice(self._times)
        if step < 0:
            self.pair.at_once("call", Ending("local"), lambda: None)
        self.pair.time.now += step

    def _wait_for_leave(self) -> None:
        wait = self.pair.model.wait(self.pair.time.now)
        if 0 < wait < inf:
            self.pair.time.now = self.pair.model.now + wait
        self.pair.begin(self._random.choice(OVERLAPPING))

    def _operate(self) -> None:
        seconds = self._random.choice([1.0, 8.0, 64.0])
        match self._random.randrange(6):
            case 0:
                self.pair.operate(self._random.choice(_FORCES), seconds)
            case 1:
                self.pair.operate(self._random.choice(["release", "reset"]), None)
            case 2 | 3:
                self.pair.operate(self._random.choice(["lock out", "pause"]), seconds)
            case _:
                self.pair.take_over(self._random.choice([0.0, 1.0]))

    def _change(self) -> None:
        self.pair.policy = self._random.choice(["yes", "yes", "no", "raise"])
        self.pair.set_luck(self._random.choice([0.0, 0.5]))

    def _ending(self) -> Ending:
        return self._random.choice(_ENDINGS)


def _rules(random: Random) -> Rules:
    return Rules(
        consecutive=random.choice([2, 3, None, None]),
        rate=random.choice([0.5, 1.0, None]),
        slow_after=random.choice([0.5, 2.0, None]),
        slow_rate=random.choice([0.5, 1.0]),
        minimum=random.randint(1, 8),
        window=random.choice([10.0, 1.25, 80.0]),
        open_for=random.choice([2.0, 0.5, 8.0]),
        factor=random.choice([2.0, 1.0, 3.0]),
        max_open=random.choice([16.0, 4.0]),
        jitter=random.choice([0.0, 0.5]),
        probes=random.randint(1, 3),
        successes=random.randint(1, 3),
        lease=random.choice([4.0, 1.0]),
        locked_for=random.choice([16.0, 2.0**17]),
        max_retry_after=16.0,
    )
