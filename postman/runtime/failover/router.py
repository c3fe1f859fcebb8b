"""Which provider takes the next mail, and which one after that.

Each worker draws its home at random by weight, so that the providers share the
load, and stays on what works. A provider that fails is left by its breaker; when
the breaker is due, one real mail goes there first, with a short time-out, and on
to the working provider if that fails cleanly. Home takes the traffic back some
time after it recovered, each worker at another moment, so that the fleet does not
fall on it at once.

A mail goes to each provider at the most once per round, and nowhere else after
an answer that leaves open whether it was sent. What the others can take without
falling over themselves is bounded by `limits`; what exceeds it waits in the
queue. When nobody can be reached at all, the fault is taken to be here
(`locality`).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from random import Random
from typing import Final

import structlog

from postman.breaker import Fault, Permit, RejectedError, State, Verdict
from postman.core.fleet.reports import ProviderStanding
from postman.core.mail import Mail, OnDoubt
from postman.errors import (
    MailRejectedError,
    NoProviderError,
    ProviderError,
    RouteRefusedError,
)
from postman.ports.clock import Clock
from postman.ports.provider import Provider, Receipt
from postman.runtime.closing import close_all
from postman.runtime.failover.faults import Scope, meaning_of, verdict_on
from postman.runtime.failover.limits import RetryBudget
from postman.runtime.failover.lineup import held, tried, weights_of
from postman.runtime.failover.locality import Locality
from postman.runtime.failover.route import BUSY, Leave, Route
from postman.runtime.failover.waiting import WaitingRoom
from postman.runtime.past import Past

__all__ = ["Failover"]

_LOG = structlog.get_logger("postman.failover")

_PAUSE: Final = 5.0
_SHORTEST: Final = 0.05
_OUT_OF_BUDGET: Final = 1.0
_STAND_BY: Final = 0.5
"""So long a mail that failed at one provider waits for room at the next one."""
_HURRY: Final = 60.0
"""A mail that expires sooner is no probe."""
_OVERDUE: Final = 60.0
"""After so long without one that may, any mail is a probe."""

OnMove = Callable[[str], Awaitable[None]]
"""Called with the next provider's name before a mail goes there; what it raises stops the mail."""


class Failover:
    """See the module. One for each worker process; used from one event loop.

    Home takes its traffic back when its breaker was closed for *rehome_after* seconds, give or take a half. The
    providers in *asked* get no mails, but may be asked about those they have.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        clock: Clock,
        random: Random | None = None,
        rehome_after: float = 120.0,
        budget: RetryBudget | None = None,
        asked: Sequence[Provider] = (),
    ) -> None:
        self._routes = held(routes)
        self._clock = clock
        self._random = random or Random()  # noqa: S311 — spreads load, guards nothing
        self._rehome_after = rehome_after * self._random.uniform(0.5, 1.5)
        self._budget = budget or RetryBudget()
        self._locality = Locality(tried(self._routes), random=self._random.random)
        self._room = WaitingRoom(clock)
        self._asked = list(asked)
        self.past = Past(clock.time)
        """The last hour of the worker that uses this, which writes in it as well."""
        self.is_behind = False
        """Whether a later document cannot be read, which may name providers that are not known here."""
        self._home = self._draw(self._routes)
        self._current = self._home

    @property
    def longest_timeout(self) -> float:
        """Seconds that one attempt may take."""
        return max(route.provider.timeout for route in self._routes)

    @property
    def local_fault(self) -> str:
        """Why the fault is taken to be on this side; empty while it is not."""
        since = self._locality.since
        if since is None:
            return ""
        return f"no provider could be reached from here for {self._clock.now() - since:.0f} s"

    def standings(self) -> Mapping[str, ProviderStanding]:
        """Return how each provider stands, by name."""
        return {route.name: route.standing(is_home=route is self._home) for route in self._routes}

    def find(self, name: str) -> Provider | None:
        """Return the provider called *name*, to be asked about a mail; None where the document has it no more."""
        known = (*(route.provider for route in self._routes), *self._asked)
        return next((provider for provider in known if provider.name == name), None)

    def change(self, routes: Sequence[Route], asked: Sequence[Provider] = ()) -> Sequence[Provider]:
        """Let *routes* take the place of those so far; *asked* get no mails, but may be asked about those they have.

        Returns the providers that are used no more, but by mails that are under way there: those end as they would
        have, and the caller closes the providers after that. Where the weights changed a new home is drawn, and used
        at once if it is in order. Where it raises nothing is changed.
        """
        before = self._providers()
        self._current, self._home = self._drawn(routes)
        known = [route.name for route in routes if any(route.provider is each for each in before)]
        self._routes, self._asked = held(routes), list(asked)
        if self._locality.change(tried(routes), known=known):
            _LOG.info("local_fault_over", reason="there are other providers")
        self.wake_all()
        after = self._providers()
        return [provider for provider in before if not any(provider is each for each in after)]

    def wait(self) -> float:
        """Return the seconds until any provider may take a mail; 0 where one may now."""
        now = self._clock.now()
        return max(self._locality.wait(now), min(route.wait(now) for route in self._routes))

    def choose(self, mail: Mail, *, avoid: str = "", is_patient: bool = False) -> Leave:
        """Take a place for *mail*, or raise `NoProviderError` with the time to wait.

        *avoid* names a provider that comes last. A mail that *is_patient* rather waits for the provider that works
        than go elsewhere while that one's limit is being found out.
        """
        now = self._clock.now()
        if (wait := self._locality.wait(now)) > 0:
            raise NoProviderError(f"the fault seems to be here: {self.local_fault}", retry_after=wait)
        if is_patient and not avoid and self._current.makes_room and self._current.wait(now) <= 0:
            raise NoProviderError(f"{self._current.name} has no room now", retry_after=BUSY)
        leave = self._place(mail, frozenset(), avoid)
        leave.is_trial = self._locality.try_now()
        return leave

    async def wait_for_room(self, seconds: float) -> None:
        """Return when a place was freed, or after *seconds*; those who wait are woken one by one, in order."""
        await self._room.wait(seconds)

    async def rest(self, seconds: float) -> None:
        """Return after *seconds*, or when everybody is woken."""
        await self._room.rest(seconds)

    def wake_all(self) -> None:
        """Let everybody who waits for room, or rests, look again."""
        self._room.wake_all()

    def give_back(self, leave: Leave) -> None:
        """Return a place that was not used."""
        if leave.probe is not None:
            leave.route.breaker.ignored(leave.probe)
        leave.route.rate.give_back()
        self._free(leave)

    async def send(self, mail: Mail, leave: Leave, *, deadline: float, on_move: OnMove) -> Receipt:
        """Hand *mail* to the provider of *leave*, or to others after it until *deadline* (of the clock's `now`).

        Raises `MailRejectedError` (also where every provider refuses its sender), `OutcomeUnknownError`, or
        `NoProviderError` when it was certainly not sent; and whatever *on_move* raises.
        """
        tried: dict[str, ProviderError] = {}
        self._check_time(leave, deadline, mail)
        self._budget.deposit(self._clock.now())
        while True:
            outcome = await self._attempt(mail, leave)
            if isinstance(outcome, Receipt):
                return outcome
            tried[leave.provider] = outcome
            is_free = leave.probe is not None or isinstance(outcome, _HeldBackError)
            leave = await self._next(mail, tried, is_free=is_free)
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
        await close_all(self._providers())

    def _providers(self) -> Sequence[Provider]:
        return [*(route.provider for route in self._routes), *self._asked]

    def _drawn(self, routes: Sequence[Route]) -> tuple[Route, Route]:
        """Return which of *routes* is the one that works, and which is home: those so far, where they may stay."""
        named = {route.name: route for route in routes}
        current = named.get(self._current.name) or self._draw(routes)
        home = named.get(self._home.name)
        if home is None or weights_of(routes) != weights_of(self._routes):
            home = self._draw(routes)
            current = home if home.is_closed else current
        return home if home.forced == "closed" else current, home

    async def _next(self, mail: Mail, tried: Mapping[str, ProviderError], *, is_free: bool) -> Leave:
        """Take a place at another provider; *is_free* where the budget of second attempts is not asked."""
        last = list(tried.values())[-1]
        if all(route.name in tried for route in self._routes) and all(
            isinstance(e, RouteRefusedError) for e in tried.values()
        ):
            raise MailRejectedError(f"{last.problem} (every provider refuses it)", provider=last.provider) from last
        if not is_free and not self._budget.withdraw(self._clock.now()):
            _LOG.warning("retry_budget_used_up", mail_id=mail.id, provider=last.provider)
            raise NoProviderError(last.problem, retry_after=_OUT_OF_BUDGET) from last
        try:
            return await self._place_elsewhere(mail, tried)
        except BaseException:
            if not is_free:
                self._budget.refund(self._clock.now())
            raise

    async def _place_elsewhere(self, mail: Mail, tried: Mapping[str, ProviderError]) -> Leave:
        """Wait a moment where the others are only busy: the mail is claimed, and would have to be claimed anew."""
        until = self._clock.now() + _STAND_BY
        while True:
            try:
                return self._place(mail, frozenset(tried), "")
            except NoProviderError as none:
                if none.retry_after > BUSY or self._clock.now() >= until:
                    problem = list(tried.values())[-1].problem
                    raise NoProviderError(problem, retry_after=max(self.wait(), 1.0)) from none
                await self.wait_for_room(none.retry_after)

    def _check_time(self, leave: Leave, deadline: float, mail: Mail) -> None:
        """Start nothing that may still be under way when the claim's lease ends: another worker would ask about it."""
        if self._clock.now() + leave.timeout <= deadline:
            return
        self.give_back(leave)
        _LOG.warning("out_of_time", mail_id=mail.id, provider=leave.provider)
        raise NoProviderError("no time is left for another attempt", retry_after=1.0)

    async def _attempt(self, mail: Mail, leave: Leave) -> Receipt | ProviderError:
        """Send once; return why it was certainly not sent where another provider may take it, raise all else."""
        route, begun = leave.route, self._clock.now()
        try:
            permit = (None if route.is_barred else leave.probe) or route.breaker.acquire()
        except RejectedError:
            self._free(leave)
            return _HeldBackError("is held back", provider=route.name)
        if permit.is_probe and leave.probe is None:
            self.give_back(replace(leave, probe=permit))
            return _HeldBackError("is due for a probe by now", provider=route.name)
        try:
            receipt = await route.provider.send(mail, timeout=None if leave.probe is None else leave.timeout)
        except ProviderError as error:
            self._learn(route, permit, error, begun)
            if meaning_of(error).may_be_sent or meaning_of(error).scope is Scope.MESSAGE:
                raise
            return error
        except BaseException:
            route.breaker.ignored(permit)
            raise
        else:
            self._learn_success(route, permit)
            return receipt
        finally:
            self._free(leave)

    def _learn_success(self, route: Route, permit: Permit) -> None:
        was = route.breaker.state
        if route.breaker.succeeded(permit):
            self._reached(route)
            self._did_its_work(route, was)

    def _did_its_work(self, route: Route, was: State) -> None:
        """Draw from a mail that was taken or refused what it says of the provider, whose breaker *was* so before."""
        route.failures_in_row = 0
        route.limit.grow()
        self._room.wake_one()
        if was is not route.breaker.state:
            self.past.stands(route.name, route.breaker.state)
            route.limit.restart()
            _LOG.info("provider_recovered", provider=route.name)
        if not self._current.is_closed and route in self._routes:
            self._current = route

    def _learn(self, route: Route, permit: Permit, error: ProviderError, begun: float) -> None:
        """Draw from a failure what it says of the provider, and of this worker."""
        meaning, now, was = meaning_of(error), self._clock.now(), route.breaker.state
        verdict = verdict_on(error)
        if meaning.scope is Scope.WORKER:
            verdict = self._unreached(route, verdict, now)
        else:
            self._reached(route, begun if meaning.may_be_sent else inf)
        counted = route.breaker.report(permit, verdict, error=error)
        if meaning.scope is not Scope.MESSAGE:
            self.past.failed(route.name)
        if counted and verdict.fault is Fault.NONE:
            self._did_its_work(route, was)
        if verdict.fault is Fault.SERVICE:
            route.failures_in_row += 1
        if meaning.is_congestion and counted:
            route.limit.shrink(now, begun=begun)
        if counted and (route.breaker.state is not was or verdict.fault is Fault.ACCOUNT):
            self.past.stands(route.name, route.breaker.state)
            self._tell_down(error, is_locked_out=verdict.fault is Fault.ACCOUNT)

    def _unreached(self, route: Route, verdict: Verdict, now: float) -> Verdict:
        """Note that nobody answered there; where nobody answers anywhere, that is no evidence against a provider."""
        if self.find(route.name) is route.provider and self._locality.unreached(route.name, now):
            _LOG.error("local_fault", reason="no provider can be reached from here", providers=len(self._routes))
            for each in self._routes:
                each.breaker.reset()
                each.limit.restart()
        return Verdict(Fault.LOCAL) if self._locality.is_local else verdict

    def _reached(self, route: Route, at: float = inf) -> None:
        if self._locality.reached(route.name, at):
            _LOG.info("local_fault_over", provider=route.name)

    def _tell_down(self, error: ProviderError, *, is_locked_out: bool) -> None:
        if is_locked_out:
            _LOG.error("provider_locked_out", provider=error.provider, status=error.status, problem=error.problem)
        else:
            _LOG.warning("provider_down", provider=error.provider, status=error.status, problem=error.problem)

    def _place(self, mail: Mail, without: frozenset[str], avoid: str) -> Leave:
        now = self._clock.now()
        self._drift_home(now)
        routes = [route for route in self._routes if route.name not in without]
        free = [route for route in routes if route.has_room and route.wait(now) <= 0]
        for route in self._in_order(free, mail, avoid):
            try:
                return Leave(route, route.enter(now))
            except RejectedError:
                continue
        waits = [max(route.wait(now), 0.0 if route.has_room else BUSY) for route in routes]
        raise NoProviderError("no provider can be used now", retry_after=max(_SHORTEST, min(waits, default=_PAUSE)))

    def _free(self, leave: Leave) -> None:
        leave.route.limit.leave()
        if leave.is_trial:
            self._locality.tried(self._clock.now())
        self._room.wake_one()

    def _drift_home(self, now: float) -> None:
        """Go home once home has been in order for long enough."""
        home = self._home
        if self._current is home or not home.is_closed:
            home.closed_since = None
        elif home.closed_since is None:
            home.closed_since = now
        elif now - home.closed_since >= self._rehome_after:
            self._current = home
            _LOG.info("came_home", provider=home.name)

    def _in_order(self, free: list[Route], mail: Mail, avoid: str) -> list[Route]:
        """Order the admissible: one due for a probe, the one that works, home, the rest by weighted chance."""
        now = self._clock.now()
        due = sorted((route for route in free if not route.is_closed), key=lambda route: route.name == avoid)
        for route in self._routes:
            route.due_since = (route.due_since or now) if route in due else None
        closed = [route for route in free if route.is_closed]
        proven = [route for route in dict.fromkeys((self._current, self._home)) if route in closed]
        others = [*proven, *self._shuffled([route for route in closed if route not in proven])]
        probes_now = any(now - (route.due_since or now) >= _OVERDUE for route in due[:1]) or self._may_probe(mail)
        order = [*due[:1], *others] if probes_now else [*others, *due[:1]]
        return sorted(order, key=lambda route: route.name == avoid)

    def _may_probe(self, mail: Mail) -> bool:
        """A probe may end in doubt: no mail whose owner is waiting for it, or who would rather hold it back."""
        return mail.on_doubt is not OnDoubt.HOLD and not mail.has_expired(self._clock.time() + _HURRY)

    def _shuffled(self, routes: list[Route]) -> list[Route]:
        shuffled = []
        while routes:
            shuffled.append(self._draw(routes))
            routes.remove(shuffled[-1])
        return shuffled

    def _draw(self, routes: Sequence[Route]) -> Route:
        return self._random.choices(routes, weights=[max(r.weight, 1e-9) for r in routes])[0]


class _HeldBackError(ProviderError):
    """The breaker closed the way between the choice of a provider and the attempt."""
