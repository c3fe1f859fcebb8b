"""When a breaker opens, and how it comes back. Times in seconds."""

import math
from dataclasses import dataclass, fields

__all__ = ["Recovery", "Trip"]


def _check(what: object, field: str, value: float | None, *, low: float, high: float = math.inf) -> None:
    """Raise `ValueError` naming *field* unless its value is None or between *low* and *high*."""
    if value is not None and not (low <= value <= high and math.isfinite(value)):
        bounds = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise ValueError(f"{type(what).__name__}.{field} must be {bounds}, not {value!r}")


_ABOVE_ZERO = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """When it opens: any one of three rules is enough; None turns a rule off.

    The rules look at a report only when it is a failure or was slow, or while calls are overdue: a success that
    completes the *minimum* opens nothing.
    """

    consecutive: int | None = 5
    """So many failures in a row. Serves where there are few calls."""
    rate: float | None = 0.5
    """This share of failures among the calls that ended in the window. Serves where there are many."""
    slow_after: float | None = None
    """A call is slow from so many seconds on, whatever becomes of it, also while it still runs."""
    slow_rate: float = 0.8
    """This share of slow calls in the window."""
    minimum: int = 20
    """Calls in the window, below which the two shares say nothing."""
    window: float = 30.0
    """Slides in steps of a tenth of it."""

    def __post_init__(self) -> None:
        _check(self, "consecutive", self.consecutive, low=1)
        _check(self, "rate", self.rate, low=_ABOVE_ZERO, high=1)
        _check(self, "slow_after", self.slow_after, low=_ABOVE_ZERO)
        _check(self, "slow_rate", self.slow_rate, low=_ABOVE_ZERO, high=1)
        _check(self, "minimum", self.minimum, low=1)
        _check(self, "window", self.window, low=0.001, high=86_400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """How long it stays open, and what closes it."""

    open_for: float = 5.0
    """The first open period."""
    factor: float = 2.0
    """Each failed probe makes the next period so much longer; closing makes it short again."""
    max_open: float = 300.0
    """No period is longer, unless the service itself names a later time."""
    jitter: float = 0.2
    """A period is shortened by up to this share of it, at random, so that many breakers do not probe together."""
    probes: int = 1
    """Probes under way at a time."""
    successes: int = 2
    """So many probes in a row must succeed. One that was slow counts as failed."""
    lease: float = 30.0
    """A probe that has not reported after so long is lost: its place is free, and its report too late."""
    locked_for: float = 300.0
    """The open period after `Fault.ACCOUNT`."""
    max_retry_after: float = 3_600.0
    """What the service asks beyond this is cut; after `Fault.ACCOUNT` beyond a day."""

    def __post_init__(self) -> None:
        for one in fields(self):
            if one.name not in ("factor", "jitter", "probes", "successes"):
                _check(self, one.name, getattr(self, one.name), low=0 if one.name == "max_retry_after" else _ABOVE_ZERO)
        _check(self, "factor", self.factor, low=1)
        _check(self, "jitter", self.jitter, low=0, high=1)
        _check(self, "probes", self.probes, low=1)
        _check(self, "successes", self.successes, low=1)
