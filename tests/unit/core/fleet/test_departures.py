"""A fleet never drains itself: few leave at a time, one after the other, and none when the cause lies elsewhere."""

import pytest

from postman.core.fleet import STOPPED, FleetJudgement, Health, ProviderWork, WorkerReport, judge
from tests.unit.core.fleet.fleets import NOW, hung_windows, report, windows

UNFIT = "its own judgement, in words"


def well(count: int) -> list[WorkerReport]:
    return [report(f"well{index}") for index in range(count)]


def slow(name: str, since: int = 10) -> WorkerReport:
    """Return a worker that has been three times slower for *since* windows."""
    return report(name, windows(*[300.0] * (10 - since), *[100.0] * since, held=3.0))


def left(name: str, ago: float, why: str = UNFIT) -> WorkerReport:
    return report(name, at=NOW - ago, leaving=why)


def silent(name: str) -> WorkerReport:
    return report(name, at=NOW - 200.0)


def judged(*reports: WorkerReport) -> FleetJudgement:
    return judge(reports, now=NOW)


def test_a_slow_worker_leaves() -> None:
    assert judged(*well(7), slow("one")).leave == {"one"}


def test_a_hung_worker_leaves() -> None:
    assert judged(*well(7), report("one", hung_windows())).leave == {"one"}


def test_an_idle_worker_leaves() -> None:
    full = [report(f"full{n}", windows(*[100.0] * 10, held=10.0, full_for=30.0)) for n in range(3)]

    assert judged(*full, report("one", windows(*[10.0] * 10, held=1.0))).leave == {"one"}


def test_the_one_that_has_been_slow_for_longest_leaves_first() -> None:
    assert judged(*well(6), slow("a", since=4), slow("b", since=8)).leave == {"b"}


def test_in_a_fleet_of_two_nobody_leaves() -> None:
    found = judged(*well(1), report("one", hung_windows()))

    assert found.workers["one"].health is Health.STALLED
    assert found.leave == frozenset()


def test_in_a_fleet_of_three_one_may_leave() -> None:
    assert judged(*well(2), report("one", hung_windows())).leave == {"one"}


@pytest.mark.parametrize(("others", "leave"), [(5, set()), (6, {"one"})])
def test_the_one_that_is_to_leave_counts_among_those_that_are_out(others: int, leave: set[str]) -> None:
    """With one silent already, a second may be out only where three tenths of the fleet are two."""
    assert judged(*well(others - 1), silent("silent"), slow("one")).leave == leave


def test_one_that_drains_for_its_health_is_out_until_it_is_silent() -> None:
    """Its departure was long enough ago for the next, were it not still there."""
    draining = left("draining", 70.0)

    assert judged(*well(4), draining, slow("one")).leave == frozenset()
    assert judged(*well(4), left("drained", 100.0), slow("one")).leave == {"one"}


def test_one_that_drains_belongs_to_the_fleet_of_which_three_tenths_may_be_out() -> None:
    """With it they are seven, and two may be out; the next departure is due."""
    assert judged(*well(5), left("draining", 70.0), slow("one")).leave == {"one"}


def test_one_that_was_told_to_stop_is_not_out() -> None:
    assert judged(*well(4), left("stopped", 1.0, STOPPED), slow("one")).leave == {"one"}


def test_one_that_is_gone_is_not_out() -> None:
    assert judged(*well(3), report("gone", at=NOW - 700.0), slow("one")).leave == {"one"}


def test_a_silent_worker_is_not_told_to_leave() -> None:
    assert judged(*well(9), silent("silent")).leave == frozenset()


@pytest.mark.parametrize(
    ("ago", "leave"),
    [
        ([59.0], False),
        ([91.0], True),
        ([700.0, 119.0], False),
        ([700.0, 121.0], True),
        ([3000.0, 2000.0, 1000.0, 479.0], False),
        ([3000.0, 2000.0, 1000.0, 481.0], True),
        ([3601.0, 3602.0, 91.0], True),
        ([3600.0] * 8, True),
        ([3590.0 - n for n in range(20)], False),
    ],
)
def test_departures_are_kept_apart_by_a_wait_that_doubles(ago: list[float], leave: bool) -> None:
    """60 s after the first, 120 s after the second, 480 s after the fourth; an hour at the most, and for an hour."""
    gone = [left(f"left{index}", seconds) for index, seconds in enumerate(ago)]

    assert bool(judged(*well(9), *gone, slow("one")).leave) is leave


def test_workers_that_were_told_to_stop_hold_up_nobody() -> None:
    assert judged(*well(7), left("stopped", 5.0, STOPPED), slow("one")).leave == {"one"}


def test_when_most_are_in_trouble_nobody_leaves() -> None:
    found = judged(*well(3), *[report(f"hung{n}", hung_windows()) for n in range(4)])

    assert found.leave == frozenset()
    assert found.fleet_slow == "4 of 7 workers are slow or stalled: the cause is not in one of them"


def test_half_is_not_most() -> None:
    found = judged(*well(4), *[report(f"hung{n}", hung_windows()) for n in range(4)])

    assert found.fleet_slow == ""
    assert len(found.leave) == 1


def test_workers_that_cannot_be_compared_but_finish_mails_are_not_in_trouble() -> None:
    """Each of three is alone at its provider; two others hang."""
    alone = [report(f"alone{n}", windows(*[100.0] * 10, provider=f"provider{n}"), provider="") for n in range(3)]

    found = judged(*alone, report("a", hung_windows()), report("b", hung_windows()))

    assert found.workers["alone0"].health is Health.UNKNOWN
    assert found.fleet_slow == ""


def test_windows_in_which_all_were_paused_do_not_make_the_fleet_slow() -> None:
    before = {"sendgrid": ProviderWork(12_000, 1200.0, 1200.0, 240.0)}
    paused = windows(*[100.0] * 10, paused_for=20.0)

    assert judged(*[report(f"w{n}", paused, baseline=before) for n in range(5)]).fleet_slow == ""


def test_silent_workers_do_not_make_the_fleet_slow() -> None:
    assert judged(*well(2), *[silent(f"silent{n}") for n in range(5)]).fleet_slow == ""


def test_when_all_are_slower_than_in_the_last_hour_nobody_leaves() -> None:
    """Three times slower than before are they all; one is three times slower still."""
    before = {"sendgrid": ProviderWork(12_000, 1200.0, 1200.0, 240.0)}
    fleet = [report(f"w{n}", baseline=before) for n in range(5)]

    found = judged(*fleet, slow("one"))

    assert found.workers["one"].health is Health.SLOW
    assert found.leave == frozenset()
    assert found.fleet_slow.startswith("all workers together are 3.0 times slower than before at sendgrid over 5 min")


@pytest.mark.parametrize(("done", "is_slow"), [(999.0, False), (1001.0, True)])
def test_a_past_that_is_shorter_than_the_windows_says_nothing(done: float, is_slow: bool) -> None:
    """In their ten windows the workers did 1,000 mails each."""
    before = {"sendgrid": ProviderWork(done, done / 10, done / 10, done / 50)}

    assert bool(judged(*[report(f"w{n}", baseline=before) for n in range(5)]).fleet_slow) is is_slow


def test_a_past_of_a_few_mails_says_nothing() -> None:
    """Twenty in the past outweigh ten in the windows, but make no comparison of which three are needed."""
    before = {"sendgrid": ProviderWork(20.0, 0.2, 0.2, 0.004)}
    idle = [report(f"w{n}", windows(*[1.0] * 10, held=1.0), baseline=before) for n in range(3)]

    assert judged(*idle).fleet_slow == ""


def test_one_hung_worker_does_not_make_the_whole_fleet_slow() -> None:
    """Its full hands would, if they were counted: it would protect itself."""
    before = {"sendgrid": ProviderWork(12_000, 3600.0, 3600.0, 2160.0)}
    fleet = [report(f"w{n}", baseline=before) for n in range(2)]

    found = judged(*fleet, report("one", hung_windows(), baseline=before))

    assert found.fleet_slow == ""
    assert found.leave == {"one"}


def test_a_fleet_that_does_as_before_is_not_slow() -> None:
    before = {"sendgrid": ProviderWork(12_000, 3600.0, 3600.0, 2160.0)}

    assert judged(*[report(f"w{n}", baseline=before) for n in range(3)]).fleet_slow == ""


def test_workers_that_are_unknown_never_leave() -> None:
    found = judged(report("a", windows(*[100.0] * 10, held=3.0)), report("b"), report("c", provider="mailgun"))

    assert {one.health for one in found.workers.values()} == {Health.UNKNOWN}
    assert found.leave == frozenset()
