"""How much a provider may have: its rate, its mails in flight, and the budget of second attempts."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postman.runtime.failover.limits import ConcurrencyLimit, RateLimit, RetryBudget

WAITS = st.lists(st.floats(0.0, 3.0), min_size=1, max_size=80)


class TestRateLimit:
    def test_without_a_rate_nobody_waits(self) -> None:
        limit = RateLimit(None)
        for _ in range(100):
            limit.take(5.0)

        assert limit.wait(5.0) == 0.0

    def test_one_may_go_at_once_and_the_next_ones_in_step(self) -> None:
        limit = RateLimit(2.0)
        limit.take(100.0)
        limit.take(100.4)

        assert limit.wait(100.4) == pytest.approx(0.5)
        assert limit.wait(100.9) == pytest.approx(0.0)

    def test_who_comes_a_little_late_is_made_up_for(self) -> None:
        limit = RateLimit(10.0)
        for number in range(10):
            limit.take(100.0 + 0.1 * number + 0.05)

        assert limit.wait(101.0) == 0.0

    def test_what_was_not_used_for_long_is_not_saved_up(self) -> None:
        limit = RateLimit(10.0)
        limit.take(100.0)
        limit.take(200.0)
        limit.take(200.0)

        assert limit.wait(200.0) == pytest.approx(0.1)

    @given(rate=st.floats(0.1, 500.0), waits=WAITS)
    def test_no_window_holds_more_than_the_rate_allows(self, rate: float, waits: list[float]) -> None:
        """Whoever takes as soon as he may, with pauses between, gets a tenth of a second's mails more, and one."""
        limit, now, taken = RateLimit(rate), 1_000.0, list[float]()
        for wait in waits:
            now += wait / rate
            now += limit.wait(now)
            limit.take(now)
            taken.append(now)

        for first, begin in enumerate(taken):
            for last in range(first, len(taken)):
                assert last - first + 1 <= rate * (taken[last] - begin + 0.1) + 1 + 1e-6

    @given(rate=st.floats(0.1, 500.0), count=st.integers(1, 50))
    def test_whoever_waits_as_he_is_told_gets_the_whole_rate(self, rate: float, count: int) -> None:
        limit, now = RateLimit(rate), 1_000.0
        for _ in range(count):
            now += limit.wait(now)
            limit.take(now)

        assert now - 1_000.0 <= count / rate


class TestConcurrencyLimit:
    def test_it_starts_small_and_never_above_what_the_owner_allows(self) -> None:
        assert ConcurrencyLimit(start=5, most=100).limit == 5
        assert ConcurrencyLimit(start=5, most=2).limit == 2

    def test_there_is_room_until_the_limit_is_reached(self) -> None:
        limit, room = ConcurrencyLimit(start=2, most=100), list[bool]()
        for step in (limit.enter, limit.enter, limit.leave):
            step()
            room.append(limit.has_room)

        assert room == [True, False, True]

    def test_it_doubles_with_each_round_trip_until_congestion(self) -> None:
        limit = ConcurrencyLimit(start=5, most=1_000)
        _round_trip(limit)
        assert limit.limit == 10
        _round_trip(limit)
        assert limit.limit == 20

    def test_after_congestion_it_is_a_third_smaller_and_grows_by_one_a_round_trip(self) -> None:
        limit = ConcurrencyLimit(start=100, most=1_000)
        limit.shrink(10.0, begun=9.0)
        assert limit.limit == 70
        _round_trip(limit)
        assert 70 <= limit.limit <= 71

    def test_near_where_it_last_hurt_it_grows_ten_times_slower(self) -> None:
        limit = ConcurrencyLimit(start=10, most=1_000)
        limit.shrink(10.0, begun=9.0)
        trips = [_trips_until(limit, size) for size in (8, 9, 10)]

        assert trips[0] <= 2
        assert trips[1] <= 2
        assert trips[2] >= 9

    def test_all_that_was_under_way_tells_of_one_congestion(self) -> None:
        limit = ConcurrencyLimit(start=100, most=1_000)
        for _ in range(50):
            limit.shrink(10.0, begun=9.0)
        assert limit.limit == 70
        limit.shrink(12.0, begun=10.5)
        assert limit.limit == 49

    def test_a_limit_that_is_hardly_used_proves_nothing(self) -> None:
        limit = ConcurrencyLimit(start=10, most=1_000)
        for _ in range(100):
            limit.enter()
            limit.grow()
            limit.leave()

        assert limit.limit == 10

    def test_it_begins_anew_as_if_nothing_had_hurt(self) -> None:
        limit = ConcurrencyLimit(start=5, most=1_000)
        for _ in range(4):
            _round_trip(limit)
        limit.shrink(10.0, begun=9.0)
        limit.restart()
        assert limit.limit == 5
        _round_trip(limit)
        assert limit.limit == 10

    def test_room_may_be_made_only_below_what_the_owner_allows(self) -> None:
        limit = ConcurrencyLimit(start=5, most=10)
        assert limit.is_settling
        _round_trip(limit)
        assert not limit.is_settling

    @given(
        start=st.integers(1, 20),
        most=st.integers(1, 40),
        steps=st.lists(st.sampled_from(["enter", "success", "congestion", "ignored", "restart", "old"]), max_size=200),
    )
    def test_it_stays_between_one_and_what_the_owner_allows(self, start: int, most: int, steps: list[str]) -> None:
        """Under any mix of outcomes; nobody who asks for room first ever exceeds the limit of that moment."""
        limit, now, flying = ConcurrencyLimit(start=start, most=most), 0.0, list[float]()
        for step in steps:
            now += 1.0
            _step(limit, step, now, flying)

            assert 1 <= limit.limit <= most
            assert limit.in_flight == len(flying)


def _step(limit: ConcurrencyLimit, step: str, now: float, flying: list[float]) -> None:
    if step == "enter":
        if limit.has_room:
            limit.enter()
            flying.append(now)
            assert limit.in_flight <= limit.limit
    elif step == "restart":
        limit.restart()
    elif flying:
        begun = flying.pop(0 if step == "old" else -1)
        if step == "success":
            limit.grow()
        if step in ("congestion", "old"):
            limit.shrink(now, begun=begun)
        limit.leave()


def _round_trip(limit: ConcurrencyLimit) -> None:
    """Fill it, and let all that is in flight succeed."""
    count = limit.limit
    for _ in range(count):
        limit.enter()
    for _ in range(count):
        limit.in_flight = count
        limit.grow()
    limit.in_flight = 0


def _trips_until(limit: ConcurrencyLimit, size: int) -> int:
    trips = 0
    while limit.limit < size:
        _round_trip(limit)
        trips += 1
    return trips


@dataclass(frozen=True, slots=True)
class Step:
    """What one mail does, so long after the one before it."""

    wait: float
    attempts: int


STEPS = st.lists(st.builds(Step, wait=st.floats(0.0, 4.0), attempts=st.integers(0, 12)), max_size=60)


class TestRetryBudget:
    def test_a_few_second_attempts_are_always_left(self) -> None:
        budget = RetryBudget(ratio=0.2, floor=3)

        assert [budget.withdraw(100.0) for _ in range(4)] == [True, True, True, False]
        assert budget.left(100.0) == 0.0

    def test_each_first_attempt_adds_its_share(self) -> None:
        budget = RetryBudget(ratio=0.5, floor=0)
        budget.deposit(100.0)
        assert not budget.withdraw(100.0)
        budget.deposit(100.1)
        assert budget.withdraw(100.2)

    def test_what_is_older_than_its_memory_counts_no_more(self) -> None:
        budget = RetryBudget(ratio=1.0, floor=0, memory=10.0)
        for _ in range(5):
            budget.deposit(100.0)

        assert budget.left(109.0) == 5.0
        assert budget.left(111.0) == 0.0

    def test_what_was_used_is_there_again_later(self) -> None:
        budget = RetryBudget(ratio=0.0, floor=2)
        assert [budget.withdraw(100.0) for _ in range(3)] == [True, True, False]

        assert budget.left(111.0) == 2.0

    @given(ratio=st.sampled_from([0.0, 0.2, 0.25, 1.0]), floor=st.integers(0, 10), steps=STEPS)
    def test_second_attempts_stay_a_share_of_first_ones(self, ratio: float, floor: int, steps: list[Step]) -> None:
        """Counted naively whenever one is made: up to a second that is forgotten early or late."""
        budget, now = RetryBudget(ratio=ratio, floor=floor, memory=10.0), 100.0
        first, second = list[float](), list[float]()
        for step in steps:
            now += step.wait
            budget.deposit(now)
            first.append(now)
            for _ in range(step.attempts):
                left = budget.left(now)
                assert left >= 0.0
                if budget.withdraw(now):
                    second.append(now)
                    recent = sum(at > now - 9.0 for at in second)
                    assert recent <= floor + ratio * sum(at > now - 11.0 for at in first) + 1e-6
