"""A provider as one worker sees it: its breaker, and how much it may have."""

from dataclasses import dataclass, field
from typing import Final, Literal

from postman.breaker import CircuitBreaker, Permit, State
from postman.core.fleet.reports import ProviderStanding
from postman.ports.provider import Provider
from postman.runtime.failover.limits import ConcurrencyLimit, RateLimit

__all__ = ["BUSY", "Leave", "Route"]

BUSY: Final = 0.25
"""Seconds after which a provider that has no room is looked at again; who waits for room is woken sooner."""

_LOOK_AGAIN: Final = 0.5
_START: Final = 5
"""No more mails than the breaker needs to see that a provider is dead are in its hands before one succeeded."""
_MOST: Final = 1_000
_SHORTEST_PROBE: Final = 1.0
_BARRED: Final = 15.0
"""Seconds after which one that is held open is looked at again; whoever lets it go wakes all who wait."""
_HELD_AS: Final = {"open": State.HELD_OPEN, "closed": State.HELD_CLOSED}


class Route:
    """A provider with its breaker; *rate* in mails per second and *concurrency* in flight, both for this worker alone.

    *probe_timeout* is how many seconds a probe may take; by default a third of the provider's own time-out, but no
    less than a second, or the own one if that is shorter. *forced* is how a person holds its breaker.
    """

    def __init__(
        self,
        provider: Provider,
        breaker: CircuitBreaker,
        *,
        weight: float = 1.0,
        rate: float | None = None,
        concurrency: int | None = None,
        probe_timeout: float | None = None,
        forced: Literal["open", "closed"] | None = None,
    ) -> None:
        self.provider = provider
        self.breaker = breaker
        self.weight = weight
        self.rate = RateLimit(rate)
        self.forced = forced
        self.limit = ConcurrencyLimit(start=_START, most=concurrency or _MOST)
        self.failures_in_row = 0
        default = min(provider.timeout, max(_SHORTEST_PROBE, provider.timeout / 3))
        self.probe_timeout = probe_timeout or default
        self.due_since: float | None = None
        """When it was first seen to wait for a probe; None while it does not."""
        self.closed_since: float | None = None
        """When it was first seen in order again; None while it is not, or nobody looked."""

    @property
    def name(self) -> str:
        return self.provider.name

    @property
    def is_closed(self) -> bool:
        return self.breaker.state in (State.CLOSED, State.HELD_CLOSED, State.DISABLED)

    @property
    def is_barred(self) -> bool:
        """Whether a person holds it open: it gets no mail, not even one that had its place already."""
        return self.breaker.state is State.HELD_OPEN

    @property
    def has_room(self) -> bool:
        """Whether another mail may be in flight there; after a failure no more than the breaker needs to make sure."""
        if self.failures_in_row:
            return self.limit.in_flight < max(1, _START - self.failures_in_row)
        return self.limit.has_room

    @property
    def makes_room(self) -> bool:
        """Whether it is worth while to wait for room there: all is well, and its limit is being found out."""
        return self.is_closed and not self.failures_in_row and not self.limit.has_room and self.limit.is_settling

    def take_over(self, before: "Route", *, is_same_concurrency: bool, is_same_rate: bool) -> None:
        """Go on from what was learnt by the route *before* this one to the same provider."""
        self.failures_in_row = before.failures_in_row
        self.closed_since, self.due_since = before.closed_since, before.due_since
        if is_same_concurrency:
            self.limit = before.limit
        if is_same_rate:
            self.rate = before.rate

    def hold(self) -> None:
        """Hold the breaker as it is to be from now on, or leave it to itself, closed, if it was held before."""
        if self.forced is None:
            self.breaker.release()
        elif self.breaker.state is not _HELD_AS[self.forced]:
            self.breaker.force(self.forced)

    def wait(self, now: float) -> float:
        """Return the seconds until this provider may take another mail, if it has room; 0 where it may now."""
        return max(self._breaker_wait(), self.rate.wait(now))

    def enter(self, now: float) -> Permit | None:
        """Take a place; a permit where it is a probe. Raises `RejectedError` where the breaker lets nobody through."""
        permit = None if self.is_closed else self.breaker.acquire()
        self.limit.enter()
        self.rate.take(now)
        return permit

    def standing(self, *, is_home: bool) -> ProviderStanding:
        """Return what the worker reports of it."""
        view = self.breaker.view()
        return ProviderStanding(
            breaker=str(view.state),
            retry_after=0.0 if self.is_barred else view.retry_after,
            in_flight=self.limit.in_flight,
            limit=self.limit.limit,
            is_home=is_home,
            problem=str(view.last_failure or ""),
            weight=self.weight,
            forced=self.forced or "",
        )

    def _breaker_wait(self) -> float:
        """A probe that is under way may end at any moment: look again soon, not when its lease ends."""
        if self.is_barred:
            return _BARRED
        wait = self.breaker.retry_after()
        return min(wait, _LOOK_AGAIN) if self.breaker.state is State.HALF_OPEN else wait


@dataclass(slots=True, eq=False)
class Leave:
    """A place at a provider, taken before the mail is claimed; to be used or given back."""

    route: Route
    probe: Permit | None = field(repr=False)
    """Where this mail is the probe."""
    is_trial: bool = False
    """Whether this mail tries if anybody can be reached again."""

    @property
    def provider(self) -> str:
        return self.route.name

    @property
    def timeout(self) -> float:
        """Seconds that the attempt may take."""
        return self.route.provider.timeout if self.probe is None else self.route.probe_timeout
