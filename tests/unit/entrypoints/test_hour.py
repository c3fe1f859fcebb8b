"""The last hour of a fleet: what all workers told together, and of which minutes nobody did."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postman.core.fleet.past import MOST_LATEST, Finished, Latency, Minute, ProviderMinute
from postman.core.fleet.reports import STOPPED, ProviderStanding, WorkerReport
from postman.core.message import Message
from postman.core.verdict import Ack, DeadLetter, DeadReason
from postman.entrypoints.hour import MINUTES, Hour, hour_document, hour_of
from postman.ports.queue import Delivery
from postman.runtime.past import Past
from postman.testing.roster_suite import plain_report

NOW = 1_700_000_040.0 + 30.0
LAST = int(NOW // 60)


def _report(worker: str, *past: Minute, at: float = NOW - 5.0, age: float = 86_400.0) -> WorkerReport:
    return replace(plain_report(worker, at), started=at - age, past=past)


def _minute(back: int, accepted: int = 0, *, name: str = "a", breaker: str = "closed", **counts: Any) -> Minute:
    """Return a minute that began *back* whole minutes before the last one."""
    return Minute(LAST - back, {name: ProviderMinute(accepted, 0, breaker)}, **counts)


def test_minutes_of_all_workers_are_added_up() -> None:
    hour = hour_of(
        [_report("w-1", _minute(1, 30, moved=2)), _report("w-2", _minute(1, 60, moved=1), _minute(0, 3))], NOW
    )
    before, last = hour.minutes[-2:]
    assert (before.sums.accepted, before.sums.moved, before.workers, before.rate) == (90, 3, 2, 1.5)
    assert (last.sums.accepted, last.workers, last.seconds, last.rate) == (3, 1, 30.0, 0.1)
    assert (hour.total.accepted, hour.total.moved) == (93, 3)


def test_what_nobody_told_of_is_unknown_and_not_idle() -> None:
    hour = hour_of([_report("w-1", _minute(2), _minute(1))], NOW)
    assert len(hour.minutes) == MINUTES
    assert [minute.is_known for minute in hour.minutes[-4:]] == [False, True, True, False]
    assert [minute.rate for minute in hour.minutes[-4:]] == [None, 0.0, 0.0, None]
    assert hour.known == 2


def test_the_minutes_follow_each_other_and_end_with_the_one_that_has_begun() -> None:
    begins = [minute.begins for minute in hour_of([], NOW).minutes]
    assert begins == [(LAST - MINUTES + 1 + index) * 60.0 for index in range(MINUTES)]
    assert begins[-1] <= NOW < begins[-1] + 60.0


def test_what_is_older_than_an_hour_is_left_out() -> None:
    hour = hour_of([_report("w-1", _minute(MINUTES, 5), _minute(MINUTES - 1, 7))], NOW)
    assert hour.total.accepted == 7


def test_a_worker_that_left_or_died_is_in_it_as_far_as_it_told() -> None:
    left = replace(_report("w-1", _minute(30, 5), at=NOW - 1_700.0), leaving=STOPPED)
    died = _report("w-2", _minute(20, 6), at=NOW - 1_200.0)
    again = _report("w-3", _minute(0, 7), age=40.0)
    hour = hour_of([left, died, again], NOW)
    assert hour.total.accepted == 18
    assert [index for index, minute in enumerate(hour.minutes) if minute.is_known] == [29, 39, 59]


def test_of_two_reports_of_a_worker_the_later_counts() -> None:
    """Or a page that looks while one is replaced would count its mails twice."""
    reports = [_report("w-1", _minute(1, 9)), _report("w-1", _minute(1, 4), at=NOW - 35.0)]
    for each in (reports, reports[::-1]):
        assert hour_of(each, NOW).total.accepted == 9


@pytest.mark.parametrize(
    ("at", "changes", "is_whole"),
    [
        (NOW - 5.0, {}, True),
        (NOW - 40.0, {}, False),
        (NOW - 40.0, {"leaving": STOPPED}, True),
        (NOW - 40.0, {"window": 10.0}, True),
        (NOW - 40.0, {"started": NOW - 20.0}, True),
    ],
    ids=["told", "has yet to tell", "left", "fell silent", "began later"],
)
def test_a_minute_is_whole_when_all_who_work_told_of_it(at: float, changes: dict[str, Any], is_whole: bool) -> None:
    second = replace(_report("w-2", _minute(1), at=at), **changes)
    hour = hour_of([_report("w-1", _minute(1), _minute(0)), second], NOW)
    assert [minute.is_whole for minute in hour.minutes[-2:]] == [is_whole, False]


def test_a_breakers_lane_tells_how_many_workers_saw_it_how() -> None:
    reports = [_report(f"w-{state}-{n}", _minute(1, breaker=state)) for state, n in (("open", 1), ("open", 2))]
    reports.append(_report("w-3", _minute(1)))
    assert hour_of(reports, NOW).minutes[-2].breakers == {"a": {"closed": 1, "open": 2}}


def test_shares_are_of_the_mails_that_were_accepted() -> None:
    minute = Minute(LAST, {"a": ProviderMinute(30, 400), "b": ProviderMinute(10)})
    hour = hour_of([_report("w-1", minute)], NOW)
    assert (hour.share("a"), hour.minutes[-1].share("b"), hour.share("c")) == (0.75, 0.25, 0.0)
    assert (hour_of([], NOW).share("a"), hour.minutes[0].share("a"), hour.providers) == (None, None, ["a", "b"])


@pytest.mark.parametrize(("ahead", "back"), [(20.0, 1), (90.0, 2), (3_600.0, 60)])
def test_a_clock_that_is_ahead_is_put_back(ahead: float, back: int) -> None:
    """What a worker says of the future happened already."""
    hour = hour_of([_report("w-1", _minute(-back, 5), at=NOW + ahead)], NOW)
    assert hour.minutes[-1].sums.accepted == 5


def test_the_latest_mails_of_all_come_newest_first() -> None:
    ended = {w: [Finished(f"{w}-{n}", "sent", "a", NOW - n * 4 - w, 0.1, 0) for n in range(20)] for w in range(4)}
    hour = hour_of([replace(_report(f"w-{w}"), latest=tuple(ended[w])) for w in ended], NOW)
    assert [one.mail_id for one in hour.latest[:5]] == ["0-0", "1-0", "2-0", "3-0", "0-1"]
    assert len(hour.latest) == 50


def _hour(minutes: int, refused: int) -> Hour:
    latency = Latency(900.0, (0, 0, 0, 1_180, 0, 0, 0, 0, 0, 20, 0, 0))
    busy = Minute(LAST, {"a": ProviderMinute(1_200)}, refused, 2, 3, 1, latency=latency)
    return hour_of([_report("w-1", *[_minute(back) for back in range(minutes - 1, 0, -1)], busy)], NOW)


def test_it_says_in_one_line_what_matters() -> None:
    line = "last hour: 1,200 sent, p50/p99 0.75/156 s, 3 failovers, 2 doubts, 1 duplicates prevented"
    assert str(_hour(MINUTES, 0)) == line
    assert str(_hour(1, 4)) == f"{line}, 4 refused (known: 1 of 60 min)"
    assert str(hour_of([], NOW)) == "last hour: nobody told of it"


def test_as_json_unknown_minutes_are_null() -> None:
    document = orjson.loads(orjson.dumps(hour_document(_hour(1, 4))))
    assert document["minutes"][:-1] == [None] * 59
    last = document["minutes"][-1]
    assert (last["accepted"], last["failovers"], last["whole"], last["breakers"]) == (
        {"a": 1_200},
        3,
        False,
        {"a": {"closed": 1}},
    )
    assert document["latency"] == {"p50": 0.754, "p95": 0.983, "p99": 156.0}
    assert (document["known_minutes"], document["refused"], document["prevented"]) == (1, 4, 1)


ACTS = ["sent", "dead", "failed", "moved", "doubted", "prevented", "report"]
STEPS = st.tuples(st.integers(0, 2), st.sampled_from(ACTS), st.floats(0.0, 40.0))


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=80))
def test_the_sums_over_the_fleet_are_what_happened(steps: list[tuple[int, str, float]]) -> None:
    """Three workers do what they like and report when they like; within the hour nothing is lost or counted twice."""
    now = [NOW]
    pasts = [Past(lambda: now[0]) for _ in range(3)]
    happened, latencies = dict.fromkeys(ACTS, 0), []
    reports: dict[str, WorkerReport] = {}

    def report(worker: int) -> None:
        minutes = pasts[worker].minutes({"a": ProviderStanding("closed")})
        reports[f"w-{worker}"] = replace(plain_report(f"w-{worker}", now[0]), past=minutes, latest=pasts[worker].latest)

    for worker, act, pause in steps:
        now[0] += pause
        happened[act] += 1
        delivery = Delivery(Message(b"", {"mail_id": "m"}), "r", 1, 0.0, now[0] - pause)
        match act:
            case "sent":
                latencies.append(pause)
                pasts[worker].ended(0, delivery, Ack("ab"[worker % 2]))
            case "dead":
                pasts[worker].ended(0, delivery, DeadLetter(DeadReason.EXPIRED))
            case "failed":
                pasts[worker].failed("a")
            case "report":
                report(worker)
            case _:
                getattr(pasts[worker], act)()
    for worker in range(3):
        report(worker)
    hour = hour_of(list(reports.values()), now[0])
    total = hour.total
    counted = (total.accepted, total.dead, total.failed, total.moved, total.in_doubt, total.prevented)
    assert counted == tuple(happened[act] for act in ACTS[:-1])
    assert total.latency.count == len(latencies)
    assert total.latency.seconds == pytest.approx(sum(latencies), abs=0.1)
    assert len(hour.latest) <= 3 * MOST_LATEST
