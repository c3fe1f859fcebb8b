"""The router under outages, in virtual time: what it costs a dead provider, a throttled one, and the next one."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

import pytest

from postman import Address, Mail
from postman.breaker import CircuitBreaker, Event, EventKind, Recovery, State, Trigger, Trip
from postman.errors import (
    MailRejectedError,
    NoProviderError,
    OutcomeUnknownError,
    ProviderDownError,
    ProviderError,
    ProviderUnreachableError,
    ThrottledError,
)
from postman.ports.provider import Receipt
from postman.runtime.failover import Failover, Route
from postman.testing.virtual import VirtualClock, run_virtually

AT_ONCE = 50
THRESHOLD = 5
MAX_OPEN = 60.0
REHOME = 120.0


def mails(count: int) -> Iterator[Mail]:
    for number in range(count):
        yield Mail(
            id=f"mail-{number}",
            from_=Address(email="a@example.org"),
            to=(Address(email="b@example.org"),),
            subject="s",
            text="t",
        )


@dataclass
class Plan:
    """A provider that answers each mail as *answer* says, after *delay* seconds; remembers when it was asked."""

    name: str
    clock: VirtualClock
    answer: "Callable[[Plan, Mail], ProviderError | None]" = lambda _plan, _mail: None
    delay: float = 0.05
    timeout: float = 10.0
    look_up_after: float = 0.0
    idempotent_for: float = 0.0
    asked: list[tuple[float, str]] = field(default_factory=list)
    answered: list[tuple[float, ProviderError | None]] = field(default_factory=list)
    taken: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    most_in_flight: int = 0

    async def send(self, mail: Mail, *, timeout: float | None = None) -> Receipt:
        self.asked.append((self.clock.now(), mail.id))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        error = self.answer(self, mail)
        limit = min(timeout or self.timeout, self.timeout)
        try:
            await asyncio.sleep(min(self.delay, limit))
        finally:
            self.in_flight -= 1
        if error is None and self.delay > limit:
            error = OutcomeUnknownError("gave no answer in time", provider=self.name)
        self.answered.append((self.clock.now(), error))
        if error is not None:
            raise error
        self.taken[mail.id] += 1
        return Receipt(self.name, mail.id)

    async def look_up(self, mail: Mail) -> Receipt | None:
        raise ProviderError("cannot be asked", provider=self.name)

    async def aclose(self) -> None:
        pass


class Town:
    """Providers a (home) and b behind real breakers, and a crowd that sends *count* mails, *AT_ONCE* at a time."""

    def __init__(self, *, seed: int = 1) -> None:
        self.clock = VirtualClock()
        self.a = Plan("a", self.clock)
        self.b = Plan("b", self.clock)
        self.events: list[Event] = []
        self.routes = [self._route(self.a, 1.0), self._route(self.b, 0.0)]
        self.failover = Failover(self.routes, clock=self.clock, random=Random(seed), rehome_after=REHOME)
        self.doubtful: list[str] = []
        self.refused: list[str] = []
        self.rounds = 0
        self.pauses: list[float] = []

    def _route(self, plan: Plan, weight: float) -> Route:
        breaker = CircuitBreaker(
            plan.name,
            Trip(consecutive=THRESHOLD, slow_after=plan.timeout / 2),
            Recovery(max_open=MAX_OPEN, lease=plan.timeout + 5.0),
            clock=self.clock.now,
            random=Random(2).random,
            on_event=self.events.append,
        )
        return Route(plan, breaker, weight=weight)

    def moves(self, name: str, *triggers: Trigger) -> int:
        return sum(e.name == name and e.kind is EventKind.MOVED and e.trigger in triggers for e in self.events)

    def open_periods(self, name: str) -> int:
        return self.moves(name, Trigger.TRIPPED, Trigger.PROBE_FAILED, Trigger.LOCKED_OUT)

    async def send_all(self, count: int) -> None:
        """Each mail again and again until it is taken, refused or in doubt; nobody pulls while nobody can send."""
        waiting = deque(mails(count))
        await asyncio.gather(*(self._sender(waiting) for _ in range(AT_ONCE)))

    async def _sender(self, waiting: deque[Mail]) -> None:
        while waiting:
            if (pause := self.failover.wait()) > 0:
                self.pauses.append(pause)
                await asyncio.sleep(pause)
                continue
            mail = waiting.popleft()
            try:
                await self._send(mail)
            except NoProviderError as none:
                waiting.append(mail)
                await asyncio.sleep(none.retry_after)
            except OutcomeUnknownError:
                self.doubtful.append(mail.id)
            except MailRejectedError:
                self.refused.append(mail.id)

    async def _send(self, mail: Mail) -> None:
        began = self.clock.now()
        while True:
            self.rounds += 1
            try:
                leave = self.failover.choose(mail, is_patient=self.clock.now() < began + 0.5)
                break
            except NoProviderError as none:
                if none.retry_after > 5.0:
                    raise
                await self.failover.wait_for_room(none.retry_after)
        await self.failover.send(mail, leave, deadline=self.clock.now() + 23.0, on_move=self._moved)

    async def _moved(self, provider: str) -> None:
        await asyncio.sleep(0.002)


def refuses(plan: Plan, _: Mail) -> ProviderError:
    return ProviderDownError("503", provider=plan.name)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_dead_primary_costs_its_threshold_and_one_attempt_for_each_open_period(seed: int) -> None:
    async def main() -> Town:
        town = Town(seed=seed)
        town.a.answer = refuses
        town.a.delay = 0.01
        await town.send_all(10_000)
        return town

    town = run_virtually(main())
    assert len(town.b.taken) == 10_000 == town.b.taken.total()
    assert len(town.a.asked) <= THRESHOLD + town.open_periods("a")
    assert town.open_periods("b") == 0


def test_a_hanging_primary_costs_no_more_and_its_mails_go_nowhere_else() -> None:
    async def main() -> Town:
        town = Town()
        town.a.delay = 60.0
        await town.send_all(10_000)
        return town

    town = run_virtually(main())
    assert len(town.a.asked) <= THRESHOLD + town.open_periods("a")
    assert sorted(town.doubtful) == sorted(mail_id for _, mail_id in town.a.asked)
    assert not set(town.doubtful) & set(town.b.taken)
    assert len(town.b.taken) + len(town.doubtful) == 10_000


def test_a_primary_that_dies_under_load_costs_what_was_in_flight_besides() -> None:
    async def main() -> Town:
        town = Town()
        town.a.answer = lambda plan, mail: refuses(plan, mail) if len(plan.taken) >= 3_000 else None
        await town.send_all(10_000)
        return town

    town = run_virtually(main())
    failed = sum(isinstance(error, ProviderDownError) for _, error in town.a.answered)
    assert failed <= AT_ONCE + THRESHOLD + town.open_periods("a")
    assert town.a.taken.total() + town.b.taken.total() == 10_000 == len(town.a.taken | town.b.taken)
    assert town.b.most_in_flight <= AT_ONCE


def test_with_both_down_there_is_no_hot_loop_and_recovery_comes_within_one_probe_period() -> None:
    outage = 1_800.0

    async def main() -> tuple[Town, float]:
        town = Town()
        began = town.clock.now()
        for plan in (town.a, town.b):
            plan.answer = lambda plan, mail: refuses(plan, mail) if town.clock.now() < began + outage else None
            plan.delay = 0.01
        await town.send_all(500)
        return town, began

    town, began = run_virtually(main())
    during = [at for plan in (town.a, town.b) for at, _ in plan.asked if at < began + outage]
    periods = town.open_periods("a") + town.open_periods("b")
    assert len(during) <= 2 * THRESHOLD + periods + AT_ONCE
    assert periods <= 2 * (outage / (MAX_OPEN * 0.8) + 10)
    assert town.rounds < 20 * 500, "the mails were tried in a hot loop"
    assert max(town.pauses) > MAX_OPEN / 2, "nobody paused"
    first = min(at for plan in (town.a, town.b) for at, error in plan.answered if error is None)
    assert first <= began + outage + MAX_OPEN
    assert town.a.taken.total() + town.b.taken.total() == 500


@pytest.mark.parametrize("retry_after", [3.0, 30.0, 600.0])
def test_a_throttled_provider_gets_no_request_before_its_reset(retry_after: float) -> None:
    async def main() -> Town:
        town = Town()
        throttles = iter([300, 1_500])
        at = next(throttles)

        def answer(plan: Plan, _: Mail) -> ProviderError | None:
            nonlocal at
            if len(plan.asked) < at:
                return None
            at = next(throttles, 1_000_000)
            return ThrottledError("429", provider=plan.name, retry_after=retry_after)

        town.a.answer = answer
        town.b.delay = 0.5
        await town.send_all(4_000)
        return town

    town = run_virtually(main())
    throttled = [at for at, error in town.a.answered if isinstance(error, ThrottledError)]
    assert throttled
    for at in throttled:
        assert not [asked for asked, _ in town.a.asked if at < asked < at + retry_after]
    assert town.a.taken.total() + town.b.taken.total() == 4_000
    assert not town.open_periods("a"), "throttled is not broken"


def test_with_one_refused_mail_in_ten_no_breaker_moves() -> None:
    async def main() -> Town:
        town = Town()
        town.a.answer = lambda plan, mail: (
            MailRejectedError("400", provider=plan.name) if mail.id.endswith("7") else None
        )
        await town.send_all(3_000)
        return town

    town = run_virtually(main())
    assert len(town.refused) == 300
    assert town.a.taken.total() == 2_700
    assert not [event for event in town.events if event.kind is EventKind.MOVED]


def test_failing_over_does_not_topple_a_provider_that_can_take_less() -> None:
    """It throttles what exceeds twenty in flight; the number in flight is found, and the rest waits."""

    async def main() -> Town:
        town = Town()
        town.a.answer = refuses
        town.b.answer = lambda plan, _: (
            ThrottledError("429", provider=plan.name, retry_after=1.0) if plan.in_flight > 20 else None
        )
        await town.send_all(5_000)
        return town

    town = run_virtually(main())
    throttled = sum(isinstance(error, ThrottledError) for _, error in town.b.answered)
    assert town.b.taken.total() == 5_000
    assert throttled < 0.02 * 5_000
    assert town.open_periods("b") == 0


def test_where_nobody_can_be_reached_the_fault_is_local_and_no_breaker_learns_from_it() -> None:
    outage = 900.0

    async def main() -> tuple[Town, float, list[str]]:
        town = Town()
        began = town.clock.now()
        told: list[str] = []

        def answer(plan: Plan, _: Mail) -> ProviderError | None:
            told.append(town.failover.local_fault)
            if town.clock.now() >= began + outage:
                return None
            return ProviderUnreachableError("no route", provider=plan.name)

        for plan in (town.a, town.b):
            plan.answer = answer
            plan.delay = 0.01
        await town.send_all(300)
        return town, began, told

    town, began, told = run_virtually(main())
    assert any("no provider could be reached" in each for each in told)
    assert not town.failover.local_fault
    assert town.moves("a", Trigger.PROBE_FAILED) == town.moves("b", Trigger.PROBE_FAILED) == 0
    during = [at for plan in (town.a, town.b) for at, _ in plan.asked if began + 60 < at < began + outage]
    assert len(during) <= 2 * outage / 15, "one mail at a time tries, every half a minute"
    first = min(at for plan in (town.a, town.b) for at, error in plan.answered if error is None)
    assert first <= began + outage + 31.0
    assert town.a.taken.total() + town.b.taken.total() == 300


def test_after_an_outage_the_fleet_is_back_at_its_weights_and_does_not_return_all_at_once() -> None:
    """Forty workers, most of them at home at a; a is down for five minutes."""

    async def main() -> tuple[list[float], float, float, float]:
        clock = VirtualClock()
        began = clock.now()
        a, b = Plan("a", clock), Plan("b", clock)
        a.answer = lambda plan, mail: refuses(plan, mail) if began + 60 <= clock.now() < began + 360 else None
        towns = []
        for seed in range(40):
            town = Town(seed=seed)
            town.routes = [town._route(a, 3.0), town._route(b, 1.0)]
            town.failover = Failover(town.routes, clock=clock, random=Random(seed), rehome_after=REHOME)
            towns.append(town)
        shares = [town.failover._home.name for town in towns].count("a") / 40

        async def work(town: Town) -> None:
            for mail in mails(900):
                await town._send(mail)
                await asyncio.sleep(1.0)

        await asyncio.gather(*(work(town) for town in towns))
        asked = [at - began for at, _ in a.asked]
        return asked, shares, began, clock.now()

    asked, share, *_ = run_virtually(main())

    def at_a(begin: float, end: float) -> float:
        return sum(begin <= at < end for at in asked) / (40 * (end - begin))

    documented = MAX_OPEN + 1.5 * REHOME
    assert at_a(0, 60) == pytest.approx(share, abs=0.1)
    assert at_a(130, 360) < 0.05
    assert at_a(360 + documented, 360 + documented + 120) == pytest.approx(share, abs=0.1)
    halfway = at_a(360 + MAX_OPEN, 360 + MAX_OPEN + REHOME)
    assert 0.05 < halfway < share - 0.1, "it comes back by degrees"


def test_a_state_is_only_left_by_the_table() -> None:
    """What the simulation saw of moves is what the table allows."""

    async def main() -> Town:
        town = Town()
        town.a.answer = refuses
        await town.send_all(1_000)
        return town

    moved = {(e.old, e.new) for e in run_virtually(main()).events if e.kind is EventKind.MOVED}
    assert moved <= {
        (State.CLOSED, State.OPEN),
        (State.OPEN, State.HALF_OPEN),
        (State.HALF_OPEN, State.OPEN),
        (State.HALF_OPEN, State.CLOSED),
    }
