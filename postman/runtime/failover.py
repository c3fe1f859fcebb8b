"""Which provider takes the next mail, and which one after that.

Each worker draws its home at random by weight, so that the providers share the
load, and stays on what works. A provider that fails is left by its breaker; when
the breaker is due, one real mail goes there first, and on to the working
provider if that fails cleanly. Home takes the traffic back once it recovered.

A mail goes to each provider at the most once per round, and nowhere else after
an answer that leaves open whether it was sent.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Final

import structlog

from postman.breaker import CircuitBreaker, Permit, RejectedError, State
from postman.core.mail import Mail
from postman.errors import (
    CredentialsError,
    MailRejectedError,
    NoProviderError,
    OutcomeUnknownError,
    ProviderError,
    QuotaExceededError,
    RouteRefusedError,
    ThrottledError,
)
from postman.ports.clock import Clock
from postman.ports.provider import Provider, Receipt

__all__ = ["Failover", "Leave", "Route"]

_LOG = structlog.get_logger("postman.failover")

_LOCKED_OUT: Final = 300.0
_PAUSE: Final = 5.0
_BUSY: Final = 0.05
_LOOK_AGAIN: Final = 0.5

OnMove = Callable[[str], Awaitable[None]]
"""Called with the next provider's name before a mail goes there; what it raises stops the mail."""


@dataclass(slots=True, eq=False)
class Route:
    """A provider as this worker sees it now."""

    provider: Provider
    breaker: CircuitBreaker
    weight: float = 1.0
    rate: float | None = None
    """Mails per second at the most; None: as many as it takes."""
    concurrency: int | None = None
    """Mails in flight at the most; None: as many as the worker has."""
    paused_until: float = 0.0
    in_flight: int = 0
    _next_free: float = field(default=0.0, repr=False)

    def wait(self, now: float) -> float:
        """Return the seconds until this provider may take another mail; 0 where it may now."""
        if self.concurrency is not None and self.in_flight >= self.concurrency:
            return max(_BUSY, self.paused_until - now)
        return max(self._breaker_wait(), self.paused_until - now, self._next_free - now, 0.0)

    def _breaker_wait(self) -> float:
        """A probe that is under way may end at any moment: look again soon, not when its lease ends."""
        wait = self.breaker.retry_after()
        return min(wait, _LOOK_AGAIN) if self.breaker.state is State.HALF_OPEN else wait

    def enter(self, now: float) -> Permit:
        """Take a place; raises `RejectedError` where the breaker lets nobody through."""
        permit = self.breaker.acquire()
        self.in_flight += 1
        if self.rate is not None:
            self._next_free = max(self._next_free, now) + 1.0 / self.rate
        return permit

    def pause(self, until: float) -> None:
        """Hold back until then, or until a later time already set."""
        self.paused_until = max(self.paused_until, until)


@dataclass(frozen=True, slots=True)
class Leave:
    """A place at a provider, taken before the mail is claimed; to be used or given back."""

    route: Route
    permit: Permit

    @property
    def provider(self) -> str:
        return self.route.provider.name


class Failover:
    """See the module. One for each worker process; used from one event loop."""

    def __init__(self, routes: Sequence[Route], *, clock: Clock, random: Random | None = None) -> None:
        self._routes = list(routes)
        self._clock = clock
        self._random = random or Random()  # noqa: S311 — spreads load, guards nothing
        self._home = self._draw(self._routes)
        self._current = self._home

    @property
    def longest_timeout(self) -> float:
        """Seconds that one attempt may take."""
        return max(route.provider.timeout for route in self._routes)

    def find(self, name: str) -> Provider | None:
        """Return the provider called *name*, None where it was retired."""
        return next((route.provider for route in self._routes if route.provider.name == name), None)

    def wait(self) -> float:
        """Return the seconds until any provider may take a mail; 0 where one may now."""
        now = self._clock.now()
        return min(route.wait(now) for route in self._routes)

    def choose(self, *, without: frozenset[str] = frozenset()) -> Leave:
        """Take a place for one mail, or raise `NoProviderError` with the time to wait."""
        now = self._clock.now()
        free = [r for r in self._routes if r.provider.name not in without and r.wait(now) <= 0]
        for route in self._in_order(free):
            with suppress(RejectedError):
                return Leave(route, route.enter(now))
        waits = [r.wait(now) for r in self._routes if r.provider.name not in without]
        raise NoProviderError("no provider can be used now", retry_after=max(_BUSY, min(waits, default=_PAUSE)))

    def give_back(self, leave: Leave) -> None:
        """Return a place that was not used."""
        leave.route.in_flight -= 1
        leave.route.breaker.ignored(leave.permit)

    async def send(self, mail: Mail, leave: Leave, *, deadline: float, on_move: OnMove) -> Receipt:
        """Hand *mail* to the provider of *leave*, or to others after it until *deadline* (of the clock's `now`).

        Raises `MailRejectedError` (also where every provider refuses its sender), `OutcomeUnknownError`, or
        `NoProviderError` when it was certainly not sent; and whatever *on_move* raises.
        """
        tried: dict[str, ProviderError] = {}
        self._check_time(leave, deadline, mail)
        while True:
            try:
                return await self._attempt(mail, leave)
            except (MailRejectedError, OutcomeUnknownError):
                raise
            except ProviderError as error:
                tried[leave.provider] = error
            leave = self._next(tried)
            self._check_time(leave, deadline, mail)
            try:
                await on_move(leave.provider)
            except BaseException:
                self.give_back(leave)
                raise
            self._check_time(leave, deadline, mail)
            _LOG.info("failed_over", mail_id=mail.id, provider=leave.provider, tried=list(tried))

    async def aclose(self) -> None:
        """Close every provider."""
        for route in self._routes:
            await route.provider.aclose()

    def _next(self, tried: dict[str, ProviderError]) -> Leave:
        last = list(tried.values())[-1]
        if len(tried) == len(self._routes) and all(isinstance(e, RouteRefusedError) for e in tried.values()):
            raise MailRejectedError(f"{last.problem} (every provider refuses it)", provider=last.provider) from last
        try:
            return self.choose(without=frozenset(tried))
        except NoProviderError as none:
            raise NoProviderError(last.problem, retry_after=max(self.wait(), 1.0)) from none

    def _check_time(self, leave: Leave, deadline: float, mail: Mail) -> None:
        """Start nothing that may still be under way when the claim's lease ends: another worker would ask about it."""
        if self._clock.now() + leave.route.provider.timeout <= deadline:
            return
        self.give_back(leave)
        _LOG.warning("out_of_time", mail_id=mail.id, provider=leave.provider)
        raise NoProviderError("no time is left for another attempt", retry_after=1.0)

    async def _attempt(self, mail: Mail, leave: Leave) -> Receipt:
        route, breaker, permit = leave.route, leave.route.breaker, leave.permit
        try:
            receipt = await route.provider.send(mail)
        except ProviderError as error:
            self._learn(leave, error)
            raise
        except BaseException:
            breaker.ignored(permit)
            raise
        else:
            self._current = route
            if breaker.succeeded(permit) and permit.is_probe:
                _LOG.info("provider_recovered", provider=route.provider.name)
            return receipt
        finally:
            route.in_flight -= 1

    def _learn(self, leave: Leave, error: ProviderError) -> None:
        """Draw from a failure what it says of the provider."""
        route, breaker, permit = leave.route, leave.route.breaker, leave.permit
        match error:
            case MailRejectedError():
                breaker.succeeded(permit)
            case RouteRefusedError():
                breaker.ignored(permit)
            case ThrottledError():
                breaker.ignored(permit)
                route.pause(self._clock.now() + (error.retry_after or _PAUSE))
            case CredentialsError() | QuotaExceededError():
                breaker.trip(error.retry_after or _LOCKED_OUT)
                _LOG.error("provider_locked_out", provider=error.provider, status=error.status, problem=error.problem)
            case _:
                was = breaker.state
                breaker.failed(permit, retry_after=error.retry_after)
                if breaker.state is not was:
                    _LOG.warning("provider_down", provider=error.provider, status=error.status, problem=error.problem)

    def _in_order(self, free: list[Route]) -> list[Route]:
        """Order the admissible: one due for a probe, home, the last that worked, the rest by weighted chance."""
        due = [route for route in free if route.breaker.state is not State.CLOSED][:1]
        proven = [route for route in (self._home, self._current) if route in free]
        first = list(dict.fromkeys([*due, *proven]))
        rest = [route for route in free if route not in first]
        return [*first, *self._shuffled(rest)]

    def _shuffled(self, routes: list[Route]) -> list[Route]:
        shuffled = []
        while routes:
            shuffled.append(self._draw(routes))
            routes.remove(shuffled[-1])
        return shuffled

    def _draw(self, routes: Sequence[Route]) -> Route:
        return self._random.choices(routes, weights=[max(r.weight, 1e-9) for r in routes])[0]
