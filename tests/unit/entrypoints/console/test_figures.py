"""The figures of the charts: they add up, and what nobody knows is not taken for nothing."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postman.core.fleet.reports import ProviderWork, WorkerReport, WorkWindow
from postman.entrypoints.console.charts import columns, lane, line, share, top_of
from postman.entrypoints.console.past import past_of
from postman.entrypoints.console.words import ago, amount, mail_url, masked

NOW = 1_700_000_000.0
COUNTS = st.lists(st.one_of(st.none(), st.dictionaries(st.sampled_from("abc"), st.floats(0, 1e6))), max_size=60)


def report(worker: str, windows: list[WorkWindow]) -> WorkerReport:
    return WorkerReport(worker, "h", 1, "1", NOW - 900, NOW, 50, 30.0, tuple(windows))


@given(COUNTS)
def test_columns_stand_on_the_ground_and_end_below_the_top(values: list[dict[str, float] | None]) -> None:
    drawn = columns(values, "abc")

    for box in drawn.boxes:
        assert box.y >= -0.02
        assert box.y + box.height <= 100.02
        assert 0 <= box.x <= box.x + box.width <= 100.02
    assert sum(box.kind == "unknown" for box in drawn.boxes) == sum(value is None for value in values)


@given(st.floats(1e-6, 1e9))
def test_the_top_is_a_round_number_not_far_above(most: float) -> None:
    top = top_of(most)

    assert most <= top * (1 + 1e-9)
    assert top <= most * 2.6
    assert round(top / 10 ** math.floor(math.log10(top) + 1e-9), 6) in (1, 2, 2.5, 5, 10)


def test_a_line_is_broken_where_nothing_is_known() -> None:
    assert line([1.0, 2.0, None, 4.0], 4.0) == "M0 75 L33.33 50 M100 0"


def test_a_lane_joins_what_is_alike_and_leaves_out_what_is_unknown() -> None:
    boxes = lane(["closed", "closed", "", "open"])

    assert [(box.x, box.width, box.kind) for box in boxes] == [(0, 50, "closed"), (75, 25, "open")]


@pytest.mark.parametrize(
    ("part", "whole", "drawn"), [(0, 10, 0), (1, 1_000_000, 1), (5, 10, 50), (11, 10, 100), (1, 0, 0)]
)
def test_what_is_not_nothing_can_be_seen(part: float, whole: float, drawn: float) -> None:
    assert share(part, whole) == drawn


@given(st.lists(st.tuples(st.floats(61, 250), st.floats(1, 40), st.integers(0, 500)), max_size=20))
def test_the_slots_add_up_to_what_the_workers_did(told: list[tuple[float, float, int]]) -> None:
    windows = [WorkWindow(NOW - age, seconds, {"a": ProviderWork(done=done)}) for age, seconds, done in told]

    past = past_of([report("w", windows)], NOW)

    inside = sum(each[2] for each in told)
    assert sum(slot.done.get("a", 0.0) for slot in past.slots) == pytest.approx(inside, rel=1e-6, abs=1e-6)


def test_a_time_of_which_nobody_told_is_unknown() -> None:
    work = {"a": ProviderWork(done=30, took=15.0)}
    windows = [WorkWindow(NOW - 60 + 30 * number, 30.0, work) for number in range(3)]

    past = past_of([report("w", windows)], NOW)

    assert [slot.is_known for slot in past.slots][:7] == [False] * 7
    known = [slot for slot in past.slots if slot.is_known]
    assert known
    for slot in known:
        assert slot.rate == pytest.approx(1.0)
        assert slot.took == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("address", "seen"),
    [("ana@example.org", "a•••@example.org"), ("@x", "•••@x"), ("nobody", "•••"), ("", "•••")],
)
def test_an_address_is_masked(address: str, seen: str) -> None:
    assert masked(address) == seen


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (0.04, "0.0"), (12.34, "12.3"), (99_999.0, "99\u202f999")])
def test_numbers_can_be_read(number: float, text: str) -> None:
    assert amount(number) == text


def test_times_can_be_read() -> None:
    assert [ago(NOW - age, NOW) for age in (-5, 0.5, 3, 150, 10_000)] == [
        "now",
        "now",
        "3 s ago",
        "2 min ago",
        "3 h ago",
    ]


def test_no_id_leads_up_a_path() -> None:
    assert [mail_url(text) for text in ("a b/c", "..", ".", "ä%")] == [
        "/mails/a%20b%2Fc",
        "/mails/?id=..",
        "/mails/?id=.",
        "/mails/%C3%A4%25",
    ]
