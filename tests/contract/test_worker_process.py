"""Workers as processes: stopped, killed, cut off and started in a world that is not there yet."""

import asyncio
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from postman.testing.emulators import Emulators
from postman.testing.waiting import wait_until, wait_until_blocking
from tests.contract.cli.commands import Postman, Process, SandboxProcess, mail, write_lines
from tests.contract.cli.forwarder import Forwarder

_GRACE = 8.0


def _publish(postman: Postman, count: int, *, begin: int = 0) -> list[str]:
    ids = [f"m-{number}" for number in range(begin, begin + count)]
    ran = postman("publish", write_lines(postman.folder / "mails.jsonl", map(mail, ids)))
    assert ran.status == 0, ran.err
    return ids


def _wait_for_requests(sandbox: SandboxProcess, count: int) -> None:
    wait_until_blocking(lambda: sandbox.requests() >= count, within=20.0, what=f"{count} requests")


def test_a_stopped_worker_finishes_what_is_in_flight_and_leaves_the_rest_to_others(
    postman: Postman, sandbox: SandboxProcess
) -> None:
    postman.use(sandbox, timeout=10.0)
    sandbox.fail("slow", seconds=0.3)
    first_ids = _publish(postman, 100)
    with postman.start("worker") as first:
        sandbox.wait_for(first_ids, within=20.0)  # meanwhile the worker learns that 50 at once are welcome
        sandbox.fail("slow", seconds=6.0)
        answered = sandbox.requests()
        ids = _publish(postman, 200, begin=100)
        _wait_for_requests(sandbox, answered + 50)
        stopped = time.monotonic()
        first.signal(signal.SIGTERM)
        assert first.ended(within=_GRACE) == 0, first.err.read_text()
        assert time.monotonic() - stopped < _GRACE
    [draining] = first.events("worker_draining")
    assert draining["in_flight"] == 50
    assert not first.events("in_doubt")
    sandbox.recover()
    assert len(sandbox.accepted()) == 150

    with postman.working():
        sandbox.wait_for(ids, within=2.0)
    assert postman.dead() == []


def test_a_second_signal_breaks_off_at_once_and_no_mail_is_lost_or_sent_twice(
    postman: Postman, sandbox: SandboxProcess
) -> None:
    ids = _publish(postman, 20)
    sandbox.fail("slow", seconds=4.0)
    with postman.start("worker") as first:
        _wait_for_requests(sandbox, 20)
        first.signal(signal.SIGTERM)
        first.wait_for("worker_draining")
        again = time.monotonic()
        first.signal(signal.SIGINT)
        assert first.ended(within=5.0) == 1
        assert time.monotonic() - again < 1.5
    assert "Traceback" not in first.err.read_text()
    sandbox.recover()

    with postman.working():
        postman.wait_until_sent(ids, within=15.0)
    assert sorted(sandbox.accepted()) == sorted(ids)
    assert postman.dead() == []


@pytest.mark.slow
def test_the_mails_of_a_killed_worker_are_delivered_once_by_another(postman: Postman, sandbox: SandboxProcess) -> None:
    """Some were sent and not recorded, some were claimed and not sent, some were only pulled."""
    postman.use(sandbox, timeout=1.0, look_up_after=1.0)
    ids = _publish(postman, 300)
    sandbox.fail("slow", seconds=0.3)
    with postman.start("worker") as first:
        _wait_for_requests(sandbox, 120)
        first.signal(signal.SIGKILL)
        first.ended(within=5.0)
    assert len(postman.states(ids)) < 300
    assert set(postman.states(ids).values()) == {"sending", "sent"}

    with postman.working() as second:
        sandbox.wait_for(ids, within=30.0)
        postman.wait_until_sent(ids, within=20.0)
    assert second.events("doubt_settled")
    assert not second.events("unexpected")
    assert sorted(sandbox.accepted()) == sorted(ids)
    assert postman.dead() == []


@pytest.mark.slow
def test_while_all_providers_are_down_nothing_is_given_up_and_nothing_spins(
    postman: Postman, sandbox: SandboxProcess
) -> None:
    ids = _publish(postman, 60)
    sandbox.fail("down")
    with postman.working() as worker:
        _wait_for_requests(sandbox, 2)
        began = time.monotonic()
        wait_until_blocking(lambda: time.monotonic() - began > 5.0, within=6.0, every=0.5, what="five seconds")
        requests = sandbox.requests()
        assert not worker.events("dead_lettered")
        assert not sandbox.accepted()
        sandbox.recover()
        sandbox.wait_for(ids, within=20.0)
        assert worker.events("provider_recovered")
    assert requests < 2 * 60 + 20, "each mail tries each provider once at the most, then probes go alone"
    assert postman.dead() == []


def test_workers_without_a_usable_queue_say_so_can_be_stopped_and_begin_once_it_is_there(
    postman: Postman, sandbox: SandboxProcess
) -> None:
    ids = _publish(postman, 5)
    with (
        _locked(postman.folder / "postman.db") as release,
        postman.start("worker") as worker,
        postman.start("worker") as stopped,
    ):
        event = worker.wait_for("not_reachable", within=10.0)
        assert "postman.db is locked by another process" in event["reason"]
        assert event["retry_in"] > 0
        stopped.wait_for("not_reachable", within=10.0)
        stopped.signal(signal.SIGTERM)
        assert stopped.ended(within=8.0) == 0
        assert worker.is_running
        assert not worker.events("worker_started")
        release.set()
        worker.wait_for("reachable_again", within=8.0)
        sandbox.wait_for(ids, within=5.0)


async def test_a_worker_cut_off_from_pubsub_and_firestore_says_so_and_begins_once_they_are_there(
    postman: Postman, sandbox: SandboxProcess, pubsub: Emulators, firestore: Emulators, project: str
) -> None:
    environment = {**pubsub.environment, **firestore.environment}
    async with (
        Forwarder(environment["PUBSUB_EMULATOR_HOST"]) as queue,
        Forwarder(environment["FIRESTORE_EMULATOR_HOST"]) as ledger,
    ):
        backends = {
            "POSTMAN_QUEUE": "pubsub:",
            "POSTMAN_LEDGER": "firestore:",
            "POSTMAN_PROJECT": project,
            "POSTMAN_SHARDS": "2",
        }
        direct = postman.with_settings({**environment, **backends})
        cut_off = direct.with_settings(
            {
                "PUBSUB_EMULATOR_HOST": f"127.0.0.1:{queue.port}",
                "FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{ledger.port}",
            }
        )
        assert (await asyncio.to_thread(direct, "init")).status == 0
        ids = await asyncio.to_thread(_publish, direct, 5)
        with cut_off.start("worker") as worker:
            await _sees(worker, "not_reachable", "Pub/Sub cannot be reached for", within=5.0)
            await queue.open()
            await _sees(worker, "not_reachable", "Firestore", within=5.0)
            await ledger.open()
            await asyncio.to_thread(sandbox.wait_for, ids, within=10.0)
            assert worker.events("reachable_again")
            assert not worker.events("unexpected")


def test_a_worker_without_work_ends_at_once(postman: Postman) -> None:
    assert postman("init").status == 0
    with postman.start("worker") as worker:
        worker.wait_for("worker_started")
        began = time.monotonic()
        worker.signal(signal.SIGTERM)
        assert worker.ended(within=5.0) == 0
        assert time.monotonic() - began < 3.0


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"POSTMAN_PROVIDERS": ""}, "POSTMAN_PROVIDERS: is not set; it names the TOML file of the providers"),
        ({"POSTMAN_PROVIDERS": "nowhere.toml"}, "POSTMAN_PROVIDERS: cannot read nowhere.toml: No such file"),
        ({"SENDGRID_API_KEY": ""}, "provider sendgrid: api_key: env:SENDGRID_API_KEY: the environment variable"),
        ({"POSTMAN_QUEUE": "sqlite:nowhere.db"}, "nowhere.db is not made yet: run `postman init`"),
    ],
    ids=["no document", "document missing", "key missing", "not set up"],
)
def test_a_worker_with_wrong_settings_does_not_start(postman: Postman, settings: dict[str, str], problem: str) -> None:
    ran = postman.with_settings(settings).anew("worker")

    assert (ran.status, ran.out) == (2, "")
    assert problem in ran.err
    assert "Traceback" not in ran.err
    assert "worker_started" not in ran.err


async def _sees(worker: Process, event: str, reason: str, *, within: float) -> None:
    await wait_until(
        lambda: any(reason in seen["reason"] for seen in worker.events(event)), within=within, what=f"{event}: {reason}"
    )


@contextmanager
def _locked(path: Path) -> Iterator[threading.Event]:
    """Hold the file for ourselves, until the event that is yielded is set or the block ends."""
    release, locked = threading.Event(), threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            locked.set()
            release.wait(60.0)

    holder = threading.Thread(target=hold)
    holder.start()
    assert locked.wait(5.0)
    try:
        yield release
    finally:
        release.set()
        holder.join()
