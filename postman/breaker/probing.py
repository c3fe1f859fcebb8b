"""When an open breaker may try the service again.

A policy is asked only when the open period is over and no probe is out, and at
the most one probe leaves per period: a policy can hold back, never press. It is
a plain function of what happened since the breaker opened.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from postman.breaker.verdicts import LastFailure

__all__ = ["ProbeStats", "ShouldProbe", "after", "all_of", "always", "any_of", "chance", "every"]


@dataclass(frozen=True, slots=True)
class ProbeStats:
    """What a policy may look at. Times in seconds."""

    name: str
    """The breaker's."""
    failed_for: float
    """Since it left the closed state."""
    due_for: float
    """Since its present open period ended."""
    rejected: int
    """Calls turned away in the present period, this one not counted."""
    probes_failed: int
    """In a row, since it left the closed state."""
    last: LastFailure | None


ShouldProbe = Callable[[ProbeStats], bool]
"""Whether this call may go through as the probe. Where it raises, the call may not, and once the probe is overdue by
`Recovery.max_open` it may: a broken policy must not keep a service out for ever."""


def always() -> ShouldProbe:
    """As soon as the period is over. The default."""
    return lambda _: True


def after(seconds: float) -> ShouldProbe:
    """Not before it has been failing for *seconds*."""
    return lambda stats: stats.failed_for >= seconds


def every(calls: int) -> ShouldProbe:
    """With each *calls*-th call that would be turned away otherwise."""
    if calls < 1:
        raise ValueError(f"every() needs at least 1 call, not {calls}")
    return lambda stats: (stats.rejected + 1) % calls == 0


def chance(probability: float, *, random: Callable[[], float] | None = None) -> ShouldProbe:
    """With this probability for each call; *random* returns numbers from 0 up to 1 exclusive."""
    if not 0 <= probability <= 1:
        raise ValueError(f"chance() needs a probability between 0 and 1, not {probability}")
    draw = random or Random().random  # noqa: S311 — spreads load, guards nothing
    return lambda _: draw() < probability


def all_of(*policies: ShouldProbe) -> ShouldProbe:
    """When all of *policies* say so; each is asked in turn until one says no."""
    return lambda stats: all(policy(stats) for policy in policies)


def any_of(*policies: ShouldProbe) -> ShouldProbe:
    """When any of *policies* says so; each is asked in turn until one says yes."""
    return lambda stats: any(policy(stats) for policy in policies)
