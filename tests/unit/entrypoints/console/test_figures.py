"""The figures of the charts: they add up, and what nobody knows is not taken for nothing."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postman.core.fleet.past import BOUNDS, Latency, Minute, ProviderMinute
from postman.core.fleet.reports import WorkerReport, WorkWindow
from postman.entrypoints.console.charts import columns, lane, line, share, top_of
from postman.entrypoints.console.lasthour import charts_of
from postman.entrypoints.console.words import ago, amount, mail_url, masked, time_of_day
from postman.entrypoints.hour import hour_of

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


def minute(begins: int, state: str = "closed", accepted: int = 60) -> Minute:
    latency = Latency(accepted * 0.2, (0, accepted, *(0,) * (len(BOUNDS) - 1)))
    return Minute(begins, {"a": ProviderMinute(accepted, 0, state)}, latency=latency)


def test_the_charts_draw_what_workers_told_of_the_hour() -> None:
    """A minute of which nobody told is unknown; the one that has just begun is not drawn."""
    last = int(NOW // 60)
    past = tuple(minute(last - ago, "open" if ago in (3, 4) else "closed") for ago in (5, 4, 3, 2, 1))
    charts = charts_of(hour_of([replace(report("w", []), past=past)], NOW))

    drawn = [box for box in charts.mails.boxes if box.kind != "unknown"]
    assert (len(charts.minutes), len(drawn), charts.mails.top) == (59, 5, 1.0)
    [lane_of_a] = charts.lanes
    assert [box.kind for box in lane_of_a.boxes] == ["closed", "open", "closed"]
    assert lane_of_a.words == f"open from {time_of_day((last - 4) * 60)} to {time_of_day((last - 2) * 60)}"
    assert charts.half.count("M") == 1
    assert charts.took_top == 0.25


def test_where_nobody_told_anything_nothing_is_claimed() -> None:
    charts = charts_of(hour_of([], NOW))

    assert {box.kind for box in charts.mails.boxes} == {"unknown"}
    assert (charts.lanes, charts.half, charts.most) == ([], "", "")


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
