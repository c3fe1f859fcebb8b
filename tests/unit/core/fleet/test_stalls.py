"""Workers that finish, reach, say or take nothing are seen without a comparison of speed."""

import pytest

from postman.core.fleet import Health, Judgement, ProviderStanding, ProviderWork, WorkerReport, WorkWindow, judge
from tests.unit.core.fleet.fleets import NOW, hung_windows, report, window, windows


def judged(one: WorkerReport, *others: WorkerReport, now: float = NOW) -> Judgement:
    return judge([one, *others], now=now).workers[one.worker]


def peers(count: int, *, provider: str = "sendgrid") -> list[WorkerReport]:
    return [report(f"peer{index}", provider=provider) for index in range(count)]


def full(count: int, full_for: float = 30.0) -> list[WorkerReport]:
    """Return workers whose ten slots are always taken."""
    return [report(f"full{index}", windows(*[100.0] * 10, held=10.0, full_for=full_for)) for index in range(count)]


def test_a_hung_worker_is_stalled_even_alone() -> None:
    found = judged(report("one", hung_windows()))

    assert found.health is Health.STALLED
    assert found.reason == "finished nothing for 60 s; its oldest mail has waited for 95 s"
    assert found.since == NOW - 95.0


def test_a_mail_that_waits_for_less_than_a_minute_stalls_nobody() -> None:
    assert judged(report("one", [window(0.0, 10.0, oldest=60.0)])).health is Health.UNKNOWN
    assert judged(report("one", [window(0.0, 10.0, oldest=60.1)])).health is Health.STALLED


def test_a_worker_that_finishes_other_mails_is_not_stalled() -> None:
    """One mail may wait for long: for the evidence of a doubt, say."""
    assert judged(report("one", windows(0.0, 0.0, 1.0, oldest=500.0))).health is not Health.STALLED
    assert judged(report("one", windows(1.0, 0.0, 0.0, oldest=500.0))).health is Health.STALLED


def test_a_mail_finished_within_the_last_minute_speaks_for_the_worker() -> None:
    last_minute = [window(0.0, ago=2), window(1.0, ago=1), window(0.0, ago=0, oldest=500.0)]

    assert judged(report("one", last_minute)).health is not Health.STALLED


def test_at_a_provider_that_takes_long_patience_is_longer() -> None:
    """Lognormal mails of 20 s, with a variation of 1: 99 of 100 end within 98 s, and five times that is 490 s."""
    slow_ones = {"sendgrid": ProviderWork(20, 300.0, 400.0, 16_000.0)}
    others = [report(f"peer{n}", [WorkWindow(NOW, 30.0, slow_ones)]) for n in range(3)]

    assert judged(report("one", [window(0.0, 10.0, oldest=480.0)]), *others).health is not Health.STALLED
    assert judged(report("one", [window(0.0, 10.0, oldest=500.0)]), *others).health is Health.STALLED


def test_without_peers_patience_follows_the_worker_s_own_past() -> None:
    own = {"sendgrid": ProviderWork(1000, 20_000.0, 20_000.0, 800_000.0)}

    assert judged(report("one", [window(0.0, 10.0, oldest=480.0)], baseline=own)).health is Health.UNKNOWN
    assert judged(report("one", [window(0.0, 10.0, oldest=500.0)], baseline=own)).health is Health.STALLED


def test_a_worker_whose_breakers_are_all_open_is_not_stalled() -> None:
    assert judged(report("one", hung_windows(), breaker="open")).health is Health.UNKNOWN
    assert judged(report("one", hung_windows(), breaker="held_open")).health is Health.UNKNOWN
    assert judged(report("one", hung_windows(), breaker="half_open")).health is Health.STALLED


def test_one_open_breaker_of_two_excuses_nobody() -> None:
    one = report("one", hung_windows(), breaker="open")
    standings = {**one.providers, "mailgun": ProviderStanding("closed")}
    both = WorkerReport("two", "h", 1, "0", NOW, NOW, 10, 30.0, one.windows, providers=standings)

    assert judged(both).health is Health.STALLED


@pytest.mark.parametrize(("paused_for", "health"), [(27.0, Health.UNKNOWN), (20.0, Health.STALLED)])
def test_a_pause_that_covers_the_window_excuses_the_worker(paused_for: float, health: Health) -> None:
    assert judged(report("one", [window(0.0, 10.0, oldest=95.0, paused_for=paused_for)])).health is health


@pytest.mark.parametrize(("others", "health"), [(1, Health.UNKNOWN), (2, Health.STALLED)])
def test_a_local_fault_counts_while_peers_finish_mails(others: int, health: Health) -> None:
    """Its breakers are open, of course: that is no excuse when others reach the same providers."""
    one = report("one", windows(100.0, 0.0, 0.0, held=0.0), breaker="open", local_fault="no route to any provider")

    found = judged(one, *peers(others))

    assert found.health is health
    assert found.since == (NOW - 60.0 if health is Health.STALLED else None)


def test_peers_that_finish_elsewhere_say_nothing_of_a_local_fault() -> None:
    one = report("one", [window(0.0, 0.0)], breaker="open", local_fault="no route to any provider")

    assert judged(one, *peers(3, provider="mailgun")).health is Health.UNKNOWN


def test_peers_that_finish_nothing_just_now_say_nothing_of_a_local_fault() -> None:
    one = report("one", [window(0.0, 0.0)], breaker="open", local_fault="no route to any provider")
    others = [report(f"peer{n}", windows(100.0, 100.0, 0.0)) for n in range(3)]

    assert judged(one, *others).health is Health.UNKNOWN


def test_peers_that_finished_some_while_ago_say_nothing_of_a_local_fault() -> None:
    one = report("one", [window(0.0, 0.0)], breaker="open", local_fault="no route to any provider")
    late = NOW - 80.0

    assert judged(one, *[report(f"peer{n}", [window(at=late)], at=late) for n in range(3)]).health is Health.UNKNOWN


@pytest.mark.parametrize(("silence", "health"), [(90.0, Health.OK), (91.0, Health.STALLED), (600.0, Health.STALLED)])
def test_who_says_nothing_for_three_windows_is_stalled(silence: float, health: Health) -> None:
    at = NOW - silence
    found = judged(report("one", windows(*[100.0] * 10, at=at), at=at), *peers(3))

    assert found.health is health


def test_silence_is_told_in_words() -> None:
    found = judged(report("one", at=NOW - 95.0))

    assert found.reason == "said nothing for 95 s"
    assert found.since == NOW - 95.0


def test_three_windows_are_the_worker_s_own() -> None:
    assert judged(report("one", at=NOW - 95.0, period=60.0)).health is not Health.STALLED
    assert judged(report("one", at=NOW - 7.0, period=2.0)).health is Health.STALLED


def test_who_says_nothing_for_ten_minutes_is_gone() -> None:
    assert "one" not in judge([report("one", at=NOW - 601.0)], now=NOW).workers


def test_who_leaves_may_be_silent() -> None:
    found = judged(report("one", at=NOW - 95.0, leaving="stopped"))

    assert found.health is Health.LEAVING
    assert found.reason == "was told to stop"


def test_why_a_worker_leaves_is_told() -> None:
    assert judged(report("one", leaving="3.1 times slower")).reason == "leaves for its health: 3.1 times slower"


def test_idle_hands_beside_full_ones_are_seen() -> None:
    found = judged(report("one", windows(*[100.0] * 10, held=1.0)), *full(3))

    assert found.health is Health.IDLE_WITH_BACKLOG
    assert found.since == NOW - 120.0
    assert found.reason == "takes few mails while its peers have their hands full, since 2 min"


@pytest.mark.parametrize(("held", "health"), [(2.9, Health.IDLE_WITH_BACKLOG), (3.1, Health.OK)])
def test_idle_is_less_than_a_third_of_the_others(held: float, health: Health) -> None:
    assert judged(report("one", windows(*[100.0 * held] * 10, held=held)), *full(3)).health is health


@pytest.mark.parametrize(("idle", "health"), [(2, Health.OK), (3, Health.IDLE_WITH_BACKLOG)])
def test_idle_takes_three_of_four_windows(idle: int, health: Health) -> None:
    busy = windows(*[100.0] * (4 - idle), held=10.0, at=NOW - 30.0 * idle)

    assert judged(report("one", (*busy, *windows(*[100.0] * idle, held=1.0))), *full(3)).health is health


def test_nobody_is_idle_while_the_others_have_room() -> None:
    assert judged(report("one", windows(*[100.0] * 10)), *full(3, full_for=26.0)).health is Health.OK


def test_half_of_the_others_is_not_most() -> None:
    room = [report(f"room{n}", windows(*[100.0] * 10, held=10.0)) for n in range(2)]

    assert judged(report("one", windows(*[100.0] * 10)), *full(2), *room).health is Health.OK


def test_who_was_paused_is_not_idle() -> None:
    paused = report("one", windows(*[100.0] * 10, paused_for=4.0))

    assert judged(paused, *full(3)).health is Health.OK


def test_who_had_no_room_is_not_idle() -> None:
    assert judged(report("one", windows(*[100.0] * 10, full_for=4.0)), *full(3)).health is Health.OK


def test_small_hands_that_are_half_full_are_not_idle() -> None:
    """Two slots, one of them in use, are compared with ten by the share in use."""
    assert judged(report("one", windows(*[100.0] * 10, held=1.0), slots=2), *full(3)).health is Health.OK


def test_one_full_peer_does_not_make_a_worker_idle() -> None:
    assert judged(report("one"), *full(1)).health is Health.UNKNOWN


def test_full_peers_whose_windows_end_at_other_moments_count() -> None:
    others = [
        report(f"full{n}", windows(*[100.0] * 10, held=10.0, full_for=30.0, at=NOW - 11.0 * n), at=NOW - 11.0 * n)
        for n in range(3)
    ]

    assert judged(report("one"), *others).health is Health.IDLE_WITH_BACKLOG


def test_the_latest_window_of_a_full_peer_counts_beside_one_that_ended_later() -> None:
    """All three windows of the idle one are needed, and the peers have not yet reported the end of the last."""
    before = NOW - 22.0
    others = [
        report(f"full{n}", windows(*[100.0] * 10, held=10.0, full_for=30.0, at=before), at=before) for n in range(3)
    ]

    assert judged(report("one", windows(*[100.0] * 3)), *others).health is Health.IDLE_WITH_BACKLOG
