"""A worker is compared with its peers at the same provider, and slow only if that is large, lasting, no chance."""

from dataclasses import replace

import pytest

from postman.core.fleet import Health, Judgement, ProviderWork, Rules, WorkerReport, WorkWindow, judge
from tests.unit.core.fleet.fleets import NOW, report, window, windows, work

SLOW_HANDS = 3.0
"""Mails in hand of a worker that is three times slower at the same arrivals."""


def fleet(*more: WorkerReport, peers: int = 7, provider: str = "sendgrid") -> list[WorkerReport]:
    return [*(report(f"peer{index}", provider=provider) for index in range(peers)), *more]


def judged(*more: WorkerReport, peers: int = 7, rules: Rules | None = None) -> Judgement:
    """Judge the last of *more*."""
    return judge(fleet(*more, peers=peers), now=NOW, rules=rules).workers[more[-1].worker]


def past(*dones: float, held: float = SLOW_HANDS) -> tuple[WorkWindow, ...]:
    return windows(*dones, held=held)


def test_a_worker_that_does_as_its_peers_do_is_well() -> None:
    found = judged(report("one"))

    assert found.health is Health.OK
    assert found.ratio == pytest.approx(1.0)
    assert found.z == pytest.approx(0.0)
    assert found.since is None


def test_a_worker_three_times_slower_is_slow_in_words_and_numbers() -> None:
    found = judged(report("one", past(*[100.0] * 10)))

    assert found.health is Health.SLOW
    assert found.ratio == pytest.approx(1 / 3)
    assert found.z is not None
    assert found.z < -10
    assert found.reason.startswith("3.0 times slower than its 7 peers at sendgrid over 5 min (z = -")


def test_the_load_does_not_matter() -> None:
    """Ten times fewer mails, with ten times fewer in hand, is as good."""
    assert judged(report("one", windows(*[30.0] * 10, held=0.3))).ratio == pytest.approx(1.0)


def test_workers_at_another_provider_are_no_peers() -> None:
    """Three workers at a provider three times slower are well, beside seven at a quick one."""
    others = [report(f"other{n}", windows(*[100.0] * 10, held=3.0, provider="mailgun")) for n in range(3)]

    found = judge(fleet(*others), now=NOW)

    assert {one.health for one in found.workers.values()} == {Health.OK}
    assert found.workers["other0"].reason == "did 1.00 of what its 2 peers would have done over 30 s at mailgun"


def test_a_worker_at_two_providers_is_compared_at_both() -> None:
    both = {"sendgrid": work(100, 1.0), "mailgun": work(100, 3.0)}
    mixed = [report(f"both{n}", [WorkWindow(NOW - 30.0 * ago, 30.0, both) for ago in (2, 1, 0)]) for n in range(3)]

    found = judged(*mixed)

    assert found.ratio == pytest.approx(1.0)
    assert "at mailgun and sendgrid" in found.reason


@pytest.mark.parametrize(("bad", "health"), [(2, Health.OK), (3, Health.SLOW)])
def test_it_takes_three_slow_windows(bad: int, health: Health) -> None:
    assert judged(report("one", past(*[300.0] * (10 - bad), *[100.0] * bad))).health is health


def test_it_takes_three_of_four_not_three_in_a_row() -> None:
    assert judged(report("one", past(*[300.0] * 6, 100.0, 300.0, 100.0, 100.0))).health is Health.SLOW
    assert judged(report("one", past(*[300.0] * 5, 100.0, 300.0, 300.0, 100.0, 100.0))).health is Health.OK


def test_since_is_the_beginning_of_the_slow_run() -> None:
    assert judged(report("one", past(*[300.0] * 6, *[100.0] * 4))).since == NOW - 120.0


@pytest.mark.parametrize(
    ("after", "health"),
    [
        ([300.0], Health.SLOW),
        ([300.0, 300.0], Health.OK),
        ([300.0, 210.0, 300.0], Health.SLOW),
        ([210.0, 210.0, 210.0], Health.SLOW),
        ([210.0, 300.0, 300.0], Health.OK),
    ],
)
def test_what_was_slow_is_well_after_two_good_windows_in_a_row(after: list[float], health: Health) -> None:
    """Between 0.6 and 0.8 of what was to be expected, nothing changes."""
    assert judged(report("one", past(300.0, 300.0, 100.0, 100.0, 100.0, *after))).health is health


def test_just_above_the_ratio_is_not_slow_however_significant() -> None:
    assert judged(report("one", past(*[183.0] * 10))).health is Health.OK
    assert judged(report("one", past(*[177.0] * 10))).health is Health.SLOW


def spread_past(done: float, held: float, *, variation: float, last: int = 10) -> list[WorkWindow]:
    """Return windows in which the durations are this unequal."""
    doing = {"sendgrid": work(done, held, variation=variation)}
    return [WorkWindow(NOW - 30.0 * ago, 30.0, doing) for ago in reversed(range(last))]


@pytest.mark.parametrize(("own", "theirs", "health"), [(1, 1, Health.SLOW), (60, 1, Health.OK), (1, 400, Health.OK)])
def test_a_shortfall_that_may_be_chance_is_not_slow(own: float, theirs: float, health: Health) -> None:
    """The same ratio, with mails so unequal that a few long ones explain it: the worker's own, or its peers'."""
    peers = [report(f"peer{n}", spread_past(100.0, 1.0, variation=theirs)) for n in range(7)]

    found = judge([*peers, report("one", spread_past(50.0, 1.0, variation=own, last=4))], now=NOW).workers["one"]

    assert found.health is health
    assert found.ratio == pytest.approx(0.5)


def test_the_peers_past_tells_how_unequal_mails_are() -> None:
    """What was seen of them in the last hour counts, not only these ten windows, in which the rare ones are missing."""
    unequal = {"sendgrid": work(100_000.0, 1000.0, variation=400.0)}
    peers = [report(f"peer{n}", baseline=unequal) for n in range(7)]
    one = report("one", spread_past(50.0, 1.0, variation=1.0, last=4))

    assert judge([*peers, one], now=NOW).workers["one"].health is Health.OK


def test_the_chance_is_weighed_over_all_bad_windows_together() -> None:
    """Half of forty such mails is 1.8 standard deviations in one window, 3.1 in three, and 3.6 in four."""
    one = spread_past(20.0, 0.4, variation=3.0, last=4)

    assert judged(report("one", one[1:])).health is Health.OK
    assert judged(report("one", one)).health is Health.SLOW


def test_one_mail_that_waits_does_not_make_a_worker_slow() -> None:
    """It lies there all the time, beside as many others as its peers have, and these are finished as theirs are."""
    waiting = windows(*[20.0] * 10, held=1.2, oldest=400.0)

    found = judged(report("one", waiting))

    assert found.health is Health.OK
    assert found.ratio == pytest.approx(1.0)


def test_few_mails_are_added_up_over_windows_until_there_are_enough() -> None:
    """Ten mails are expected in each window, so three make a comparison, and the ten hold three of them."""
    found = judged(report("one", past(*[1.0] * 10, held=0.1)))

    assert found.health is Health.SLOW
    assert found.since == NOW - 270.0


def test_too_few_mails_are_not_judged() -> None:
    found = judged(report("one", past(*[0.0] * 10, held=0.02)))

    assert found.health is Health.UNKNOWN
    assert found.ratio is None
    assert "too few mails" in found.reason


@pytest.mark.parametrize(("peers", "health"), [(0, Health.UNKNOWN), (1, Health.UNKNOWN), (2, Health.SLOW)])
def test_two_peers_are_needed(peers: int, health: Health) -> None:
    assert judged(report("one", past(*[100.0] * 10)), peers=peers).health is health


def test_beside_one_peer_a_slow_worker_is_only_warned_of() -> None:
    found = judged(report("one", past(*[100.0] * 10)), peers=1)

    assert found.health is Health.UNKNOWN
    assert found.reason.startswith("looks slow, but too few peers to judge by: 3.0 times slower than its 1 peer")


def test_windows_that_end_at_other_moments_count_for_what_overlaps() -> None:
    """The provider became twice as slow for all, 75 s ago: each is measured by what the others did just then."""
    quick, tardy = [100.0] * 8, [50.0] * 2
    shifted = [report(f"shifted{n}", windows(*quick, *tardy, at=NOW - 15.0), at=NOW - 15.0) for n in range(4)]

    found = judge([*shifted, report("one", windows(*quick, 75.0, 50.0))], now=NOW).workers["one"]

    assert found.ratio == pytest.approx(1.0)


def test_a_window_that_overlaps_by_a_third_counts_by_a_third() -> None:
    """The peers did 100 until 40 s ago and 40 since; two thirds of this worker's window lie before that."""
    others = [report(f"o{n}", windows(100.0, 100.0, 40.0, at=NOW - 10.0), at=NOW - 10.0) for n in range(3)]
    one = report("one", windows(100.0, 80.0, at=NOW - 30.0), at=NOW - 30.0)

    assert judge([*others, one], now=NOW).workers["one"].ratio == pytest.approx(1.0)


def test_only_so_many_of_the_latest_count_though_more_are_needed_to_clear() -> None:
    rules = Rules(slow=2, of=2, clear_in=4)

    assert judged(report("one", past(300.0, 100.0, 300.0, 100.0)), rules=rules).health is Health.OK
    assert judged(report("one", past(300.0, 300.0, 100.0, 100.0)), rules=rules).health is Health.SLOW


def test_clocks_that_differ_by_seconds_do_no_harm() -> None:
    """One host is four seconds ahead, so its report comes from the future, and one four seconds behind."""
    odd = [
        report("ahead", windows(*[100.0] * 10, at=NOW + 4.0), at=NOW + 4.0),
        report("behind", windows(*[100.0] * 10, at=NOW - 4.0), at=NOW - 4.0),
        report("slow", windows(*[100.0] * 10, held=3.0, at=NOW + 4.0), at=NOW + 4.0),
    ]

    found = judge(fleet(*odd), now=NOW).workers

    assert [found[name].health for name in ("ahead", "behind", "slow")] == [Health.OK, Health.OK, Health.SLOW]


def test_a_worker_that_began_in_the_middle_of_a_window_is_judged_by_what_it_has() -> None:
    found = judged(report("one", [window(40.0, seconds=12.0)]))

    assert found.health is Health.OK
    assert found.ratio == pytest.approx(1.0)


def test_a_worker_that_has_just_begun_is_unknown() -> None:
    assert judged(report("one", [])).health is Health.UNKNOWN


def test_windows_that_were_paused_count_for_nobody() -> None:
    """Mails that wait for a throttled provider are no sign of a slow worker, nor do they make others look quick."""
    paused = windows(*[10.0] * 10, held=3.0, paused_for=20.0)

    found = judge([*fleet(peers=2), report("paused", paused), report("paused2", paused)], now=NOW).workers

    assert found["paused"].health is Health.UNKNOWN
    assert found["peer0"].health is Health.UNKNOWN


def test_a_hung_peer_does_not_make_a_slow_worker_look_well() -> None:
    """It finishes nothing with its hands full, which tells nothing of the provider."""
    hung = report("hung", [window(0.0, 100.0, ago=ago, oldest=400.0 - 30 * ago) for ago in reversed(range(10))])

    assert judged(hung, report("one", past(*[100.0] * 10)), peers=2).health is Health.SLOW


def test_a_leaving_worker_is_no_peer() -> None:
    leaving = report("leaving", leaving="stopped")

    assert judged(leaving, report("one", past(*[100.0] * 10)), peers=1).health is Health.UNKNOWN


def test_equal_durations_and_idle_hands_divide_nothing_by_zero() -> None:
    even = replace(window(), work={"sendgrid": ProviderWork(100, 30.0, 30.0, 9.0)})
    empty = replace(window(), work={"sendgrid": ProviderWork()})

    found = judge([report(f"even{n}", [even]) for n in range(3)] + [report("empty", [empty])], now=NOW).workers

    assert found["even0"].health is Health.OK
    assert found["empty"].health is Health.UNKNOWN
