"""How far from the oldest mail a choice among queues is: the MultiQueue's rank error, counted and by formula.

The process is that of Rihani, Sanders and Dementiev (arXiv:1411.1209): mails are numbered by age, each lies in one of
n queues drawn at random, and each deletion takes the head of the queue that a rule chooses. Its rank error is how many
older mails are left in all queues. The formulas are exact in the steady state; their derivation shares nothing with the
simulation, which counts real mails.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, pi, sqrt
from random import Random
from typing import Final

__all__ = ["RULES", "Deletions", "Rule", "exact_rank_error", "growing_rank_error"]

_WARMING: Final = 0.1
"""The share of the deletions that is made, but not counted, before."""

Choose = Callable[[Sequence[int], Random], int]
"""Given the numbers of the heads (the least is the oldest), choose a queue."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A way to choose a queue by its head."""

    name: str
    choose: Choose
    reach: Callable[[int, int], float]
    """Of n queues, the probability that one of the i with the oldest heads is chosen: (i, n)."""


def _of(choices: int) -> Choose:
    def choose(heads: Sequence[int], random: Random) -> int:
        n, draw = len(heads), random.random
        best = int(draw() * n)
        for _ in range(choices - 1):
            other = int(draw() * n)
            if heads[other] < heads[best]:
                best = other
        return best

    return choose


def _of_two_distinct(heads: Sequence[int], random: Random) -> int:
    n, draw = len(heads), random.random
    one, other = int(draw() * n), int(draw() * (n - 1))
    if other >= one:
        other += 1
    return one if heads[one] < heads[other] else other


def _of_one_or_two(beta: float) -> Choose:
    one, two = _of(1), _of(2)
    return lambda heads, random: two(heads, random) if random.random() < beta else one(heads, random)


def _reach_of(choices: int) -> Callable[[int, int], float]:
    return lambda i, n: 1 - (1 - i / n) ** choices


RULES: Final[dict[str, Rule]] = {
    rule.name: rule
    for rule in (
        Rule("d=1", _of(1), _reach_of(1)),
        Rule("d=2", _of(2), _reach_of(2)),
        Rule("2 distinct", _of_two_distinct, lambda i, n: 1 - (n - i) * (n - i - 1) / (n * (n - 1))),
        Rule("d=3", _of(3), _reach_of(3)),
        Rule("d=4", _of(4), _reach_of(4)),
        Rule("d=8", _of(8), _reach_of(8)),
        Rule("1+beta, 0.5", _of_one_or_two(0.5), lambda i, n: 0.5 * i / n + 0.5 * (1 - (1 - i / n) ** 2)),
    )
}


def exact_rank_error(rule: Rule, n: int) -> float:
    """Return the expected rank error in the steady state; infinite where there is none, as with one choice."""
    reach = [rule.reach(i, n) for i in range(n + 1)]
    if any(n * reach[i] <= i + 1e-12 for i in range(1, n)):
        return inf
    return sum(n * reach[i] * (1 - reach[i]) / (n * reach[i] - i) for i in range(1, n))


def growing_rank_error(n: int, deletion: int) -> float:
    """Return about what the rank error of one choice is at a *deletion* that is not among the first."""
    return (n - 1) * sqrt(2 * deletion / (pi * n))


class Deletions:
    """Endless queues, filled as far as their heads need it, from which mails are deleted one after the other."""

    def __init__(self, rule: Rule, n: int, random: Random) -> None:
        self._choose = rule.choose
        self._random = random
        self._queues: list[deque[int]] = [deque() for _ in range(n)]
        self._numbered = 0
        self._heads = [self._next_of(queue) for queue in range(n)]
        self._oldest = 0
        self._deleted = 0
        """A bit for each mail from the oldest that is left on: whether it was deleted."""

    def rank_errors(self, deletions: int) -> Iterator[int]:
        """Delete some mails, yet uncounted, then *deletions* more; yield the rank error of each of these."""
        for _ in range(int(deletions * _WARMING)):
            self.delete()
        for _ in range(deletions):
            yield self.delete()

    def delete(self) -> int:
        """Delete a mail and return how many older ones are left."""
        queue = self._choose(self._heads, self._random)
        place = self._heads[queue] - self._oldest
        bit = 1 << place
        error = place - (self._deleted & (bit - 1)).bit_count()
        self._deleted |= bit
        if place == 0:
            gone = (self._deleted ^ (self._deleted + 1)).bit_length() - 1
            self._deleted >>= gone
            self._oldest += gone
        self._heads[queue] = self._next_of(queue)
        return error

    def _next_of(self, queue: int) -> int:
        """Return the next mail of *queue*; each mail's queue is drawn when it is first needed."""
        waiting = self._queues[queue]
        if waiting:
            return waiting.popleft()
        draw, n = self._random.random, len(self._queues)
        while (drawn := int(draw() * n)) != queue:
            self._queues[drawn].append(self._numbered)
            self._numbered += 1
        self._numbered += 1
        return self._numbered - 1
