"""Where a provider's limits turn: half used, hurt, begun anew; and what a worker allows that was told nothing."""

from random import Random

from postman.breaker import CircuitBreaker
from postman.runtime.failover import Failover, Route
from postman.runtime.failover.limits import ConcurrencyLimit, RetryBudget
from postman.testing.clock import FakeClock
from postman.testing.provider import FakeProvider
from tests.unit.runtime.router_scene import MAIL


def succeed(limit: ConcurrencyLimit, *, times: int, in_flight: int | None = None) -> None:
    """Let mails end well while so many are under way; by default as many as may be."""
    for _ in range(times):
        limit.in_flight = limit.limit if in_flight is None else in_flight
        limit.grow()


class TestConcurrency:
    def test_half_of_it_must_be_used_before_it_grows(self) -> None:
        limit = ConcurrencyLimit(start=10, most=1_000)
        succeed(limit, times=20, in_flight=4)
        assert limit.limit == 10
        succeed(limit, times=1, in_flight=5)
        assert limit.limit == 11

    def test_after_congestion_a_whole_round_trip_makes_room_for_one_more(self) -> None:
        limit = ConcurrencyLimit(start=100, most=1_000)
        limit.shrink(10.0, begun=9.0)
        succeed(limit, times=60)
        assert limit.limit == 70
        succeed(limit, times=12)
        assert limit.limit == 71

    def test_ten_round_trips_make_room_for_ten_more(self) -> None:
        limit = ConcurrencyLimit(start=100, most=1_000)
        limit.shrink(10.0, begun=9.0)
        for _ in range(10):
            succeed(limit, times=limit.limit)

        assert 79 <= limit.limit <= 80

    def test_congestion_without_end_leaves_one_mail_at_a_time(self) -> None:
        """Less would be none, and nobody would find out that the provider is back."""
        limit = ConcurrencyLimit(start=5, most=1_000)
        for second in range(50):
            limit.shrink(second + 1.0, begun=second + 0.5)

        assert limit.limit == 1
        assert limit.has_room

    def test_begun_anew_it_doubles_also_beyond_where_it_once_hurt(self) -> None:
        limit = ConcurrencyLimit(start=10, most=1_000)
        limit.shrink(10.0, begun=9.0)
        limit.restart()
        succeed(limit, times=10)

        assert limit.limit == 20


class TestBudget:
    def test_by_default_ten_second_attempts_are_free(self) -> None:
        budget = RetryBudget()

        assert [budget.withdraw(100.0) for _ in range(12)].count(True) == 10

    def test_by_default_a_fifth_of_the_first_attempts_comes_besides(self) -> None:
        budget = RetryBudget()
        for _ in range(52):
            budget.deposit(100.0)

        assert [budget.withdraw(100.0) for _ in range(30)].count(True) == 20

    def test_each_second_is_forgotten_by_itself(self) -> None:
        """Also where the clock began at nought a moment ago, as after a restart of the machine."""
        budget = RetryBudget(ratio=1.0, floor=0, memory=10.0)
        for _ in range(5):
            budget.deposit(0.0)
        for _ in range(2):
            budget.deposit(3.0)

        assert budget.left(10.5) == 7.0
        assert budget.left(11.5) == 2.0
        assert budget.left(14.5) == 0.0

    def test_it_remembers_seconds_and_not_mails(self) -> None:
        """A busy worker's memory of a minute is no larger than an idle one's."""
        budget = RetryBudget()
        for mail in range(6_000):
            budget.deposit(100.0 + mail / 100)
            budget.left(100.0 + mail / 100)

        assert len(budget._seconds) <= 12


def test_a_provider_without_a_weight_has_as_much_of_the_load_as_one_with_weight_one() -> None:
    clock, homes = FakeClock(), list[str]()
    for seed in range(400):
        routes = [
            Route(FakeProvider("unnamed", clock=clock), CircuitBreaker("unnamed")),
            Route(FakeProvider("one", clock=clock), CircuitBreaker("one"), weight=1.0),
        ]
        homes.append(Failover(routes, clock=clock, random=Random(seed)).choose(MAIL).provider)

    assert 170 <= homes.count("one") <= 230
