"""The sixteen points that other breakers were measured by, one by one; from the twelfth on in the next module."""

import asyncio
import time as wall

import pytest

from postman.breaker import Event, Verdict
from tests.unit.breaker.kit import Kit, Time, is_rejected, open_it, take


def test_01_generation_a_report_from_before_a_move_counts_for_nothing(kit: Kit, time: Time) -> None:
    """Neither for the state nor for the counts nor for a place or a pause; it is told as stale."""
    events: list[Event] = []
    breaker = kit.make(time, on_event=events.append)
    early = [breaker.acquire() for _ in range(4)]
    open_it(breaker)
    time.now += 8.0
    probe = breaker.acquire()

    assert not breaker.succeeded(early[0])
    assert not breaker.failed(early[1], retry_after=60.0)
    assert not breaker.ignored(early[2])
    assert not breaker.report(early[3], kit.says("account"))
    assert breaker.state == "half_open"
    assert is_rejected(kit, breaker)
    assert breaker.view().paused_for == 0
    assert breaker.view().stale == 4
    assert sum(event.kind == "stale" for event in events) == 4
    assert breaker.succeeded(probe)
    assert (breaker.state, breaker.view().successes, breaker.view().failures) == ("closed", 0, 0)


def test_02_half_open_one_of_fifty_is_let_through(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    open_it(breaker)
    time.now += 8.0

    assert breaker.acquire().is_probe
    assert all(is_rejected(kit, breaker) for _ in range(49))


def test_03_probe_lease_a_probe_that_never_reports_gives_its_place_back(kit: Kit, time: Time) -> None:
    """Its late report counts for nothing."""
    breaker = kit.make(time, recovery=kit.recovery(open_for=8.0, jitter=0.0, successes=1, lease=4.0))
    open_it(breaker)
    time.now += 8.0
    lost = breaker.acquire()
    time.now += 3.0
    with pytest.raises(kit.rejected) as rejected:
        breaker.acquire()
    time.now += rejected.value.retry_after
    second = breaker.acquire()

    assert second.is_probe
    assert not breaker.succeeded(lost)
    assert breaker.state == "half_open"
    assert breaker.succeeded(second)


@pytest.mark.parametrize("error", [asyncio.CancelledError, KeyboardInterrupt, GeneratorExit, SystemExit])
def test_04_cancellation_is_no_evidence(kit: Kit, time: Time, error: type[BaseException]) -> None:
    """It opens nothing, interrupts no row of failures, and closes nothing; the classifier is not asked."""
    asked: list[Exception] = []

    def classify(given: Exception) -> Verdict:
        asked.append(given)
        return kit.says("service")

    breaker = kit.make(time, classify=classify)

    def give_up() -> None:
        with pytest.raises(error):
            breaker.call(_raise, error())

    take(breaker, failures=2)
    for _ in range(3):
        give_up()
    assert (breaker.state, breaker.view().failures, breaker.view().running) == ("closed", 2, 0)
    take(breaker, failures=1)
    assert breaker.state == "open"
    time.now += 8.0
    give_up()
    assert breaker.state == "half_open"
    assert breaker.acquire().is_probe
    assert not asked


@pytest.mark.parametrize("fault", ["call", "local", "cancelled"])
def test_05_ignored_is_no_success(kit: Kit, time: Time, fault: str) -> None:
    """It interrupts no row of failures and does not close: the probe is offered again."""
    breaker = kit.make(time)
    take(breaker, failures=2)
    breaker.report(breaker.acquire(), kit.says(fault))
    take(breaker, failures=1)
    assert breaker.state == "open"
    time.now += 8.0
    breaker.report(breaker.acquire(), kit.says(fault))

    assert breaker.state == "half_open"
    assert breaker.acquire().is_probe


def test_06_late_failures_prolong_nothing(kit: Kit, time: Time) -> None:
    events: list[Event] = []
    breaker = kit.make(time, on_event=events.append)
    early = [breaker.acquire() for _ in range(5)]
    open_it(breaker)
    time.now += 7.0
    for permit in early:
        breaker.failed(permit, retry_after=60.0)

    assert breaker.retry_after() == 1.0
    assert sum(event.kind == "moved" for event in events) == 1


def test_07_time_is_the_clock_that_was_handed_in_and_no_other(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    open_it(breaker)
    limit = wall.monotonic() + 0.01
    while wall.monotonic() < limit:
        assert breaker.retry_after() == 8.0
    time.now += 7.75

    assert breaker.retry_after() == 0.25
    assert is_rejected(kit, breaker)
    time.now += 0.25
    assert not is_rejected(kit, breaker)


def test_07_time_a_clock_that_goes_back_is_taken_to_stand_still(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    open_it(breaker)
    time.now += 4.0
    assert breaker.retry_after() == 4.0
    time.now -= 3_600.0

    assert breaker.retry_after() == 4.0
    time.now += 3_604.0
    assert not is_rejected(kit, breaker)


def test_07_time_a_clock_that_went_back_makes_no_call_slow(kit: Kit, time: Time) -> None:
    breaker = kit.make(time, kit.trip(slow_after=2.0))
    take(breaker, successes=1)
    time.now -= 3_600.0
    permit = breaker.acquire()
    time.now += 3_600.0
    breaker.failed(permit)

    assert breaker.view().slow == 0


def test_08_windows_half_of_the_calls_failing_opens_it_though_never_in_a_row(kit: Kit, time: Time) -> None:
    breaker = kit.make(time, kit.trip(minimum=20))
    for _ in range(9):
        take(breaker, successes=1, failures=1)
    take(breaker, successes=1)
    assert breaker.state == "closed"
    take(breaker, failures=1)

    assert breaker.state == "open"


def test_08_windows_a_success_that_completes_the_minimum_opens_nothing(kit: Kit, time: Time) -> None:
    breaker = kit.make(time, kit.trip(consecutive=None, minimum=10))
    take(breaker, failures=9)
    take(breaker, successes=1)

    assert breaker.state == "closed"


def test_08_windows_what_is_older_than_the_window_is_forgotten(kit: Kit, time: Time) -> None:
    breaker = kit.make(time, kit.trip(consecutive=None, minimum=4, window=10.0))
    take(breaker, failures=3)
    time.now += 9.0
    assert breaker.view().failures == 3
    time.now += 1.0

    assert breaker.view().failures == 0
    take(breaker, failures=3)
    assert breaker.state == "closed"


def test_08_windows_successes_noted_without_the_lock_are_in_time_for_a_failure(kit: Kit, time: Time) -> None:
    breaker = kit.make(time, kit.trip(consecutive=None, minimum=1, rate=0.5, window=10.0))
    early = breaker.acquire()
    for _ in range(9):
        breaker.call(int)
    time.now += 3.0
    breaker.failed(early)

    assert (breaker.state, breaker.view().successes, breaker.view().failures) == ("closed", 9, 1)


def test_09_slow_calls_count_by_their_own_rate_though_they_succeed(kit: Kit, time: Time) -> None:
    breaker = kit.make(time, kit.trip(slow_after=2.0, slow_rate=0.5, minimum=4))
    take(breaker, successes=2)
    for state in ("closed", "open"):
        permit = breaker.acquire()
        time.now += 2.0
        breaker.succeeded(permit)
        assert breaker.state == state


def test_09_slow_probes_count_as_failed(kit: Kit, time: Time) -> None:
    breaker = kit.make(time, kit.trip(consecutive=3, slow_after=2.0))
    open_it(breaker)
    time.now += 8.0
    probe = breaker.acquire()
    time.now += 2.0
    breaker.succeeded(probe)

    assert (breaker.state, breaker.retry_after()) == ("open", 16.0)


def test_10_in_flight_calls_that_hang_count_while_they_still_run(kit: Kit, time: Time) -> None:
    breaker = kit.make(time, kit.trip(slow_after=2.0, minimum=4))
    for _ in range(4):
        breaker.acquire()
    time.now += 1.75
    assert not is_rejected(kit, breaker)
    time.now += 0.25

    assert breaker.view().overdue == 4
    assert is_rejected(kit, breaker)
    assert breaker.state == "open"


def test_10_in_flight_calls_count_beside_a_success_that_completes_the_minimum(kit: Kit, time: Time) -> None:
    breaker = kit.make(time, kit.trip(slow_after=1.0, slow_rate=0.5, minimum=4))
    for _ in range(3):
        breaker.acquire()
    time.now += 2.0
    take(breaker, successes=1)

    assert is_rejected(kit, breaker)


def test_11_open_period_grows_with_each_failed_probe_up_to_a_limit_and_shrinks_by_closing(kit: Kit, time: Time) -> None:
    breaker = kit.make(time, recovery=kit.recovery(open_for=8.0, factor=2.0, max_open=20.0, jitter=0.0, successes=1))
    open_it(breaker)
    for period in (8.0, 16.0, 20.0, 20.0):
        assert breaker.retry_after() == period
        time.now += period
        take(breaker, failures=1)
    time.now += 20.0
    take(breaker, successes=1)
    open_it(breaker)

    assert breaker.retry_after() == 8.0


def test_11_open_period_is_as_long_as_the_service_asked_and_a_later_end_replaces_an_earlier(
    kit: Kit, time: Time
) -> None:
    breaker = kit.make(time)
    permits = [breaker.acquire() for _ in range(4)]
    for permit, asked, wait in zip(permits, (20.0, 60.0, 4.0), (20.0, 60.0, 60.0), strict=False):
        breaker.failed(permit, retry_after=asked)
        assert breaker.retry_after() == wait
    assert breaker.state == "open"
    time.now += 59.0
    assert is_rejected(kit, breaker)


def _raise(error: BaseException) -> None:
    raise error
