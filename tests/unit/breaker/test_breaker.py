"""The circuit breaker, a promise at a time; `test_checklist.py` has those that others break."""

from math import inf

import pytest

from postman.breaker import CircuitBreaker, Event, ProbeStats
from tests.unit.breaker.kit import Kit, Time, is_rejected, open_it, take


def test_closed_every_call_goes_through_and_its_end_is_counted(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    permits = [breaker.acquire() for _ in range(5)]
    assert breaker.view().running == 5
    assert breaker.succeeded(permits[0])
    assert breaker.failed(permits[1])
    assert breaker.ignored(permits[2])

    view = breaker.view()
    assert (view.state, view.successes, view.failures, view.running) == ("closed", 1, 1, 2)
    assert not permits[0].is_probe


def test_a_success_begins_the_row_of_failures_anew(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    take(breaker, failures=2)
    take(breaker, successes=1, failures=2)

    assert (breaker.state, breaker.view().failures_in_row) == ("closed", 2)
    take(breaker, failures=1)
    assert breaker.state == "open"


def test_a_call_is_counted_once_however_often_it_is_reported(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    permit = breaker.acquire()

    assert breaker.succeeded(permit)
    assert not breaker.succeeded(permit)
    assert not breaker.failed(permit)
    other = breaker.acquire()
    assert breaker.failed(other)
    assert not breaker.failed(other)
    assert not breaker.succeeded(other)
    assert (breaker.view().successes, breaker.view().failures, breaker.view().stale) == (1, 1, 4)


def test_while_throttled_nobody_is_let_through_though_it_stays_closed(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    early = breaker.acquire()
    breaker.report(breaker.acquire(), kit.says("throttled", 20.0))
    breaker.succeeded(early)

    with pytest.raises(kit.rejected) as rejected:
        breaker.acquire()
    assert (rejected.value.state, rejected.value.retry_after) == ("closed", 20.0)
    assert (breaker.view().failures, breaker.view().paused_for) == (0, 20.0)
    time.now += 20.0
    assert not is_rejected(kit, breaker)


@pytest.mark.parametrize(("named", "pause"), [(None, 8.0), (0.0, 8.0), (-5.0, 8.0), (1e9, 3_600.0), (30.0, 30.0)])
def test_a_pause_is_as_named_within_limits(kit: Kit, time: Time, named: float | None, pause: float) -> None:
    breaker = kit.make(time)
    breaker.report(breaker.acquire(), kit.says("throttled", named))

    assert breaker.retry_after() == pause


def test_a_throttled_probe_gives_its_place_back_for_after_the_pause(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    open_it(breaker)
    time.now += 8.0
    breaker.report(breaker.acquire(), kit.says("throttled", 20.0))

    assert (breaker.state, breaker.retry_after()) == ("half_open", 20.0)
    assert is_rejected(kit, breaker)
    time.now += 20.0
    assert breaker.acquire().is_probe


def test_a_pause_outlasts_a_shorter_open_period(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    open_it(breaker)
    breaker.pause(20.0)
    breaker.pause(2.0)
    time.now += 8.0

    assert breaker.retry_after() == 12.0
    assert is_rejected(kit, breaker)


@pytest.mark.parametrize(("named", "wait"), [(None, 300.0), (60.0, 300.0), (7_200.0, 7_200.0), (1e9, 86_400.0)])
@pytest.mark.parametrize("is_probe", [False, True])
def test_a_refused_account_opens_at_once_and_for_long(
    kit: Kit, time: Time, named: float | None, wait: float, is_probe: bool
) -> None:
    breaker = kit.make(time)
    if is_probe:
        open_it(breaker)
        time.now += 8.0
    breaker.report(breaker.acquire(), kit.says("account", named))

    assert (breaker.state, breaker.retry_after()) == ("open", wait)


def test_a_refused_account_is_locked_out_for_longer_than_a_day_if_so_set(kit: Kit, time: Time) -> None:
    breaker = kit.make(time, recovery=kit.recovery(locked_for=172_800.0))
    breaker.report(breaker.acquire(), kit.says("account", 1e9))

    assert breaker.retry_after() == 172_800.0


def test_an_operator_locks_out_and_nothing_shortens_it_but_a_reset(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    breaker.lock_out(60.0)
    breaker.lock_out(5.0)
    assert (breaker.state, breaker.retry_after()) == ("open", 60.0)
    breaker.lock_out(90.0)
    assert breaker.retry_after() == 90.0
    breaker.reset()

    assert (breaker.state, breaker.retry_after()) == ("closed", 0.0)


def test_a_hold_that_is_over_swallows_no_lock_out(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    breaker.force("closed", 5.0)
    breaker.lock_out(60.0)
    assert not is_rejected(kit, breaker)
    time.now += 5.0
    breaker.lock_out(60.0)

    assert is_rejected(kit, breaker)


def test_forced_open_nobody_is_let_through_until_released(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    breaker.force("open")
    time.now += 1e6

    assert breaker.retry_after() == inf
    assert is_rejected(kit, breaker)
    breaker.reset()
    assert breaker.state == "held_open"
    breaker.release()
    assert breaker.state == "closed"


def test_forced_closed_all_is_counted_and_nothing_opens_it(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    breaker.force("closed")
    take(breaker, failures=50)
    breaker.report(breaker.acquire(), kit.says("account"))

    assert (breaker.state, breaker.view().failures, breaker.retry_after()) == ("held_closed", 50, 0.0)


def test_disabled_nothing_is_counted_and_nothing_opens_it(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    breaker.force("disabled")
    take(breaker, successes=5, failures=50)
    breaker.report(breaker.acquire(), kit.says("throttled", 60.0))

    view = breaker.view()
    assert (view.state, view.successes, view.failures, view.paused_for) == ("disabled", 0, 0, 0.0)


def test_a_timed_hold_ends_by_itself_at_the_next_call(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    breaker.force("open", 10.0)
    time.now += 4.0
    assert breaker.retry_after() == 6.0
    time.now += 6.0
    assert (breaker.state, breaker.retry_after()) == ("held_open", 0.0)

    assert not is_rejected(kit, breaker)
    assert breaker.state == "closed"


def test_it_is_forced_into_known_states_only(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    with pytest.raises(ValueError, match="'ajar'"):
        breaker.force("ajar")  # type: ignore[arg-type]

    breaker.release()
    assert breaker.view().generation == 0


def test_asking_changes_nothing(kit: Kit, time: Time) -> None:
    events: list[Event] = []
    breaker = kit.make(time, on_event=events.append)
    open_it(breaker)
    time.now += 100.0

    for _ in range(3):
        view = breaker.view()
        assert (view.state, view.generation, view.since, view.retry_after) == ("open", 1, 100.0, 0.0)
        assert (breaker.state, breaker.retry_after()) == ("open", 0.0)
        breaker.snapshot()
    assert len(events) == 1


@pytest.mark.parametrize(("luck", "period"), [(0.0, 8.0), (0.5, 6.0), (0.75, 5.0)])
def test_a_period_is_shortened_by_a_random_share(kit: Kit, time: Time, luck: float, period: float) -> None:
    recovery = kit.recovery(open_for=8.0, jitter=0.5)
    breaker = kit.breaker("a", kit.trip(consecutive=3), recovery, clock=time, random=lambda: luck)
    open_it(breaker)

    assert breaker.retry_after() == period


def test_a_policy_is_asked_only_when_the_period_is_over_and_no_probe_is_out(kit: Kit, time: Time) -> None:
    asked: list[ProbeStats] = []

    def policy(stats: ProbeStats) -> bool:
        asked.append(stats)
        return len(asked) > 1

    breaker = kit.make(time, should_probe=policy)
    open_it(breaker)
    assert is_rejected(kit, breaker)
    assert not asked
    time.now += 10.0
    with pytest.raises(kit.rejected) as rejected:
        breaker.acquire()
    breaker.acquire()
    assert is_rejected(kit, breaker)

    assert rejected.value.retry_after == 1.0
    assert [(stats.failed_for, stats.due_for, stats.rejected) for stats in asked] == [(10.0, 2.0, 1), (10.0, 2.0, 2)]
    assert asked[0].last is not None
    assert asked[0].last.fault == "service"


def test_a_policy_may_call_the_breaker_and_its_answer_is_void_where_that_moved_it(kit: Kit, time: Time) -> None:
    breaker: CircuitBreaker

    def policy(stats: ProbeStats) -> bool:
        if stats.due_for < 1.0:
            breaker.lock_out(60.0)
        return True

    breaker = kit.make(time, should_probe=policy)
    open_it(breaker)
    time.now += 8.0

    assert is_rejected(kit, breaker)
    assert breaker.retry_after() == 60.0


def test_a_policy_is_asked_again_where_the_breaker_moved_meanwhile(kit: Kit, time: Time) -> None:
    """Its answer was to another question: here it opens anew while it is asked, and is due again when it answers."""
    asked: list[ProbeStats] = []
    breaker: CircuitBreaker

    def policy(stats: ProbeStats) -> bool:
        asked.append(stats)
        if len(asked) == 1:
            breaker.reset()
            breaker.lock_out(2.0)
            time.now += 2.0
        return len(asked) == 1

    breaker = kit.make(time, should_probe=policy)
    open_it(breaker)
    time.now += 8.0

    assert is_rejected(kit, breaker)
    assert len(asked) == 2


def test_of_several_callers_that_a_policy_allowed_one_is_the_probe(kit: Kit, time: Time) -> None:
    """While one waits for the policy's answer, another is asked about, and leaves."""
    outcomes: list[bool] = []
    breaker: CircuitBreaker

    def policy(_: ProbeStats) -> bool:
        if not outcomes:
            outcomes.append(True)
            outcomes.append(breaker.acquire().is_probe)
        return True

    breaker = kit.make(time, should_probe=policy)
    open_it(breaker)
    time.now += 8.0

    assert is_rejected(kit, breaker)
    assert outcomes == [True, True]


def test_so_many_probes_must_succeed_as_are_asked_for(kit: Kit, time: Time) -> None:
    breaker = kit.make(time, recovery=kit.recovery(open_for=8.0, jitter=0.0, probes=2, successes=3))
    open_it(breaker)
    time.now += 8.0
    first, second = breaker.acquire(), breaker.acquire()
    assert is_rejected(kit, breaker)
    breaker.succeeded(first)
    breaker.succeeded(second)
    assert breaker.state == "half_open"
    take(breaker, successes=1)

    assert breaker.state == "closed"


def test_the_first_probe_that_fails_opens_it_whatever_others_did(kit: Kit, time: Time) -> None:
    breaker = kit.make(time, recovery=kit.recovery(open_for=8.0, jitter=0.0, probes=2, successes=2))
    open_it(breaker)
    time.now += 8.0
    good, bad = breaker.acquire(), breaker.acquire()
    breaker.succeeded(good)
    breaker.failed(bad)

    assert (breaker.state, breaker.retry_after(), breaker.view().probes_failed) == ("open", 16.0, 1)
