"""A worker compared with its peers, and when that makes it slow.

Mails finished per second that mails lay in a worker's hands is one over the
mean time that a mail spends there (Little's law), whatever the load. From the
peers' quotient at the same provider follows how many mails this worker *should*
have finished with what it had in its hands.

How much of a shortfall chance explains depends on how unequal the durations
are. Three things keep chance from accusing anybody where a few mails take a
hundred times as long as most, and yet let a slow worker be found in time; they
were chosen by simulation, where asking each window for 2.5 standard deviations
found only one in five of three workers with such mails in three windows, and
accused a healthy one in 1,000 hours:

- The worker's own mails are measured by their own spread, the peers' by theirs.
  What makes a healthy worker look slow is a few long mails; those widen its
  spread, and excuse it. A slow worker has no wider spread than its peers.
- The oldest mail in its hands is left out of what it had there: one mail, however
  long it waits, makes nobody slow.
- Each of three comparisons must be bad, but the chance is weighed over all of
  them together.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import sqrt

from postman.core.fleet.durations import dispersion
from postman.core.fleet.reports import ProviderWork
from postman.core.fleet.rules import Rules

__all__ = ["Comparison", "Side", "slow_run", "together"]

_LITTLE = 1e-3
"""Seconds of outstanding mails below which a provider does not count as used."""


@dataclass(frozen=True, slots=True)
class Side:
    """A worker and its peers at one provider."""

    own: ProviderWork
    others_done: float
    others_outstanding: float
    others: frozenset[str]
    others_spread: float
    """How unequal the durations of the peers' mails are."""

    @property
    def is_usable(self) -> bool:
        return self.own.outstanding > _LITTLE and self.others_outstanding > _LITTLE

    @property
    def expected(self) -> float:
        """Mails that the peers would have finished with as much in their hands."""
        return self.own.outstanding * self.others_done / self.others_outstanding

    def variance(self, oldest: float) -> float:
        """Return by how much chance moves the difference, squared. The fewer the peers, the more."""
        own = self.own + ProviderWork(1.0, 0.0, oldest, oldest * oldest) if oldest else self.own
        spread = dispersion(own) + self.others_spread * self.own.outstanding / self.others_outstanding
        return self.expected * spread

    def __add__(self, other: "Side") -> "Side":
        return Side(
            self.own + other.own,
            self.others_done + other.others_done,
            self.others_outstanding + other.others_outstanding,
            self.others | other.others,
            max(self.others_spread, other.others_spread),
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was finished in a stretch of time, and what was to be expected; only of providers that could be compared."""

    begins: float
    ends: float
    sides: Mapping[str, Side]
    oldest: float = 0.0
    """Age of the oldest mail in hand at the end, in seconds: it counts as if it had ended then."""

    @property
    def seconds(self) -> float:
        return self.ends - self.begins

    @property
    def done(self) -> float:
        return sum(side.own.done for side in self.sides.values())

    @property
    def expected(self) -> float:
        return sum(side.expected for side in self.sides.values())

    @property
    def peers(self) -> frozenset[str]:
        return frozenset[str]().union(*(side.others for side in self.sides.values()))

    @property
    def ratio(self) -> float:
        return self.done / self.expected

    @property
    def z(self) -> float:
        return (self.done - self.expected) / sqrt(sum(side.variance(self.oldest) for side in self.sides.values()))


def together(comparisons: Sequence[Comparison]) -> Comparison:
    """Return *comparisons*, of which there is one at least, oldest first, as one."""
    return reduce(_join, comparisons)


def slow_run(comparisons: Iterable[Comparison], rules: Rules) -> Sequence[Comparison]:
    """Return the comparisons, oldest first, since which a worker is slow; none if it is not.

    The whole past is gone through each time: what has become slow stays so until it is clearly well again, and yet
    nothing needs to be remembered from one judgement to the next.
    """
    run: list[Comparison] = []
    recent: list[Comparison] = []
    for comparison in comparisons:
        recent = [*recent, comparison][-max(rules.of, rules.clear_in) :]
        if not run:
            run = _beginning(recent[-rules.of :], rules)
        elif _is_cleared(recent, rules):
            run, recent = [], []
        else:
            run.append(comparison)
    return run


def _beginning(recent: list[Comparison], rules: Rules) -> list[Comparison]:
    """Return the end of *recent* that makes a worker slow: enough of it is bad, and it is hardly chance."""
    bad = [index for index, one in enumerate(recent) if one.ratio < rules.ratio]
    if len(bad) < rules.slow:
        return []
    run = recent[bad[0] :]
    return run if together(run).z < -rules.z else []


def _is_cleared(recent: Sequence[Comparison], rules: Rules) -> bool:
    return all(one.ratio >= rules.cleared for one in recent[-rules.clear_in :])


def _join(before: Comparison, after: Comparison) -> Comparison:
    sides = dict(before.sides)
    for provider, side in after.sides.items():
        sides[provider] = sides[provider] + side if provider in sides else side
    return Comparison(before.begins, after.ends, sides, after.oldest)
