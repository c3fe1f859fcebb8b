"""What is decided about a doubt at the very second where the decision turns, and how long a pause is."""

from dataclasses import replace

import pytest

from postman import OnDoubt
from postman.core.doubt import Clear, Found, Hold, Settle, Situation, Wait, next_step

ASKED = Situation(on_doubt=OnDoubt.ASK, age=10.0, found=Found.NO, look_up_after=1_800.0, window=600.0)
UNASKABLE = replace(ASKED, found=Found.UNASKABLE, look_up_after=0.0)
SILENT = replace(ASKED, found=Found.NO_ANSWER)


@pytest.mark.parametrize(
    ("case", "end"),
    [
        (ASKED, 1_800.0),
        (UNASKABLE, 600.0),
        (SILENT, 2_400.0),
        (replace(ASKED, on_doubt=OnDoubt.HOLD), 2_400.0),
        (replace(UNASKABLE, on_doubt=OnDoubt.HOLD), 600.0),
        (replace(SILENT, on_doubt=OnDoubt.HOLD), 2_400.0),
    ],
)
def test_waiting_ends_with_the_window(case: Situation, end: float) -> None:
    """Not a second earlier or later; the last pause reaches just to its end."""
    assert next_step(replace(case, age=end - 1.0)) == Wait(1.0)
    assert not isinstance(next_step(replace(case, age=end)), Wait)
    assert isinstance(next_step(replace(case, age=end)), Hold if case.on_doubt is OnDoubt.HOLD else Clear)


@pytest.mark.parametrize(
    ("age", "pause"),
    [(0.0, 0.5), (0.4, 0.5), (10.0, 10.0), (299.0, 299.0), (301.0, 300.0), (1_000.0, 300.0), (1_799.8, 0.5)],
)
def test_pauses_grow_with_the_age_between_half_a_second_and_five_minutes(age: float, pause: float) -> None:
    """Nothing is asked more often than that, and the last time just when the window closes."""
    assert next_step(replace(ASKED, age=age)) == Wait(pause)


@pytest.mark.parametrize(
    ("expires_in", "is_sent_at_once"),
    [(0.5, True), (1_789.0, True), (1_790.0, False), (5_000.0, False), (0.0, False), (-5.0, False), (None, False)],
)
def test_mail_is_sent_at_once_only_where_it_expires_before_the_evidence(
    expires_in: float | None, is_sent_at_once: bool
) -> None:
    """At an age of ten seconds 1,790 are left of the window; what expired already has time."""
    step = next_step(replace(ASKED, expires_in=expires_in))
    assert isinstance(step, Clear) is is_sent_at_once


def test_each_way_of_clearing_says_why() -> None:
    """The reason stands in the mail's history."""
    reasons = [
        next_step(replace(ASKED, age=1_800.0)),
        next_step(replace(UNASKABLE, age=600.0)),
        next_step(replace(ASKED, expires_in=5.0)),
        next_step(replace(ASKED, on_doubt=OnDoubt.RESEND)),
    ]
    assert reasons == [
        Clear("the provider does not have it"),
        Clear("nobody gave an answer that decides"),
        Clear("it expires before there can be evidence"),
        Clear("its owner chose resend"),
    ]


def test_what_was_found_is_settled() -> None:
    """Whatever its owner chose."""
    assert {next_step(replace(ASKED, on_doubt=each, found=Found.YES)) for each in OnDoubt} == {Settle()}
