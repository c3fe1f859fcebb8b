"""The parts of a breaker that are plain functions of their arguments."""

from dataclasses import fields, replace
from math import inf, nan

import pytest

from postman.breaker import (
    CircuitBreaker,
    Fault,
    ProbeStats,
    Recovery,
    ShouldProbe,
    State,
    Trigger,
    Trip,
    after,
    all_of,
    always,
    any_of,
    by_type,
    chance,
    every,
)
from postman.breaker.states import HELD, TRANSITIONS, next_state
from tests.unit.breaker.kit import Kit, Time

_STATS = ProbeStats("a", failed_for=60.0, due_for=5.0, rejected=9, probes_failed=2, last=None)


def no() -> ShouldProbe:
    return lambda _: False


@pytest.mark.parametrize(
    ("policy", "answer"),
    [
        (always(), True),
        (after(60.0), True),
        (after(60.5), False),
        (every(5), True),
        (every(4), False),
        (every(1), True),
        (chance(0.25, random=lambda: 0.125), True),
        (chance(0.25, random=lambda: 0.25), False),
        (chance(0.0), False),
        (chance(1.0), True),
        (all_of(always(), always()), True),
        (all_of(always(), no()), False),
        (all_of(), True),
        (any_of(no(), always()), True),
        (any_of(no(), no()), False),
        (any_of(), False),
    ],
)
def test_a_policy_answers_by_what_happened(policy: ShouldProbe, answer: bool) -> None:
    assert policy(_STATS) is answer


def test_every_tenth_call_is_let_through_counted_from_the_opening() -> None:
    policy = every(10)

    assert [number for number in range(30) if policy(replace(_STATS, rejected=number))] == [9, 19, 29]


@pytest.mark.parametrize("calls", [0, -1])
def test_every_needs_a_call_at_least(calls: int) -> None:
    with pytest.raises(ValueError, match=str(calls)):
        every(calls)


@pytest.mark.parametrize("probability", [-0.1, 1.1, nan])
def test_a_chance_is_a_probability(probability: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        chance(probability)


def test_a_classifier_by_type_takes_the_nearest_class() -> None:
    classify = by_type({OSError: Fault.SERVICE, ConnectionError: Fault.LOCAL, ValueError: Fault.CALL})

    assert classify(ConnectionResetError()).fault is Fault.LOCAL
    assert classify(PermissionError()).fault is Fault.SERVICE
    assert classify(UnicodeError()).fault is Fault.CALL
    assert classify(LookupError()).fault is Fault.SERVICE
    assert by_type({}, otherwise=Fault.CALL)(LookupError()).fault is Fault.CALL


@pytest.mark.parametrize("name", [field.name for field in fields(Trip)])
@pytest.mark.parametrize("value", [0, -1, nan, inf])
def test_a_wrong_trip_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"Trip\.{name} "):
        Trip(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [field.name for field in fields(Recovery)])
@pytest.mark.parametrize("value", [-1, nan, inf])
def test_a_wrong_recovery_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"Recovery\.{name} "):
        Recovery(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"rate": 1.5}, {"slow_rate": 1.5}])
def test_a_share_is_no_more_than_one(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="between"):
        Trip(**wrong)  # type: ignore[arg-type]


def test_a_rule_can_be_turned_off(time: Time) -> None:
    breaker = CircuitBreaker("a", Trip(consecutive=None, rate=None, slow_after=None), clock=time)
    for _ in range(100):
        breaker.failed(breaker.acquire())

    assert breaker.state == "closed"


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("trigger", Trigger)
def test_what_is_not_in_the_table_moves_nothing(state: State, trigger: Trigger) -> None:
    if (state, trigger) in TRANSITIONS:
        assert next_state(state, trigger) is TRANSITIONS[state, trigger]
    else:
        with pytest.raises(ValueError, match=f"{state} cannot be {trigger}"):
            next_state(state, trigger)


@pytest.mark.parametrize("state", sorted(HELD))
def test_only_an_operator_or_time_ends_a_forced_state(state: State) -> None:
    leaving = {trigger for (old, trigger), new in TRANSITIONS.items() if old is state and new is not state}
    forces = {Trigger.HELD_OPEN, Trigger.HELD_CLOSED, Trigger.SWITCHED_OFF}

    assert leaving <= forces | {Trigger.RELEASED}


def test_a_clock_that_calls_its_breaker_is_told_so_instead_of_waiting_for_ever(kit: Kit) -> None:
    breaker: CircuitBreaker | None = None

    def clock() -> float:
        return breaker.view().since if breaker else 0.0

    breaker = kit.breaker("a", clock=clock)
    with pytest.raises(RuntimeError, match="must not call"):
        breaker.view()
