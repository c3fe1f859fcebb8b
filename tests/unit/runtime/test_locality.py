"""Whether the fault is here."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postman.runtime.failover.locality import Locality


def unreached(locality: Locality, *providers: str, now: float = 100.0) -> list[bool]:
    return [locality.unreached(provider, now) for provider in providers]


def broken(providers: Iterable[str] = "ab", *, now: float = 100.0) -> Locality:
    locality = Locality(list(providers))
    unreached(locality, *providers, *providers, now=now)
    assert locality.is_local
    return locality


def test_at_first_nothing_is_wrong_here() -> None:
    locality = Locality("ab")

    assert (locality.is_local, locality.since, locality.wait(100.0)) == (False, None, 0.0)
    assert not locality.try_now()


def test_it_is_here_once_every_provider_could_not_be_reached_twice() -> None:
    locality = Locality("ab")

    assert unreached(locality, "a", "b", "a") == [False, False, False]
    assert locality.unreached("b", 101.0)
    assert locality.since == 101.0


def test_a_fault_begins_once() -> None:
    locality = broken()

    assert unreached(locality, "a", "b", now=105.0) == [False, False]
    assert locality.since == 100.0


def test_one_that_answers_shows_that_the_fault_is_there() -> None:
    locality = Locality("ab")
    for _ in range(100):
        unreached(locality, "a")
        locality.reached("b")
        unreached(locality, "b")

    assert not locality.is_local


def test_a_single_provider_that_cannot_be_reached_proves_nothing() -> None:
    locality = Locality(["a"])
    unreached(locality, *["a"] * 50)

    assert not locality.is_local


def test_a_single_failure_of_each_may_be_a_blip() -> None:
    locality = Locality("abc")
    unreached(locality, "a", "a", "b", "b", "c")

    assert not locality.is_local


def test_failures_at_different_times_are_not_one_event() -> None:
    locality = Locality("ab")
    unreached(locality, "a", "a", now=100.0)
    unreached(locality, "b", "b", now=110.5)
    assert not locality.is_local

    assert unreached(locality, "a", "a", now=111.0) == [False, True]


def test_whoever_answers_ends_it() -> None:
    locality = broken()

    assert locality.reached("b")
    assert not locality.reached("b")
    assert (locality.is_local, locality.wait(100.0)) == (False, 0.0)


def test_it_begins_anew_only_after_new_failures_of_whoever_answered() -> None:
    locality = broken()
    locality.reached("a")

    assert unreached(locality, "a", "a", now=101.0) == [False, True]


def test_one_mail_at_a_time_tries_and_each_failure_makes_the_wait_longer() -> None:
    locality, now, waits = broken(), 100.0, []
    for _ in range(8):
        waits.append(locality.wait(now))
        now += waits[-1]
        assert locality.wait(now) == 0.0
        assert locality.try_now()
        assert locality.wait(now) == 1.0
        locality.tried(now)

    assert 0.5 <= waits[0] <= 1.0
    assert all(15.0 <= wait <= 30.0 for wait in waits[6:])
    assert waits[2] > waits[0]


def test_a_trial_that_ends_well_ends_the_waiting() -> None:
    locality = broken()
    locality.try_now()
    locality.reached("a")
    locality.tried(103.0)

    assert locality.wait(103.0) == 0.0
    assert not locality.try_now()


def test_the_next_fault_is_tried_soon_again() -> None:
    locality = broken()
    for _ in range(6):
        locality.try_now()
        locality.tried(100.0)
    locality.reached("a")
    unreached(locality, "a", "a", "b", "b", now=500.0)

    assert locality.wait(500.0) <= 1.0


def test_a_change_that_leaves_only_whom_nobody_reached_ends_nothing() -> None:
    locality = broken("abc")

    assert not locality.change("ab", known="ab")
    assert (locality.is_local, locality.since) == (True, 100.0)


@pytest.mark.parametrize(
    ("providers", "known"),
    [("abc", "ab"), ("cd", ""), ("ab", "a"), ("a", "a")],
    ids=["one more", "others", "another of the same name", "a single one"],
)
def test_a_change_to_one_of_whom_nothing_is_known_ends_it(providers: str, known: str) -> None:
    locality = broken()
    for _ in range(6):
        locality.try_now()
        locality.tried(100.0)

    assert locality.change(providers, known=known)
    assert (locality.is_local, locality.wait(100.0)) == (False, 0.0)
    assert not locality.change(providers, known=providers), "it was over"


def test_after_a_change_the_new_one_must_be_out_of_reach_as_well() -> None:
    locality = broken()
    locality.change("abc", known="ab")

    assert unreached(locality, "a", "b", "c", "c", now=101.0) == [False, False, False, True]
    assert locality.wait(101.0) <= 1.0, "the next fault is tried soon again"


STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0.0, 8.0)), max_size=60)


@given(STEPS)
def test_it_is_here_only_while_nobody_answered(steps: list[tuple[str, bool, float]]) -> None:
    """Judged from the whole history: since its beginning no answer, and before it two failures of each, in a row."""
    locality, now, history = Locality("abc"), 100.0, list[tuple[str, bool, float]]()
    for provider, answers, wait in steps:
        now += wait
        history.append((provider, answers, now))
        if answers:
            locality.reached(provider)
        else:
            locality.unreached(provider, now)

        assert not (answers and locality.is_local)
        if locality.since == now:
            assert all(_failed_twice(history, name, now) for name in "abc")


def _failed_twice(history: list[tuple[str, bool, float]], name: str, now: float) -> bool:
    own = [(answers, at) for provider, answers, at in history if provider == name]
    return [answers for answers, _ in own[-2:]] == [False, False] and now - own[-1][1] <= 10.0
