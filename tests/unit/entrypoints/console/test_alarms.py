"""The sentences for who was woken, by the runbook's table "The first minute"."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from postman.core.fleet.health import Health
from postman.core.fleet.reports import DocumentSeen
from postman.core.layout import Layout
from postman.entrypoints.backlog import Waiting
from postman.entrypoints.console.alarms import Alarm, Sight, alarms_of, down_since, verdict_of
from postman.entrypoints.fleet import Fleet, ProviderLine, WorkerLine
from postman.ports.backlog import Backlog

NOW: Final = 1_700_000_000.0
RUNBOOK: Final = Path(__file__).parents[4] / "docs" / "runbook.md"


def worker(name: str = "w-1", health: Health = Health.OK, **more: Any) -> WorkerLine:
    given = {"host": "h", "pid": 1, "version": "1", "reason": "did well", "rate": 5.0, "in_flight": 1, "slots": 50}
    line = WorkerLine(worker=name, health=health, started=0, said_at=NOW, since=None, document=DocumentSeen(), **given)  # type: ignore[arg-type]
    return replace(line, **more)


def provider(name: str, problem: str = "", **breakers: int) -> ProviderLine:
    return ProviderLine(name, 0.5, 5.0, breakers, 0.0, [1.0], problem)


GOOD: Final = (provider("sendgrid", closed=4), provider("mailgun", closed=4))


def fleet(*providers: ProviderLine, workers: tuple[WorkerLine, ...] = (worker(),), slow: str = "") -> Fleet:
    return Fleet(NOW, workers, providers or GOOD, slow, frozenset(), 0)


def waiting(count: int = 0, age: float = 0.0, problem: str = "") -> Waiting:
    return Waiting(NOW, True, {3: Backlog(count, age, NOW)}, {}, {}, problem)


def sight(**changes: Any) -> Sight:
    base = Sight(NOW, fleet(), NOW, "", waiting(), Layout.of(8), {}, {})
    return replace(base, **changes)


def first(seen: Sight) -> Alarm:
    return alarms_of(seen)[0]


def test_where_nothing_is_wrong_nothing_is_said() -> None:
    assert alarms_of(sight()) == []
    assert verdict_of(sight(), []).text == "All is well."


def test_a_provider_that_is_down_is_named_with_where_mails_go_and_since_when() -> None:
    seen = sight(fleet=fleet(provider("a", "503", open=4), GOOD[1]), down_since={"a": NOW - 120})

    alarm = first(seen)
    assert alarm.text == "a is down since 22:11 UTC; all mails go to mailgun."
    assert (alarm.tone, alarm.more, alarm.section) == ("bad", "503", "provider_down")
    assert verdict_of(seen, [alarm]).text == "Mails flow, but something is wrong."


@pytest.mark.parametrize("problem", ["CredentialsError: a: 401", "QuotaExceededError: a: 402"])
def test_a_provider_that_locks_us_out_is_told_from_one_that_is_down(problem: str) -> None:
    assert first(sight(fleet=fleet(provider("a", problem, open=1), GOOD[1]))).section == "provider_locked_out"


def test_a_provider_that_some_workers_hold_back_is_only_worth_a_look() -> None:
    alarm = first(sight(fleet=fleet(provider("a", closed=3, half_open=1), GOOD[1])))

    assert (alarm.tone, alarm.text) == ("warn", "a is held back by 1 of 4 workers (closed 3, half open 1).")


@pytest.mark.parametrize(
    ("problem", "section"), [("503", "nothing_acknowledged"), ("it could not be reached", "nothing_reachable")]
)
def test_without_any_provider_no_mail_is_sent_and_none_is_lost(problem: str, section: str) -> None:
    seen = sight(fleet=fleet(provider("a", problem, open=1), provider("b", problem, open=1)), waiting=waiting(7, 30.0))
    verdict = verdict_of(seen, alarms_of(seen))

    assert (verdict.tone, verdict.text) == ("bad", "No mails are being sent.")
    assert verdict.more == "Nothing is lost: 7 mails wait in the queue, the oldest for 30 s."
    assert first(seen).section == section


@pytest.mark.parametrize("workers", [(), (worker(health=Health.STALLED), worker("w-2", Health.LEAVING))])
def test_without_a_worker_that_works_no_mail_is_sent(workers: tuple[WorkerLine, ...]) -> None:
    seen = sight(fleet=fleet(workers=workers))

    assert verdict_of(seen, alarms_of(seen)).text == "No mails are being sent."


def test_a_provider_that_a_person_holds_is_told_from_one_that_is_down() -> None:
    opened = first(sight(fleet=fleet(provider("a", "503", held_open=4), GOOD[1])))
    assert (opened.tone, opened.text) == ("warn", "a is forced open; all mails go to mailgun.")
    assert "auto" in opened.more

    closed = first(sight(fleet=fleet(provider("a", "503", held_closed=4), GOOD[1])))
    assert (closed.tone, closed.text.partition(":")[0]) == ("note", "a is forced closed")

    nobody = first(sight(fleet=fleet(provider("a", held_open=4), provider("b", held_open=4))))
    assert (nobody.tone, nobody.text) == ("bad", "No provider can be used.")
    assert "a: it is forced open; b: it is forced open" in nobody.more


def test_what_cannot_be_read_is_not_taken_for_an_outage() -> None:
    never = sight(fleet=None, problem="away")
    old = sight(problem="away", seen_at=NOW - 300)

    assert verdict_of(never, alarms_of(never)).tone == "quiet"
    assert first(never).section == "ledger_unavailable"
    assert "What you see is 5 min old." in first(old).more


@pytest.mark.parametrize(("age", "tone"), [(61.0, "warn"), (601.0, "bad")])
def test_mails_that_wait_long_are_late(age: float, tone: str) -> None:
    alarm = first(sight(waiting=waiting(5, age)))

    assert (alarm.tone, alarm.section) == (tone, "mails_late")
    assert "shard 3" in alarm.text


@pytest.mark.parametrize(("doubts", "tone"), [(1, "note"), (6, "warn")])
def test_doubts_are_told_with_what_becomes_of_them(doubts: int, tone: str) -> None:
    alarm = first(sight(counts={"in_doubt": doubts}))

    assert (alarm.tone, alarm.section) == (tone, "doubts")


def test_dead_letters_wait_for_a_person_and_wake_nobody() -> None:
    seen = sight(counts={"in_doubt": 0, "refused": 1_200, "expired": 3})

    assert first(seen).text == "1\N{NARROW NO-BREAK SPACE}203 dead letters wait for a decision."
    assert first(seen).more.startswith("1\N{NARROW NO-BREAK SPACE}200 refused, 3 expired.")
    assert verdict_of(seen, alarms_of(seen)).text == "All is well."


@pytest.mark.parametrize(
    ("changes", "section"),
    [
        ({"layout": Layout.of(8).pause(3, now=NOW)}, "mails_expire"),
        ({"fleet": fleet(slow="all are slow")}, "workers_unfit"),
        ({"fleet": fleet(workers=(worker(), worker("w-2", Health.SLOW)))}, "workers_unfit"),
        ({"fleet": fleet(workers=(worker(document=DocumentSeen("7", "line 3: no key")),))}, "providers_refused"),
    ],
)
def test_what_is_worth_a_look_leads_to_its_section(changes: dict[str, Any], section: str) -> None:
    alarm = first(sight(**changes))

    assert (alarm.tone, alarm.section) == ("warn", section)


def test_every_section_that_is_named_is_in_the_runbook() -> None:
    source = Path(alarms_of.__code__.co_filename).read_text()
    named = set(re.findall(r'"([a-z]+(?:_[a-z]+)+)"', source)) - {
        "half_open",
        "held_closed",
        "in_doubt",
        "alarms_of",
        "down_since",
    }
    named -= {"verdict_of", "idle_with_backlog"}
    headings = set(re.findall(r"^## (\w+)$", RUNBOOK.read_text(), re.MULTILINE))

    assert {"provider_down", "mails_late", "ledger_unavailable"} <= named
    assert named <= headings


def test_an_outage_began_with_the_last_minute_without_a_break() -> None:
    lanes = {
        "a": [(0.0, "open"), (60.0, "closed"), (120.0, "open"), (180.0, "half_open"), (240.0, "open")],
        "b": [(0.0, "open"), (60.0, "closed")],
        "c": [],
    }

    assert down_since(lanes) == {"a": 120.0}
