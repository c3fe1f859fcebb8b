"""What to do with a mail that may have been sent."""

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postman import OnDoubt
from postman.core.doubt import Clear, Found, Hold, Settle, Situation, Wait, next_step

ASKABLE = Situation(on_doubt=OnDoubt.ASK, age=10.0, found=Found.NO, look_up_after=1800.0, window=600.0)


@pytest.mark.parametrize("on_doubt", OnDoubt)
@pytest.mark.parametrize("age", [0.0, 10.0, 10_000.0])
def test_a_mail_that_the_provider_has_is_settled_whoever_owns_it(on_doubt: OnDoubt, age: float) -> None:
    assert next_step(replace(ASKABLE, on_doubt=on_doubt, age=age, found=Found.YES)) == Settle()


def test_absence_is_no_evidence_within_the_providers_window() -> None:
    assert isinstance(next_step(replace(ASKABLE, age=1799.0)), Wait)


def test_absence_is_evidence_after_the_providers_window() -> None:
    assert isinstance(next_step(replace(ASKABLE, age=1800.0)), Clear)


def test_where_nobody_can_be_asked_it_waits_for_word_and_then_sends_again() -> None:
    case = replace(ASKABLE, found=Found.UNASKABLE, look_up_after=0.0)

    assert isinstance(next_step(replace(case, age=599.0)), Wait)
    assert isinstance(next_step(replace(case, age=600.0)), Clear)


def test_a_code_that_expires_before_the_window_closes_is_sent_at_once() -> None:
    case = replace(ASKABLE, found=Found.UNASKABLE, look_up_after=0.0, expires_in=300.0)

    assert isinstance(next_step(case), Clear)


@pytest.mark.parametrize("found", [Found.NO, Found.NO_ANSWER])
def test_so_is_a_code_that_expires_before_its_provider_can_give_evidence(found: Found) -> None:
    assert isinstance(next_step(replace(ASKABLE, found=found, expires_in=300.0)), Clear)
    assert isinstance(next_step(replace(ASKABLE, found=found, expires_in=3_000.0)), Wait)


@pytest.mark.parametrize("found", [Found.NO, Found.NO_ANSWER, Found.UNASKABLE])
def test_a_mail_that_expired_has_time_to_wait_for_evidence(found: Found) -> None:
    assert isinstance(next_step(replace(ASKABLE, found=found, expires_in=-1.0)), Wait)


def test_a_look_up_that_fails_is_tried_until_patience_ends() -> None:
    case = replace(ASKABLE, found=Found.NO_ANSWER)

    assert isinstance(next_step(replace(case, age=2399.0)), Wait)
    assert isinstance(next_step(replace(case, age=2400.0)), Clear)


def test_resend_asks_nobody() -> None:
    assert isinstance(next_step(replace(ASKABLE, on_doubt=OnDoubt.RESEND, age=0.0)), Clear)


@pytest.mark.parametrize("found", [Found.NO, Found.NO_ANSWER, Found.UNASKABLE])
@given(age=st.floats(0, 1e6))
def test_hold_never_sends_again(found: Found, age: float) -> None:
    step = next_step(replace(ASKABLE, on_doubt=OnDoubt.HOLD, found=found, age=age))

    assert isinstance(step, Wait | Hold)


@given(
    on_doubt=st.sampled_from(OnDoubt),
    found=st.sampled_from(Found),
    age=st.floats(0, 1e6),
    look_up_after=st.floats(0, 7200),
    window=st.floats(0, 7200),
)
def test_it_asks_often_at_first_and_never_less_than_every_five_minutes(
    on_doubt: OnDoubt, found: Found, age: float, look_up_after: float, window: float
) -> None:
    step = next_step(Situation(on_doubt, age, found, look_up_after, window))
    if isinstance(step, Wait):
        assert 0.5 <= step.seconds <= 300.0


@pytest.mark.parametrize("on_doubt", OnDoubt)
@pytest.mark.parametrize("found", Found)
def test_no_doubt_lasts_for_ever(on_doubt: OnDoubt, found: Found) -> None:
    assert not isinstance(next_step(replace(ASKABLE, on_doubt=on_doubt, found=found, age=inf)), Wait)
