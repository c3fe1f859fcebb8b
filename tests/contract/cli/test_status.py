"""`postman status`: the workers, the providers and the fleet, as an operator sees them."""

import asyncio
import os
import pty
import re
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import orjson
import pytest

from postman.adapters.clock import SystemClock
from postman.adapters.sqlite import open_roster
from postman.core.fleet.past import Latency, Minute, ProviderMinute
from postman.core.fleet.reports import STOPPED, ProviderStanding, ProviderWork, WorkerReport, WorkWindow
from postman.ports.opening import Cluster
from postman.testing.monitoring_server import MonitoringServer
from postman.testing.waiting import wait_until_blocking
from tests.contract.cli.commands import COMMAND, Postman, Ran, SandboxProcess, mail, write_lines

WINDOW = 30.0


def _report(worker: str, *, takes: float = 0.5, ago: float = 1.0, provider: str = "sendgrid") -> WorkerReport:
    at = time.time() - ago
    done = round(5 * WINDOW / takes)
    work = {provider: ProviderWork(done, 5 * WINDOW, done * takes, done * takes**2)}
    windows = tuple(WorkWindow(at - WINDOW * age, WINDOW, work) for age in reversed(range(4)))
    standings = {provider: ProviderStanding("closed", in_flight=5, limit=20, is_home=True)}
    return WorkerReport(worker, "host-1", 4711, "0.1.0", at - 600.0, at, 50, WINDOW, windows, {}, standings)


def _say(postman: Postman, reports: Sequence[WorkerReport]) -> None:
    """Write reports by the back door, as workers would."""

    async def say() -> None:
        roster = open_roster(str(postman.folder / "postman.db"), Cluster(SystemClock()))
        for report in reports:
            await roster.report(report)
        await roster.aclose()

    asyncio.run(say())


def test_an_empty_fleet_is_told_in_a_sentence(postman: Postman) -> None:
    ran = postman("status")
    assert (ran.status, ran.err) == (0, "")
    assert "no worker has reported at sqlite:" in ran.out
    assert "start one with `postman worker`; it shows within 30 s" in ran.out
    assert "but not with POSTMAN_HEALTH_WINDOW=0" in postman("status", POSTMAN_HEALTH_WINDOW="0").out


def _on_pubsub(postman: Postman, *arguments: str, monitoring: str = "") -> Ran:
    """Run a command that never speaks to Pub/Sub itself; nobody is there."""
    return postman(
        *arguments,
        POSTMAN_QUEUE="pubsub:",
        POSTMAN_PROJECT="demo",
        PUBSUB_EMULATOR_HOST="127.0.0.1:9",
        MONITORING_EMULATOR_HOST=monitoring,
    )


def test_what_nobody_counts_is_not_guessed(postman: Postman) -> None:
    """As beside the emulator of Pub/Sub."""
    assert "backlog: nobody counts what waits here" in _on_pubsub(postman, "status").out
    [line] = _on_pubsub(postman, "status", "--json").lines
    assert (line["backlog"], line["doubts"], line["dead"], line["workers"]) == (None, 0, {}, [])


def test_what_waits_is_told_with_the_oldest(postman: Postman) -> None:
    """In all shards together, and by shard for programs."""
    postman("publish", write_lines(postman.folder / "mails.jsonl", [mail(f"m-{number}") for number in range(9)]))

    assert re.search(
        r"^backlog: 9 mails in 4 shards; the oldest waits \d+ s \(shard [0-3]\)$", postman("status").out, re.MULTILINE
    )
    [line] = postman("status", "--json").lines
    assert line["backlog"]["count"] == sum(each["count"] for each in line["backlog"]["shards"].values()) == 9
    assert set(line["backlog"]["dead"]) == {"0", "1", "2", "3"}
    assert 0.0 < line["backlog"]["oldest_age"] < 60.0


async def test_what_google_measured_is_told_with_its_age(postman: Postman) -> None:
    """By `status` and by `shards list`; what it will not tell is said."""
    async with MonitoringServer("demo") as server:
        server.measure("postman-mail-2", at=time.time() - 90.0, count=1_200, age=400)
        status = await asyncio.to_thread(_on_pubsub, postman, "status", monitoring=server.address)
        shards = await asyncio.to_thread(_on_pubsub, postman, "shards", "list", monitoring=server.address)
        server.status = 403
        refused = await asyncio.to_thread(_on_pubsub, postman, "status", monitoring=server.address)

    assert re.search(r"backlog: 1200 mails in 1 shard, \d+ s ago; the oldest waits 7 min \(shard 2\)", status.out)
    assert re.search(r"^2 +open +1200 \(\d+ s ago\) +7 min +0", shards.out, re.MULTILINE)
    assert re.search(r"^1 +open +\? +0", shards.out, re.MULTILINE)
    assert refused.status == 0
    assert "backlog: Cloud Monitoring may not be read: this account needs roles/monitoring.viewer" in refused.out


def test_a_slow_ledger_is_told_apart_from_slow_workers(postman: Postman) -> None:
    """With how long a call took; while it is as quick as ever, nothing is said."""
    good = _report("w-1")
    slow = tuple(replace(window, ledger_calls=10, ledger_took=40.0) for window in good.windows)
    _say(postman, [good])
    assert "ledger slow" not in postman("status").out
    _say(postman, [replace(good, windows=slow)])
    assert "ledger slow: a call takes 4.0 s, as 30 of the latest show; mails take longer" in postman("status").out
    [line] = postman("status", "--json").lines
    assert line["ledger"]["mean"] == 4.0


def test_the_last_hour_is_told_in_a_line_also_when_nobody_works_any_more(postman: Postman) -> None:
    minute = int(time.time() // 60) - 1
    sides = {"sendgrid": ProviderMinute(1_200, 30, "open"), "mailgun": ProviderMinute(34)}
    past = (Minute(minute, sides, in_doubt=2, moved=30, prevented=5, latency=Latency(900.0, (0, 0, 1_234, *[0] * 9))),)
    _say(postman, [replace(_report("w-gone", ago=700.0), past=past)])
    line = (
        "last hour: 1,234 sent, p50/p99 0.38/0.5 s, 30 failovers, 2 doubts, 5 duplicates prevented (known: 1 of 60 min)"
    )
    assert line in postman("status").out
    [document] = postman("status", "--json").lines
    hour = document["hour"]
    assert (hour["known_minutes"], hour["accepted"]) == (1, {"mailgun": 34, "sendgrid": 1_200})
    [told] = [each for each in hour["minutes"] if each is not None]
    assert told["breakers"] == {"mailgun": {"closed": 1}, "sendgrid": {"open": 1}}


def test_a_slow_worker_is_named_with_the_reason(postman: Postman) -> None:
    _say(postman, [_report("w-slow", takes=2.0), *(_report(f"w-{number}") for number in range(3))])
    read, lines = postman("status"), postman("status", "--json").lines
    row = next(line for line in read.out.splitlines() if line.startswith("w-slow"))
    assert "host-1:4711" in row
    assert "slow" in row
    assert "4.0 times slower than its 3 peers at sendgrid" in row
    assert "5 of 50" in row
    assert "told to leave: w-slow" in read.out
    [document] = lines
    slow = next(worker for worker in document["workers"] if worker["worker"] == "w-slow")
    assert (slow["health"], slow["rate"], slow["in_flight"]) == ("slow", 2.5, 5)
    assert slow["since"] == pytest.approx(time.time() - 4 * WINDOW, abs=15.0)
    assert document["fleet"] == {"slow": "", "leave": ["w-slow"], "departures": 0}
    assert {worker["health"] for worker in document["workers"] if worker["worker"] != "w-slow"} == {"ok"}


def test_providers_are_shown_as_the_workers_see_them(postman: Postman) -> None:
    """The share of the mails, the breakers over the workers, when the first is tried again, and what was wrong."""
    is_open = ProviderStanding("open", retry_after=13.0, problem="503 Service Unavailable")
    waits = ProviderStanding("closed", retry_after=40.0, problem="429")
    first = _report("w-0")
    seen = [
        replace(first, providers={**first.providers, "mailgun": is_open}),
        *(replace(_report(f"w-{n}"), providers={**first.providers, "mailgun": waits}) for n in (1, 2)),
        _report("w-3", provider="mailgun"),
    ]
    _say(postman, seen)
    [document] = postman("status", "--json").lines
    mailgun, sendgrid = document["providers"]
    assert (mailgun["provider"], sendgrid["provider"]) == ("mailgun", "sendgrid")
    assert (mailgun["share"], sendgrid["share"]) == (0.25, 0.75)
    assert sendgrid["rate"] == pytest.approx(30.0)
    assert mailgun["breakers"] == {"closed": 1, "open": 1, "paused": 2}
    assert 5.0 < mailgun["retry_after"] <= 12.0, "counted from now, not from the report"
    assert (mailgun["problem"], sendgrid["problem"]) == ("503 Service Unavailable", "")
    row = next(line for line in postman("status").out.splitlines() if line.startswith("mailgun"))
    assert "25%" in row
    assert "closed 1, open 1, paused 2 (next try in 1" in row


def test_who_says_nothing_is_stalled_and_who_left_is_leaving(postman: Postman) -> None:
    """Neither counts among those that send; who is long gone is not shown."""
    _say(
        postman,
        [
            _report("w-dumb", ago=200.0),
            replace(_report("w-told"), leaving=STOPPED),
            replace(_report("w-ill"), leaving="2.5 times slower than its 3 peers"),
            _report("w-gone", ago=700.0),
            _report("w-well"),
        ],
    )
    [document] = postman("status", "--json").lines
    found = {worker["worker"]: (worker["health"], worker["reason"]) for worker in document["workers"]}
    assert found["w-dumb"][0] == "stalled"
    assert "said nothing for 3 min" in found["w-dumb"][1]
    assert found["w-told"] == ("leaving", "was told to stop")
    assert found["w-ill"] == ("leaving", "leaves for its health: 2.5 times slower than its 3 peers")
    assert "w-gone" not in found
    assert document["fleet"]["departures"] == 1
    assert document["providers"][0]["rate"] == pytest.approx(10.0), "only w-well sends"


def test_a_text_of_a_stranger_cannot_steer_the_terminal(postman: Postman) -> None:
    """Reports come from a store that others may write to."""
    report = _report("w-1")
    bad = ProviderStanding("open", problem="\x1b[31m[bold]boo[/]\nw-9 fine")
    _say(postman, [replace(report, host="\x1b]0;h\x07", providers={"sendgrid": bad})])
    out = postman("status").out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "[bold]boo[/]" in out
    assert not any(line.startswith("w-9") for line in out.splitlines())


def test_a_store_that_cannot_be_reached_is_status_1(postman: Postman) -> None:
    """With --watch as well, where it is away from the start."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        away = {
            "POSTMAN_LEDGER": "firestore:",
            "POSTMAN_PROJECT": "nowhere",
            "FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{taken.getsockname()[1]}",
        }
        for options in ((), ("--watch",)):
            ran = postman.with_settings(away)("status", *options)
            assert (ran.status, ran.out) == (1, "")
            assert ran.complaints == ["Firestore database (default) of project nowhere cannot be reached"]


def test_watching_looks_again_until_it_is_told_to_stop(postman: Postman) -> None:
    with postman.start("status", "--watch", "--json") as watching:
        wait_until_blocking(lambda: watching.out.read_text().count("\n") >= 1, within=20.0)
        _say(postman, [_report("w-new")])
        wait_until_blocking(lambda: "w-new" in watching.out.read_text(), within=6.0)
        watching.signal(signal.SIGINT)
        assert watching.ended(within=5.0) == 0
    assert watching.err.read_text() == ""
    looks = [orjson.loads(line) for line in watching.out.read_text().splitlines()]
    assert looks[0]["workers"] == []
    assert looks[1]["at"] - looks[0]["at"] == pytest.approx(2.0, abs=1.0)


def test_watching_without_a_terminal_prints_one_page_after_another(postman: Postman) -> None:
    _say(postman, [_report("w-1")])
    with postman.start("status", "--watch") as watching:
        wait_until_blocking(lambda: watching.out.read_text().count("fleet: ") >= 2, within=20.0)
        watching.signal(signal.SIGTERM)
        assert watching.ended(within=5.0) == 0
    assert "\x1b" not in watching.out.read_text()


def test_watching_at_a_terminal_draws_over_what_it_drew(postman: Postman) -> None:
    _say(postman, [_report("w-1")])
    ours, theirs = pty.openpty()
    environ = postman.environ | {"TERM": "xterm", "COLUMNS": "200"}
    command = [*COMMAND, "status", "--watch"]
    with subprocess.Popen(command, env=environ, stdin=theirs, stdout=theirs, start_new_session=True) as watching:
        os.close(theirs)
        seen = b""
        while seen.count(b"fleet: ") < 2:
            seen += os.read(ours, 65_536)
        watching.send_signal(signal.SIGINT)
        with suppress(OSError):  # Linux's way to say that the other end was closed
            while os.read(ours, 65_536):
                pass
        assert watching.wait(5.0) == 0
    os.close(ours)
    assert b"\x1b[1A" in seen, "the cursor goes up"


def test_a_real_worker_is_seen_and_says_goodbye(postman: Postman, sandbox: SandboxProcess) -> None:
    postman.use(sandbox)
    ids = [f"m-{number}" for number in range(20)]
    assert postman("publish", write_lines(postman.folder / "mails.jsonl", map(mail, ids))).status == 0
    with postman.start("worker", POSTMAN_HEALTH_WINDOW="1") as worker:
        sandbox.wait_for(ids, within=20.0)
        wait_until_blocking(lambda: _done(postman) > 0, within=10.0, every=0.2, what="mails in the report")
        [seen] = postman("status", "--json").lines[0]["workers"]
        worker.signal(signal.SIGTERM)
        assert worker.ended(within=8.0) == 0
    assert (seen["pid"], seen["host"]) == (worker.pid, socket.gethostname())
    [left] = postman("status", "--json").lines[0]["workers"]
    assert (left["health"], left["reason"]) == ("leaving", "was told to stop")


def test_a_worker_without_a_window_does_not_report(postman: Postman, sandbox: SandboxProcess) -> None:
    postman.use(sandbox)
    assert postman("init").status == 0
    with postman.start("worker", POSTMAN_HEALTH_WINDOW="0") as worker:
        worker.wait_for("worker_started")
        worker.signal(signal.SIGTERM)
        assert worker.ended(within=8.0) == 0
    assert postman("status", "--json").lines[0]["workers"] == []


@pytest.mark.parametrize("window", ["0.5", "301", "-1", "nan", "often"])
def test_a_wrong_window_is_named(postman: Postman, window: str) -> None:
    ran = postman("status", POSTMAN_HEALTH_WINDOW=window)
    assert ran.status == 2
    assert "POSTMAN_HEALTH_WINDOW" in ran.err


def _done(postman: Postman) -> float:
    return float(sum(line["rate"] for line in postman("status", "--json").lines[0]["workers"]))
