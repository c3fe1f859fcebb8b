"""The rules of all suppression lists: what a change leaves there."""

from dataclasses import replace
from itertools import permutations
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from postman.adapters._suppressions import added, forget_at, lifted, reason_named
from postman.core.suppression import Suppression, SuppressionReason

DAY = 86_400.0
moments = st.floats(0.0, 100.0 * DAY)
suppressions = st.builds(
    Suppression,
    st.just("key"),
    st.sampled_from(SuppressionReason),
    moments,
    st.none() | moments,
    provider=st.sampled_from(["a", "b"]),
    detail=st.text(max_size=2),
)


def _put(old: Suppression | None, new: Suppression) -> Suppression:
    stands = added(old, new) or old
    assert stands is not None
    return stands


def _end(suppression: Suppression) -> float:
    return inf if suppression.expires_at is None else suppression.expires_at


@given(suppressions, suppressions, moments)
def test_who_gets_no_mail_gets_none_after_another_was_put(old: Suppression, new: Suppression, now: float) -> None:
    """No news shortens what is there, and what is there shortens no news."""
    stands = _put(old, new)
    assert stands.holds_at(now) is (old.holds_at(now) or new.holds_at(now))
    assert stands in (old, new)


@given(st.lists(suppressions, min_size=1, max_size=4))
def test_the_end_is_the_same_in_whatever_order_news_come(news: list[Suppression]) -> None:
    ends = set()
    for order in permutations(news):
        stands = None
        for each in order:
            stands = _put(stands, each)
        assert stands is not None
        ends.add(_end(stands))
    assert ends == {max(map(_end, news))}


@given(suppressions, suppressions)
def test_putting_twice_is_putting_once(old: Suppression, new: Suppression) -> None:
    """So that a change whose answer was lost may be made again."""
    assert added(_put(old, new), new) is None


@given(suppressions, suppressions, moments)
def test_no_event_from_before_a_lifting_undoes_it(old: Suppression, new: Suppression, now: float) -> None:
    after = lifted(old, now)
    assert (after is not None) is old.holds_at(now)
    if after is None:
        return
    assert not after.holds_at(now)
    assert lifted(after, now) is None
    is_news = new.since > now or new.reason is SuppressionReason.ADDED
    assert _put(after, new) == (new if is_news else after)


@given(suppressions, moments)
def test_what_may_be_deleted_has_ended(suppression: Suppression, now: float) -> None:
    """What holds for good never may, and what was lifted stays longer than any provider repeats its news."""
    end = forget_at(suppression)
    assert (end is None) is (suppression.expires_at is None)
    assert end is None or not suppression.holds_at(end - DAY / 2)
    later = forget_at(replace(suppression, is_lifted=True, since=now))
    assert later is not None
    assert later >= now + 3 * DAY


def test_every_reason_is_read_and_an_unknown_one_holds_as_a_persons() -> None:
    assert [reason_named(str(each)) for each in SuppressionReason] == list(SuppressionReason)
    assert reason_named("of a newer postman") is SuppressionReason.ADDED
