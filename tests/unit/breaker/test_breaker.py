"""The circuit breaker, by its promises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postman.breaker import CircuitBreaker, Permit, Recovery, RejectedError, State, Trip


class Time:
    """A clock to be set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def breaker(time: Time) -> CircuitBreaker:
    return CircuitBreaker(
        "a",
        Trip(consecutive=3, minimum=10),
        Recovery(open_for=10.0, lease=5.0, jitter=0.0, successes=1),
        clock=time,
    )


def trip(breaker: CircuitBreaker) -> None:
    for _ in range(3):
        breaker.failed(breaker.acquire())


def test_it_opens_after_failures_in_a_row(breaker: CircuitBreaker) -> None:
    trip(breaker)

    assert breaker.state is State.OPEN
    with pytest.raises(RejectedError) as rejected:
        breaker.acquire()
    assert rejected.value.retry_after == 10.0


def test_a_success_between_failures_begins_the_row_anew(breaker: CircuitBreaker) -> None:
    for _ in range(2):
        breaker.failed(breaker.acquire())
    breaker.succeeded(breaker.acquire())
    breaker.failed(breaker.acquire())

    assert breaker.state is State.CLOSED


def test_an_ignored_call_between_failures_changes_nothing(breaker: CircuitBreaker) -> None:
    for _ in range(2):
        breaker.failed(breaker.acquire())
    breaker.ignored(breaker.acquire())
    breaker.failed(breaker.acquire())

    assert breaker.state is State.OPEN


def test_it_opens_when_half_of_the_calls_fail_though_never_in_a_row(breaker: CircuitBreaker) -> None:
    for _ in range(5):
        breaker.succeeded(breaker.acquire())
        breaker.failed(breaker.acquire())

    assert breaker.state is State.OPEN


def test_failures_out_of_the_window_are_forgotten(time: Time) -> None:
    breaker = CircuitBreaker("a", Trip(consecutive=100, minimum=10, window=30.0), clock=time)
    for _ in range(9):
        breaker.failed(breaker.acquire())
    time.now += 40.0
    breaker.failed(breaker.acquire())

    assert breaker.state is State.CLOSED


def test_when_its_time_is_over_it_lets_exactly_one_through(breaker: CircuitBreaker, time: Time) -> None:
    trip(breaker)
    time.now += 10.0

    assert breaker.acquire().is_probe
    for _ in range(50):
        with pytest.raises(RejectedError):
            breaker.acquire()


def test_a_good_probe_closes_it(breaker: CircuitBreaker, time: Time) -> None:
    trip(breaker)
    time.now += 10.0
    breaker.succeeded(breaker.acquire())

    assert breaker.state is State.CLOSED


def test_a_bad_probe_opens_it_for_longer(breaker: CircuitBreaker, time: Time) -> None:
    trip(breaker)
    time.now += 10.0
    breaker.failed(breaker.acquire())

    assert breaker.state is State.OPEN
    assert breaker.retry_after() == 20.0


def test_a_probe_that_says_nothing_is_offered_again(breaker: CircuitBreaker, time: Time) -> None:
    trip(breaker)
    time.now += 10.0
    breaker.ignored(breaker.acquire())

    assert breaker.acquire().is_probe


def test_a_probe_that_never_reports_loses_its_place_and_its_late_report(breaker: CircuitBreaker, time: Time) -> None:
    trip(breaker)
    time.now += 10.0
    lost = breaker.acquire()
    time.now += 5.0
    second = breaker.acquire()

    assert second.is_probe
    assert not breaker.succeeded(lost)
    assert breaker.state is State.HALF_OPEN


def test_a_success_from_before_the_trip_does_not_close_it(breaker: CircuitBreaker) -> None:
    early = breaker.acquire()
    trip(breaker)

    assert not breaker.succeeded(early)
    assert breaker.state is State.OPEN


def test_late_failures_do_not_prolong_the_break(breaker: CircuitBreaker, time: Time) -> None:
    early = breaker.acquire()
    trip(breaker)
    time.now += 9.0
    breaker.failed(early)

    assert breaker.retry_after() == 1.0


def test_the_later_deadline_wins(breaker: CircuitBreaker) -> None:
    for _ in range(2):
        breaker.failed(breaker.acquire())
    breaker.failed(breaker.acquire(), retry_after=60.0)

    assert breaker.retry_after() == 60.0


def test_tripping_opens_at_once_and_never_shortens(breaker: CircuitBreaker) -> None:
    breaker.lock_out(300.0)
    breaker.lock_out(5.0)

    assert breaker.retry_after() == 300.0


def test_asking_for_the_state_changes_nothing(breaker: CircuitBreaker, time: Time) -> None:
    trip(breaker)
    time.now += 100.0

    assert breaker.state is State.OPEN
    assert breaker.retry_after() == 0.0
    assert breaker.state is State.OPEN


@given(st.lists(st.sampled_from(["ignored", "succeeded"]), max_size=60))
def test_a_breaker_without_failures_never_opens(reports: list[str]) -> None:
    breaker = CircuitBreaker("a", Trip(consecutive=1, minimum=1))
    for report in reports:
        getattr(breaker, report)(breaker.acquire())

    assert breaker.state is State.CLOSED


@given(st.lists(st.tuples(st.sampled_from(["acquire", "ok", "bad", "ignore", "wait"]), st.integers(0, 9)), max_size=80))
def test_never_more_than_one_fresh_probe_is_out(steps: list[tuple[str, int]]) -> None:
    time = Time()
    breaker = CircuitBreaker(
        "a", Trip(consecutive=2), Recovery(open_for=10.0, lease=5.0, jitter=0.0, successes=1), clock=time
    )
    out: list[tuple[Permit, float]] = []
    for step, number in steps:
        if step == "wait":
            time.now += number
        elif step == "acquire":
            try:
                permit = breaker.acquire()
            except RejectedError:
                continue
            fresh = [p for p, since in out if p.is_probe and time.now - since < 5.0]
            assert not (permit.is_probe and fresh)
            out.append((permit, time.now))
        elif out:
            permit, _ = out.pop(number % len(out))
            {"ok": breaker.succeeded, "bad": breaker.failed, "ignore": breaker.ignored}[step](permit)
