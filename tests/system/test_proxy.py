"""The observing proxy among real processes: workers die at the worst moments, and no mail is ever in doubt.

The same deaths without the proxy show that they are the worst: there they do leave doubts.
"""

import asyncio
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import orjson
import pytest

from postman.config import Settings
from postman.core.entry import Entry, State
from postman.core.ids import MailId
from postman.runtime.observer import EVIDENCE
from postman.testing.emulators import Emulators
from postman.testing.waiting import wait_until_blocking
from postman.wiring import open_ledger
from tests.contract.cli.commands import CLEAN, Postman, Process, SandboxProcess, mail, running_sandbox, write_lines
from tests.contract.cli.forks import Forks

_MORTAL = '''
import os
import signal

from postman.adapters import sendgrid


class Mortal(sendgrid.SendGrid):
    """Ends its worker as soon as the provider's answer has come."""

    async def send(self, mail, *, timeout=None):
        await super().send(mail, timeout=timeout)
        os.kill(os.getpid(), signal.SIGKILL)


open_observed = sendgrid.open_observed


def open_provider(spec):
    return Mortal(spec)
'''
_ENTRY_POINTS = """
[postman.providers]
mortal = mortal:open_provider
[postman.observed]
mortal = mortal:open_observed
"""
_PROVIDER = """\
[[provider]]
name = "sendgrid"
kind = "{kind}"
base_url = "{url}"
api_key = "env:SENDGRID_API_KEY"
timeout = {timeout}
look_up_after = 1.0
"""
_MAILS = 20
_AT_FIRST = 5
"""So many mails a worker has in flight at a provider before one has succeeded."""
_GHOST = 2.5
"""Seconds for which the emulator hands mails to the pull of a process that was killed."""
_KEYLESS = {"SENDGRID_API_KEY": "", "MAILGUN_API_KEY": ""}


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages, with the kind of provider that no worker survives."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "mortal.py").write_text(_MORTAL)
    metadata = folder / "mortal-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mortal\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(_ENTRY_POINTS)
    return folder


@pytest.fixture(scope="module")
def forks(plugins: Path) -> Iterator[Forks]:
    with Forks({**CLEAN, "PYTHONPATH": str(plugins)}) as forks:
        yield forks


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: SandboxProcess) -> SandboxProcess:
    running.forget()
    return running


@pytest.fixture
def postman(tmp_path: Path, forks: Forks, plugins: Path, sandbox: SandboxProcess) -> Postman:
    postman = Postman(tmp_path, forks, PYTHONPATH=str(plugins))
    _use(postman, sandbox)
    assert postman("init").status == 0
    return postman


def _use(postman: Postman, sandbox: SandboxProcess, *, kind: str = "sendgrid", timeout: float = 5.0) -> None:
    document = _PROVIDER.format(kind=kind, url=sandbox.urls["sendgrid_url"], timeout=timeout)
    (postman.folder / "providers.toml").write_text(document)


@contextmanager
def _proxied(postman: Postman) -> Iterator[tuple[Postman, Process]]:
    """Have a proxy, which has no key, and workers that send through it."""
    with postman.start("proxy", "--port", "0", "--json", **_KEYLESS) as proxy:
        line = wait_until_blocking(proxy.out.read_text, within=10.0, what="the proxy's address")
        yield postman.with_settings({"POSTMAN_PROXY": orjson.loads(line)["url"]}), proxy


def _publish(postman: Postman, ids: Iterable[str]) -> None:
    ran = postman("publish", write_lines(postman.folder / "mails.jsonl", map(mail, ids)))
    assert ran.status == 0, ran.err


def _ids(count: int = _MAILS) -> list[str]:
    return [f"mail-{number}" for number in range(count)]


def _entries(postman: Postman, ids: Iterable[str]) -> dict[str, Entry]:
    return asyncio.run(_found(postman.environ, list(ids)))


async def _found(environ: Mapping[str, str], ids: list[str]) -> dict[str, Entry]:
    ledger = open_ledger(Settings.from_env(environ))
    try:
        found = {mail_id: await ledger.find(MailId(mail_id)) for mail_id in ids}
    finally:
        await ledger.aclose()
    return {mail_id: entry for mail_id, entry in found.items() if entry is not None}


def _all_sent(postman: Postman, ids: list[str]) -> bool:
    entries = _entries(postman, ids)
    return len(entries) == len(ids) and {entry.state for entry in entries.values()} == {State.SENT}


def _doubts(entries: Mapping[str, Entry]) -> int:
    """Return how many mails were ever in doubt."""
    return sum(any(note.event == "in doubt" for note in entry.history) for entry in entries.values())


def _observed(entries: Mapping[str, Entry]) -> int:
    return sum(any(note.detail == EVIDENCE for note in entry.history) for entry in entries.values())


def _die_after_each_answer(postman: Postman, sandbox: SandboxProcess, ids: list[str]) -> Counter[str]:
    """Let a worker die of each mail the moment its answer has come; return the states that the deaths left."""
    _use(postman, sandbox, kind="mortal", timeout=1.0)
    for mail_id in ids:
        _publish(postman, [mail_id])
        assert postman("worker").status == -signal.SIGKILL
    _use(postman, sandbox, timeout=1.0)
    return Counter(str(entry.state) for entry in _entries(postman, ids).values())


def _finish(postman: Postman, sandbox: SandboxProcess, ids: list[str]) -> dict[str, Entry]:
    """Let a worker end what is left; return the entries. Each mail was accepted once."""
    with postman.working() as worker:
        wait_until_blocking(lambda: _all_sent(postman, ids), within=40.0, every=0.2, what="that all are sent")
        _wait_for_the_queue(postman)
        assert not worker.events("unexpected")
    assert Counter(sandbox.accepted()) == Counter(ids)
    assert postman.dead() == []
    return _entries(postman, ids)


def _wait_for_the_queue(postman: Postman) -> None:
    """Return when what the dead had in hand came back and was dealt with."""
    if postman.environ["POSTMAN_QUEUE"].startswith("sqlite:"):
        wait_until_blocking(lambda: not _queued(postman), within=40.0, every=0.2, what="that the queue is empty")
        return
    over = time.monotonic() + float(postman.environ["POSTMAN_ACK_DEADLINE"]) + 3.0
    wait_until_blocking(lambda: time.monotonic() > over, within=30.0, every=0.5, what="one ack deadline")


def _queued(postman: Postman) -> int:
    with closing(sqlite3.connect(postman.folder / "postman.db")) as database:
        return int(database.execute("SELECT count(*) FROM messages").fetchone()[0])


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Shows a figure among the tests' dots."""

    def show(figure: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{figure}\n")

    return show


@pytest.mark.slow
def test_workers_that_die_between_the_answer_and_their_mark_leave_no_doubt(
    postman: Postman, sandbox: SandboxProcess, tell: Callable[[str], None]
) -> None:
    ids = _ids()
    with _proxied(postman) as (proxied, proxy):
        left = _die_after_each_answer(proxied, sandbox, ids)
        entries = _finish(proxied, sandbox, ids)
        assert len(proxy.events("observed")) == len(ids)

    assert left == {"sent": len(ids)}
    assert _doubts(entries) == 0
    assert _observed(entries) == len(ids)
    assert {entry.attempts for entry in entries.values()} == {1}
    tell(f"proxy, {len(ids)} workers killed after the answer: {_observed(entries)} observed, 0 ever in doubt")


@pytest.mark.slow
def test_without_the_proxy_each_such_death_leaves_a_doubt(
    postman: Postman, sandbox: SandboxProcess, tell: Callable[[str], None]
) -> None:
    """What the test above shows is the proxy's doing."""
    ids = _ids(5)
    left = _die_after_each_answer(postman, sandbox, ids)
    entries = _finish(postman, sandbox, ids)

    assert left == {"sending": len(ids)}
    assert _doubts(entries) == len(ids)
    tell(f"no proxy, {len(ids)} workers killed after the answer: {_doubts(entries)} in doubt")


def _die_while_sending(
    postman: Postman, sandbox: SandboxProcess, ids: list[str], *, slow: float = 1.5
) -> dict[str, Entry]:
    """Kill workers that have sent *ids* to a *slow* provider and wait for its answers; let another finish."""
    sandbox.fail("slow", seconds=slow)
    for first in range(0, len(ids), _AT_FIRST):
        some = ids[first : first + _AT_FIRST]
        _publish(postman, some)
        with postman.start("worker") as worker:
            _wait_for_requests(sandbox, first + _AT_FIRST)
            worker.signal(signal.SIGKILL)
            worker.ended(within=5.0)
        assert Counter(entry.state for entry in _entries(postman, some).values()) == {State.SENDING: _AT_FIRST}
        if not postman.environ["POSTMAN_QUEUE"].startswith("sqlite:"):
            time.sleep(_GHOST)
    sandbox.recover()
    return _finish(postman, sandbox, ids)


def _wait_for_requests(sandbox: SandboxProcess, count: int) -> None:
    wait_until_blocking(lambda: sandbox.requests() >= count, within=20.0, what="that all are under way")


@pytest.mark.slow
def test_a_worker_that_dies_while_it_waits_for_answers_leaves_no_doubt(
    postman: Postman, sandbox: SandboxProcess, tell: Callable[[str], None]
) -> None:
    ids = _ids()
    with _proxied(postman) as (proxied, _):
        entries = _die_while_sending(proxied, sandbox, ids)

    assert _doubts(entries) == 0
    assert _observed(entries) == len(ids)
    tell(f"proxy, workers killed with {len(ids)} mails under way: {_observed(entries)} observed, 0 ever in doubt")


@pytest.mark.slow
def test_without_the_proxy_a_worker_that_dies_so_leaves_all_of_them_in_doubt(
    postman: Postman, sandbox: SandboxProcess, tell: Callable[[str], None]
) -> None:
    ids = _ids(5)
    _use(postman, sandbox, timeout=2.0)
    entries = _die_while_sending(postman, sandbox, ids)

    assert _doubts(entries) == len(ids)
    tell(f"no proxy, workers killed with {len(ids)} mails under way: {_doubts(entries)} in doubt")


@pytest.mark.slow
def test_a_worker_that_dies_so_on_pubsub_and_firestore_leaves_no_doubt(
    postman: Postman,
    sandbox: SandboxProcess,
    pubsub: Emulators,
    firestore: Emulators,
    project: str,
    tell: Callable[[str], None],
) -> None:
    backends = {"POSTMAN_QUEUE": "pubsub:", "POSTMAN_LEDGER": "firestore:", "POSTMAN_PROJECT": project}
    cloud = postman.with_settings({**pubsub.environment, **firestore.environment, **backends, "POSTMAN_SHARDS": "2"})
    assert cloud("init").status == 0
    ids = _ids(10)
    with _proxied(cloud) as (proxied, _):
        entries = _die_while_sending(proxied, sandbox, ids, slow=2.5)

    assert _doubts(entries) == 0
    assert _observed(entries) == len(ids)
    tell(f"proxy on Firestore, workers killed with {len(ids)} mails under way: {len(ids)} observed, 0 ever in doubt")


@pytest.mark.slow
def test_a_proxy_that_dies_leaves_doubts_that_are_settled_and_no_second_copy(
    postman: Postman, sandbox: SandboxProcess
) -> None:
    """It is to a mail what its worker was: while it is away, nothing is sent and nothing is given up."""
    ids = _ids(5)
    _use(postman, sandbox, timeout=3.0)
    _publish(postman, ids)
    sandbox.fail("slow", seconds=1.0)
    with postman.start("proxy", "--port", "0", "--json", **_KEYLESS) as first:
        line = wait_until_blocking(first.out.read_text, within=10.0, what="the proxy's address")
        url = orjson.loads(line)["url"]
        proxied = postman.with_settings({"POSTMAN_PROXY": url})
        with proxied.start("worker") as worker:
            _wait_for_requests(sandbox, len(ids))
            first.signal(signal.SIGKILL)
            first.ended(within=5.0)
            wait_until_blocking(lambda: len(worker.events("in_doubt")) == len(ids), within=10.0, what="the doubts")
            sandbox.recover()
            with postman.start("proxy", "--port", url.rpartition(":")[2], **_KEYLESS):
                wait_until_blocking(lambda: _all_sent(postman, ids), within=60.0, every=0.2, what="that all are sent")
    assert Counter(sandbox.accepted()) == Counter(ids)


def test_a_proxy_that_is_stopped_finishes_what_is_under_way(postman: Postman, sandbox: SandboxProcess) -> None:
    _publish(postman, _ids(5))
    sandbox.fail("slow", seconds=1.0)
    with _proxied(postman) as (proxied, proxy), proxied.start("worker") as worker:
        _wait_for_requests(sandbox, 5)
        proxy.signal(signal.SIGTERM)
        assert proxy.ended(within=5.0) == 0, proxy.err.read_text()
        wait_until_blocking(lambda: len(worker.events("sent")) == 5, within=5.0, what="that the worker knows")
        assert not worker.events("in_doubt")
    assert _doubts(_entries(postman, _ids(5))) == 0
    assert _observed(_entries(postman, _ids(5))) == 5


def test_a_second_signal_breaks_the_proxy_off(postman: Postman, sandbox: SandboxProcess) -> None:
    _publish(postman, _ids(1))
    sandbox.fail("hang", seconds=30.0)
    with _proxied(postman) as (proxied, proxy), proxied.start("worker"):
        wait_until_blocking(sandbox.requests, within=20.0, what="that it is under way")
        proxy.signal(signal.SIGTERM)
        proxy.wait_for("proxy_draining")
        proxy.signal(signal.SIGINT)
        assert proxy.ended(within=3.0) == 1
    assert "Traceback" not in proxy.err.read_text()


def test_a_proxy_answers_for_its_health_and_an_idle_one_stops_at_once(postman: Postman) -> None:
    with _proxied(postman) as (proxied, proxy):
        answer = httpx.get(f"{proxied.environ['POSTMAN_PROXY']}/health", trust_env=False)
        assert answer.json() == {"state": "ready", "in_flight": 0, "unrecorded": 0}
        proxy.signal(signal.SIGINT)
        assert proxy.ended(within=3.0) == 0


@pytest.mark.parametrize(
    ("arguments", "settings", "complaint"),
    [
        (["--host", "0.0.0.0"], {}, "--allow-remote"),
        ([], {"POSTMAN_LEDGER": "memory:"}, "POSTMAN_LEDGER: memory: is of one process alone"),
        ([], {"POSTMAN_PROVIDERS": "nowhere.toml"}, "POSTMAN_PROVIDERS: cannot read"),
    ],
)
def test_a_proxy_that_cannot_serve_says_why(
    postman: Postman, arguments: list[str], settings: dict[str, str], complaint: str
) -> None:
    ran = postman.with_settings(settings)("proxy", *arguments)

    assert ran.status == 2
    assert complaint in ran.err


def test_a_port_that_is_taken_is_named(postman: Postman, sandbox: SandboxProcess) -> None:
    ran = postman("proxy", "--port", sandbox.urls["url"].rpartition(":")[2])

    assert ran.status == 2
    assert "cannot be used" in ran.err
