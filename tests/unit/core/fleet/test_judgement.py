"""Whatever the reports hold, the judgement is sound, the same for everybody, and drains no fleet."""

from collections.abc import Sequence
from math import inf, isfinite, nan
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postman.core import fleet
from postman.core.fleet import (
    STOPPED,
    FleetJudgement,
    Health,
    ProviderStanding,
    ProviderWork,
    Rules,
    WorkerReport,
    WorkWindow,
    judge,
)
from tests.unit.core.fleet.fleets import NOW, hung_windows, report, window, windows

NUMBERS = st.one_of(
    st.floats(0, 1000),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -1.0, 1e-300, 1e300, nan, inf, -inf]),
)
PROVIDERS = st.sampled_from(["sendgrid", "mailgun", "", "a provider of a later version"])
WORKS = st.builds(ProviderWork, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
TIMES = st.one_of(st.floats(NOW - 4000, NOW + 60), NUMBERS)
LENGTHS = st.one_of(st.just(30.0), NUMBERS)
WINDOWS = st.builds(
    WorkWindow, TIMES, LENGTHS, st.dictionaries(PROVIDERS, WORKS, max_size=3), NUMBERS, NUMBERS, NUMBERS
)
STANDINGS = st.builds(ProviderStanding, st.sampled_from(["closed", "open", "half_open", "a state to come"]))
ANY_REPORTS = st.lists(
    st.builds(
        WorkerReport,
        worker=st.sampled_from("abcdefgh"),
        host=st.just("host"),
        pid=st.integers(),
        version=st.just("99"),
        started=TIMES,
        at=TIMES,
        slots=st.integers(-1, 100),
        window=st.one_of(st.just(30.0), NUMBERS),
        windows=st.lists(WINDOWS, max_size=12).map(tuple),
        baseline=st.dictionaries(PROVIDERS, WORKS, max_size=3),
        providers=st.dictionaries(PROVIDERS, STANDINGS, max_size=3),
        local_fault=st.sampled_from(["", "no route"]),
        leaving=st.sampled_from(["", STOPPED, "slow"]),
    ),
    max_size=12,
)


BOUNDED = settings(max_examples=60, deadline=None)


@st.composite
def likely_reports(draw: st.DrawFn) -> Sequence[WorkerReport]:
    """Fleets as they may be: each worker does well, is slow, hangs, is silent, or leaves."""
    kinds: dict[str, dict[str, Any]] = {
        "well": {},
        "slow": {"past": windows(*[100.0] * 10, held=3.0)},
        "hung": {"past": hung_windows()},
        "silent": {"at": NOW - 200.0},
        "young": {"past": [window()]},
        "stopped": {"leaving": STOPPED},
        "unfit": {"leaving": "slow", "at": NOW - 20.0},
        "unfit before": {"leaving": "slow", "at": NOW - 1000.0},
    }
    chosen = draw(st.lists(st.sampled_from(sorted(kinds)), max_size=14))
    return [report(f"w{index}", **kinds[kind]) for index, kind in enumerate(chosen)]


def test_an_empty_fleet_is_judged() -> None:
    assert judge([], now=NOW) == FleetJudgement({}, "", frozenset())


def test_a_lone_worker_is_unknown_and_not_alarming() -> None:
    found = judge([report("one")], now=NOW)

    assert found.workers["one"].health is Health.UNKNOWN
    assert found.fleet_slow == ""
    assert found.leave == frozenset()


def test_a_lone_worker_that_hangs_is_not_the_fleet() -> None:
    found = judge([report("one", hung_windows())], now=NOW)

    assert found.workers["one"].health is Health.STALLED
    assert found.fleet_slow == ""


def test_the_later_of_two_reports_counts() -> None:
    older = report("one", hung_windows(at=NOW - 30.0), at=NOW - 30.0)

    for both in ([older, report("one")], [report("one"), older]):
        assert judge([*both, report("a"), report("b")], now=NOW).workers["one"].health is Health.OK


def test_of_two_reports_of_the_same_moment_the_same_one_counts_in_any_order() -> None:
    twins = [report("one"), report("one", windows(*[100.0] * 10, held=3.0))]
    others = [report("a"), report("b")]

    assert judge([*twins, *others], now=NOW) == judge([*others, *reversed(twins)], now=NOW)


def test_providers_of_a_later_version_are_providers_like_others() -> None:
    odd = [report(f"w{index}", provider="carrier pigeon 3") for index in range(3)]

    assert judge(odd, now=NOW).workers["w0"].reason.count("carrier pigeon 3") == 1


@pytest.mark.parametrize("number", [nan, inf, -1.0, 1e300])
def test_what_is_no_number_is_left_out_and_the_rest_counts(number: float) -> None:
    """One of the ten windows, and a provider, a baseline and a whole report make no sense."""
    broken = WorkWindow(NOW, number, window(900.0, 1.0).work)
    odd = WorkWindow(NOW, 30.0, {**window().work, "mailgun": ProviderWork(number, number, number, number)})
    baseline = {"sendgrid": ProviderWork(number, 1.0, 1.0, 1.0)}
    reports = [report(f"w{index}", [broken, odd], baseline=baseline) for index in range(3)]

    found = judge([*reports, report("lost", at=nan), report("timeless", period=0.0)], now=NOW)

    assert set(found.workers) == {"w0", "w1", "w2"}
    assert all(one.health is Health.OK for one in found.workers.values())
    assert [one.ratio for one in found.workers.values()] == pytest.approx([1.0] * 3)


def test_no_text_of_a_worker_s_fault_reaches_the_sentence() -> None:
    """A failure in a library's words may hold anything."""
    one = report("one", [window(0.0, 0.0)], local_fault="cannot reach somebody@example.org")

    assert "example" not in judge([one, report("a"), report("b")], now=NOW).workers["one"].reason


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ratio", 1.1),
        ("cleared", -0.1),
        ("z", nan),
        ("need", 0.0),
        ("slow", 0),
        ("of", 0),
        ("clear_in", 0),
        ("min_peers", 0),
        ("max_out", 2.0),
        ("min_fleet", 0),
        ("stalled_after", -1.0),
        ("stalled_factor", inf),
        ("silent_after", 0.5),
        ("gone_after", -1.0),
        ("idle_share", 1.5),
        ("full_share", -1.0),
        ("paused_share", nan),
        ("departures_within", -1.0),
        ("backoff", -1.0),
        ("backoff_longest", inf),
    ],
)
def test_a_wrong_rule_is_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{field} must be"):
        Rules(**{field: value})


@pytest.mark.parametrize(("rules", "field"), [({"slow": 5, "of": 4}, "slow"), ({"ratio": 0.9}, "cleared")])
def test_rules_that_contradict_each_other_are_refused(rules: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field} must be"):
        Rules(**rules)


def test_rules_can_be_chosen() -> None:
    slow = [report(f"w{n}") for n in range(3)] + [report("one", windows(*[150.0] * 10, held=3.0))]

    assert judge(slow, now=NOW).workers["one"].health is Health.SLOW
    assert judge(slow, now=NOW, rules=Rules(ratio=0.45)).workers["one"].health is Health.OK


def test_all_public_names_can_be_had() -> None:
    assert all(hasattr(fleet, name) for name in fleet.__all__)


@BOUNDED
@given(ANY_REPORTS)
def test_no_report_makes_it_fail_or_speak_of_no_numbers(reports: list[WorkerReport]) -> None:
    found = judge(reports, now=NOW)

    for one in found.workers.values():
        assert all(number is None or isfinite(number) for number in (one.ratio, one.z, one.since))
        assert one.reason
        assert "nan" not in one.reason
        assert "inf" not in one.reason


@BOUNDED
@given(st.one_of(ANY_REPORTS, likely_reports()), st.randoms())
def test_the_order_of_the_reports_does_not_matter(reports: Sequence[WorkerReport], random: Random) -> None:
    shuffled = list(reports)
    random.shuffle(shuffled)

    assert judge(shuffled, now=NOW) == judge(reports, now=NOW)


@BOUNDED
@given(st.one_of(ANY_REPORTS, likely_reports()))
def test_only_bad_workers_that_can_hear_it_leave_and_never_too_many(reports: Sequence[WorkerReport]) -> None:
    found = judge(reports, now=NOW)
    bad = {Health.SLOW, Health.STALLED, Health.IDLE_WITH_BACKLOG}
    silent = {one.worker for one in found.workers.values() if one.reason.startswith("said nothing")}
    draining = {r.worker for r in reports if r.leaving not in {"", STOPPED} and NOW - r.at <= 90}
    working = {one.worker for one in found.workers.values() if one.health is not Health.LEAVING}
    out = len(found.leave | silent | (draining - working))

    assert all(found.workers[name].health in bad for name in found.leave)
    assert not found.leave & silent
    assert not (found.leave and found.fleet_slow)
    assert not found.leave or out <= max(1, int(0.3 * len(working | draining)))
    assert not found.leave or len(working | draining) >= 3
