"""A worker's last hour: it adds up over a fleet, and is small on its way through a store."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postman.core.fleet.columns import ColumnError, finished_of, latest_document, minutes_of, past_document
from postman.core.fleet.past import (
    BOUNDS,
    MOST_LATEST,
    MOST_MINUTES,
    Finished,
    Latency,
    Minute,
    ProviderMinute,
    summed,
    worst,
)
from postman.testing.roster_suite import full_past

COUNTS = st.integers(0, 5_000)
STATES = st.sampled_from(["closed", "open", "half_open", "held_open", "held_closed", "disabled"])
SIDES = st.builds(ProviderMinute, COUNTS, COUNTS, STATES)
BUCKETS = st.tuples(*[COUNTS] * (len(BOUNDS) + 1))
LATENCIES = st.builds(Latency, st.integers(0, 10_000_000).map(lambda ms: ms / 1000), BUCKETS)


MINUTES = st.builds(
    Minute,
    st.just(0),
    st.dictionaries(st.sampled_from(["a", "b", "ç"]), SIDES),
    *[COUNTS] * 5,
    latency=LATENCIES,
)


@st.composite
def _pasts(draw: st.DrawFn) -> tuple[Minute, ...]:
    begins = draw(st.integers(0, 10**9))
    drawn = draw(st.lists(MINUTES, min_size=1, max_size=6))
    return tuple(replace(minute, begins=begins + index) for index, minute in enumerate(drawn))


def _through_json(past: tuple[Minute, ...]) -> tuple[Minute, ...]:
    return minutes_of(orjson.loads(orjson.dumps(past_document(past))))


@settings(max_examples=100)
@given(_pasts())
def test_an_hour_survives_the_way_through_json(past: tuple[Minute, ...]) -> None:
    assert _through_json(past) == past


def test_the_fullest_hour_survives_as_well() -> None:
    assert _through_json(full_past(29_000_000)) == full_past(29_000_000)
    assert _through_json(()) == ()


def _busy(rate: int) -> tuple[Minute, ...]:
    """Return an hour at three providers in which no two minutes are alike; the middle third is an incident."""
    minutes = []
    for index in range(MOST_MINUTES):
        is_bad = 20 <= index < 40
        sides = {
            name: ProviderMinute(rate - index * 7, 13 + index if is_bad else 0, "open" if is_bad else "closed")
            for name in ("sendgrid", "mailgun", "postmark")
        }
        buckets = tuple(rate // (2 + abs(place - 4) * 3) + index for place in range(8))
        latency = Latency(rate * 0.731 + index, (*buckets, *([index] * 4 if is_bad else [0] * 4)))
        minutes.append(Minute(index, sides, latency=latency, moved=index * 3 if is_bad else 0, prevented=index % 2))
    return tuple(minutes)


@pytest.mark.parametrize(("rate", "most"), [(600, 4_000), (6_000, 5_000)])
def test_a_busy_hour_at_three_providers_takes_a_few_kilobytes(rate: int, most: int) -> None:
    """It is written every half a minute, by every worker."""
    assert len(orjson.dumps(past_document(_busy(rate)))) < most


def test_an_idle_hour_takes_next_to_nothing() -> None:
    sides = {name: ProviderMinute() for name in ("sendgrid", "mailgun", "postmark")}
    idle = tuple(Minute(index, sides) for index in range(MOST_MINUTES))
    assert len(orjson.dumps(past_document(idle))) < 400
    assert _through_json(idle) == idle


def _document(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(orjson.dumps(past_document(full_past(29_000_000))))
    return document | changes


def test_what_a_newer_postman_adds_is_ignored() -> None:
    document = _document(new=[1, 2])
    document["by"]["alpha"]["new"] = "x"
    assert minutes_of(document) == full_past(29_000_000)


def test_the_columns_are_a_contract_between_versions() -> None:
    """A fleet runs two of them while it is updated: what is here must be read for ever."""
    first = Minute(7, {"a": ProviderMinute(5, 1, "open"), "b": ProviderMinute()}, refused=1, dead=2)
    last = Minute(
        11, {"a": ProviderMinute(0, 0, "half_open")}, moved=3, latency=Latency(1.25, _spread(b0=1, b11=4).buckets)
    )
    past = (first, *(Minute(begins) for begins in (8, 9, 10)), last)
    assert past_document(past) == {
        "b": 7,
        "n": 5,
        "by": {"a": {"a": [5], "f": [1], "st": "o---h"}, "b": {"st": "c"}},
        "r": [1],
        "d": [2],
        "m": [-4, 3],
        "s": [-4, 1250],
        "h": {"0.1": [-4, 1], "more": [-4, 4]},
    }
    assert _through_json(past) == past


def test_a_state_of_a_newer_postman_is_unknown() -> None:
    [minute] = minutes_of({"b": 5, "n": 1, "by": {"a": {"a": [7], "st": "z"}}})
    assert minute.providers == {"a": ProviderMinute(7, 0, "unknown")}
    [minute] = minutes_of({"b": 5, "n": 1, "by": {"a": {"f": [7]}, "b": {}}})
    assert minute.providers == {"a": ProviderMinute(0, 7, "unknown")}


def test_other_buckets_are_read_into_those_that_are_known() -> None:
    """None is lost; each goes where its end lies, or a newer postman could not change its bounds."""
    [minute] = minutes_of({"b": 5, "n": 1, "h": {"0.2": [3], "0.25": [4], "7200": [5], "more": [6]}})
    assert minute.latency.buckets == (0, 7, *[0] * 9, 11)


@pytest.mark.parametrize(
    "document",
    [
        {"n": 1},
        {"b": 5},
        {"b": -5, "n": 1},
        {"b": True, "n": 1},
        {"b": 5, "n": 62},
        {"b": 5, "n": 1, "r": 7},
        {"b": 5, "n": 1, "r": [1, 2]},
        {"b": 5, "n": 1, "r": [-2]},
        {"b": 5, "n": 1, "r": [-(10**12)]},
        {"b": 5, "n": 1, "r": [1.5]},
        {"b": 5, "n": 1, "r": [True]},
        {"b": 5, "n": 1, "r": [10**16]},
        {"b": 5, "n": 2, "r": [-1, -1, -1]},
        {"b": 5, "n": 1, "h": {"x": [1]}},
        {"b": 5, "n": 1, "h": [1]},
        {"b": 5, "n": 1, "by": {"a": []}},
        {"b": 5, "n": 1, "by": {"a": {"st": "cc"}}},
        {"b": 5, "n": 1, "by": {"a": {"st": ["c"]}}},
        {"b": 5, "n": 1, "by": {str(number): {} for number in range(101)}},
    ],
)
def test_nonsense_is_refused_and_costs_nothing(document: dict[str, Any]) -> None:
    """Minus a billion stands for a billion zeros."""
    with pytest.raises(ColumnError):
        minutes_of(document)


def test_the_latest_mails_survive_the_way_through_json() -> None:
    latest = (Finished("m-1", "sent", "a", 1_700_000_000.125, 0.5, 3), Finished("", "malformed", "", 5.0, 0.0, 0))
    rows = orjson.loads(orjson.dumps(latest_document(latest)))
    assert finished_of(rows) == latest
    assert finished_of([[*row, "new"] for row in rows]) == latest
    assert len(finished_of(rows * 100)) == MOST_LATEST


@pytest.mark.parametrize("row", [None, [], ["m", "sent", "a", "now", 1, 2], ["m", "sent", "a", float("nan"), 1.0, 2]])
def test_a_row_that_is_no_mail_is_refused(row: object) -> None:
    with pytest.raises(ColumnError):
        finished_of([row])


@given(st.lists(_pasts(), max_size=4))
def test_a_sum_has_all_that_its_parts_have(pasts: list[tuple[Minute, ...]]) -> None:
    minutes = [minute for past in pasts for minute in past]
    total = summed(minutes, begins=9)
    for name in ("accepted", "failed", "refused", "in_doubt", "moved", "prevented", "dead"):
        assert getattr(total, name) == sum(getattr(minute, name) for minute in minutes)
    assert total.latency.count == sum(minute.latency.count for minute in minutes)
    assert total.latency.seconds == pytest.approx(sum(minute.latency.seconds for minute in minutes))


def _spread(**counts: int) -> Latency:
    """Return mails by the number of their bucket, as in `b3=7`."""
    return Latency(0.0, tuple(counts.get(f"b{index}", 0) for index in range(len(BOUNDS) + 1)))


@pytest.mark.parametrize(
    ("latency", "share", "seconds"),
    [
        (_spread(), 0.5, None),
        (_spread(b0=10), 0.5, 0.05),
        (_spread(b2=50, b3=50), 0.5, 0.5),
        (_spread(b2=50, b3=50), 0.75, 0.75),
        (_spread(b2=99, b9=1), 0.99, 0.5),
        (_spread(b2=99, b9=1), 1.0, 300.0),
        (_spread(b11=1), 0.5, 1800.0),
        (_spread(b3=1), 0.0, 0.5),
    ],
)
def test_a_percentile_is_exact_at_the_ends_of_the_buckets(
    latency: Latency, share: float, seconds: float | None
) -> None:
    assert latency.quantile(share) == (None if seconds is None else pytest.approx(seconds))


def test_the_worse_of_two_states_is_the_one_that_lets_fewer_mails_through() -> None:
    order = ["closed", "disabled", "held_closed", "half_open", "held_open", "open"]
    assert [worst(one, other) for one, other in pairwise(order)] == order[1:]
    assert [worst(other, one) for one, other in pairwise(order)] == order[1:]
    assert worst("open", "of a newer postman") == "open"


def test_the_mean_is_over_all_mails() -> None:
    assert Latency(3.0, _spread(b1=2, b4=2).buckets).mean == 0.75
    assert Latency().mean is None
