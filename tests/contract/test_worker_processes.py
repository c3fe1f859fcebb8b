"""`postman worker --processes`: several processes that are told, killed, and left alone by their supervisor."""

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from postman.config import Settings
from postman.entrypoints.cli.worker import _command
from postman.testing.emulators._process import born
from postman.testing.waiting import wait_until_blocking
from tests.contract.cli.commands import Postman, Process, SandboxProcess, mail, write_lines

_CLOUD_RUN = 10.0
"""Seconds between its SIGTERM and its SIGKILL."""
_EXIT = 0.4
"""Seconds that an interpreter takes to end."""


def _publish(postman: Postman, count: int) -> list[str]:
    ids = [f"m-{number}" for number in range(count)]
    ran = postman("publish", write_lines(postman.folder / "mails.jsonl", map(mail, ids)))
    assert ran.status == 0, ran.err
    return ids


def _wait_for_workers(supervisor: Process, count: int) -> None:
    wait_until_blocking(
        lambda: len(supervisor.events("worker_started")) >= count, within=20.0, what=f"{count} workers that started"
    )


def _by_process(events: list[dict[str, Any]]) -> set[int]:
    return {event["process"] for event in events}


def test_processes_deliver_each_mail_once_and_one_interrupt_at_the_terminal_lets_all_drain(
    postman: Postman, sandbox: SandboxProcess
) -> None:
    """The terminal interrupts a whole group of processes, in which the workers must not be."""
    assert postman("init").status == 0
    with postman.start("worker", "--processes", "3") as supervisor:
        _wait_for_workers(supervisor, 3)
        ids = _publish(postman, 400)
        sandbox.wait_for(ids, within=30.0)
        os.killpg(supervisor.pid, signal.SIGINT)
        assert supervisor.ended(within=_CLOUD_RUN) == 0, supervisor.err.read_text()

    assert sorted(sandbox.accepted()) == sorted(ids)
    assert set(postman.states(ids).values()) == {"sent"}
    assert len(_by_process(supervisor.events("sent"))) > 1, "the mails were shared"
    for event in ("worker_started", "worker_draining", "worker_stopped", "process_started", "process_ended"):
        assert sorted(each["process"] for each in supervisor.events(event)) == [1, 2, 3], event
    assert supervisor.events()[-1]["event"] == "supervisor_stopped"


@pytest.mark.slow
def test_a_killed_process_is_started_again_and_its_mails_are_neither_lost_nor_doubled(
    postman: Postman, sandbox: SandboxProcess
) -> None:
    postman.use(sandbox, timeout=2.0, look_up_after=1.0)
    ids = _publish(postman, 150)
    sandbox.fail("slow", seconds=0.5)
    with postman.start("worker", "--processes", "2") as supervisor:
        _wait_for_workers(supervisor, 2)
        wait_until_blocking(lambda: sandbox.requests() >= 60, within=20.0, what="60 requests")
        killed = supervisor.events("process_started")[0]
        os.kill(killed["pid"], signal.SIGKILL)
        ended = supervisor.wait_for("process_ended", within=5.0)
        _wait_for_workers(supervisor, 3)
        sandbox.recover()
        sandbox.wait_for(ids, within=40.0)
        postman.wait_until_sent(ids, within=20.0)
        supervisor.signal(signal.SIGTERM)
        assert supervisor.ended(within=_CLOUD_RUN) == 0, supervisor.err.read_text()

    assert (ended["process"], ended["status"]) == (killed["process"], -signal.SIGKILL)
    assert 0 < ended["restart_in"] <= 0.5
    again = supervisor.events("process_started")[-1]
    assert again["process"] == killed["process"]
    assert again["pid"] != killed["pid"]
    assert sorted(sandbox.accepted()) == sorted(ids)
    assert postman.dead() == []


def test_processes_whose_supervisor_was_killed_finish_what_is_in_flight_and_end(
    postman: Postman, sandbox: SandboxProcess
) -> None:
    ids = _publish(postman, 20)
    sandbox.fail("slow", seconds=1.0)
    with postman.start("worker", "--processes", "2") as supervisor:
        _wait_for_workers(supervisor, 2)
        wait_until_blocking(lambda: sandbox.requests() >= len(ids), within=20.0, what="all mails in flight")
        births = {event["pid"]: born(event["pid"]) for event in supervisor.events("process_started")}
        assert all(births.values())
        supervisor.signal(signal.SIGKILL)
        killed = time.monotonic()
        supervisor.ended(within=5.0)
        wait_until_blocking(
            lambda: all(born(pid) != birth for pid, birth in births.items()), within=_CLOUD_RUN, what="no process left"
        )
    assert time.monotonic() - killed < _CLOUD_RUN
    assert _by_process(supervisor.events("supervisor_gone")) == {1, 2}
    assert _by_process(supervisor.events("worker_stopped")) == {1, 2}
    assert any(event["in_flight"] for event in supervisor.events("worker_draining"))
    assert sorted(sandbox.accepted()) == sorted(ids)
    assert set(postman.states(ids).values()) == {"sent"}


def test_a_process_that_hangs_without_its_supervisor_ends_itself() -> None:
    hanging = (
        "import time; from postman.entrypoints.cli.worker import _when_supervisor_ends;"
        "_when_supervisor_ends(lambda: print('told', flush=True), patience=0.2); time.sleep(60)"
    )
    ended = subprocess.run([sys.executable, "-c", hanging], input=b"", stdout=subprocess.PIPE, timeout=30, check=False)

    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, b"told\n")


def test_a_second_signal_lets_all_break_off_at_once(postman: Postman, sandbox: SandboxProcess) -> None:
    ids = _publish(postman, 20)
    sandbox.fail("slow", seconds=4.0)
    with postman.start("worker", "--processes", "2", POSTMAN_CONCURRENCY="4") as supervisor:
        _wait_for_workers(supervisor, 2)
        wait_until_blocking(lambda: sandbox.requests() >= 4, within=20.0, what="mails in flight")
        supervisor.signal(signal.SIGTERM)
        wait_until_blocking(
            lambda: len(supervisor.events("worker_draining")) == 2, within=5.0, what="workers that drain"
        )
        supervisor.signal(signal.SIGINT)
        assert supervisor.ended(within=3.0) == 1
    assert "Traceback" not in supervisor.err.read_text()
    assert len(supervisor.events("process_ended")) == 2
    assert len(sandbox.accepted()) == len(set(sandbox.accepted())) < len(ids)


def test_a_process_that_hangs_is_killed_soon_after_its_grace(postman: Postman) -> None:
    assert postman("init").status == 0
    with postman.start("worker", "--processes", "2", POSTMAN_GRACE="1") as supervisor:
        _wait_for_workers(supervisor, 2)
        hanging = supervisor.events("process_started")[0]
        os.kill(hanging["pid"], signal.SIGSTOP)
        told = time.monotonic()
        supervisor.signal(signal.SIGTERM)
        assert supervisor.ended(within=_CLOUD_RUN) == 1
        assert time.monotonic() - told > 1.0
    [killed] = supervisor.events("process_killed")
    assert killed["after"] - 1.0 + Settings().grace < _CLOUD_RUN - _EXIT
    assert killed["process"] == hanging["process"]
    assert sorted(event["status"] for event in supervisor.events("process_ended")) == [-signal.SIGKILL, 0]


@pytest.mark.parametrize("setting", ["POSTMAN_QUEUE", "POSTMAN_LEDGER"])
def test_what_is_in_the_memory_of_one_process_is_refused(postman: Postman, setting: str) -> None:
    ran = postman.with_settings({setting: "memory:"})("worker", "--processes", "2")

    assert (ran.status, ran.out) == (2, "")
    assert f"{setting}: memory: is of one process alone; it cannot be used with --processes" in ran.err
    assert "process_started" not in ran.err


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"POSTMAN_GRACE": "soon"}, "POSTMAN_GRACE"),
        ({"POSTMAN_PROVIDERS": ""}, "POSTMAN_PROVIDERS: is not set"),
        ({"SENDGRID_API_KEY": ""}, "provider sendgrid: api_key: env:SENDGRID_API_KEY: the environment variable"),
        ({"POSTMAN_QUEUE": "carrier-pigeon:"}, "POSTMAN_QUEUE"),
    ],
    ids=["a number", "no document", "key missing", "queue unknown"],
)
def test_wrong_settings_are_found_before_anything_is_started(
    postman: Postman, settings: dict[str, str], problem: str
) -> None:
    ran = postman.with_settings(settings)("worker", "--processes", "2")

    assert (ran.status, ran.out) == (2, "")
    assert problem in ran.err
    assert "supervisor_started" not in ran.err
    assert "Traceback" not in ran.err


def test_what_only_a_running_worker_finds_wrong_ends_all_and_is_not_tried_again(postman: Postman) -> None:
    with postman.start("worker", "--processes", "0") as supervisor:
        assert supervisor.ended(within=20.0) == 2
    assert "postman.db is not made yet: run `postman init`" in supervisor.err.read_text()
    usable = len(os.sched_getaffinity(0))
    [started] = supervisor.events("supervisor_started")
    assert started["processes"] == usable
    assert [event["process"] for event in supervisor.events("process_started")] == list(range(1, usable + 1))


def test_a_file_in_the_folder_cannot_stand_in_for_postman(postman: Postman) -> None:
    (postman.folder / "postman.py").write_text("raise SystemExit(7)")
    ended = subprocess.run(
        _command(1),
        cwd=postman.folder,
        env=postman.environ | {"POSTMAN_PROVIDERS": ""},
        capture_output=True,
        text=True,
        timeout=30.0,
        check=False,
    )

    assert ended.returncode == 2, ended.stderr
    assert "POSTMAN_PROVIDERS: is not set" in ended.stderr
