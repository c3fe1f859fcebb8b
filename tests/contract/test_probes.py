"""Probes over real HTTP, of real workers: blocked, cut off, draining, and under a supervisor."""

import asyncio
import os
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import httpx
import pytest

from postman.entrypoints.probes import Condition, serve
from postman.errors import ConfigError
from postman.testing.emulators import Emulators
from postman.testing.waiting import wait_until, wait_until_blocking
from tests.contract.cli.commands import Postman, SandboxProcess, mail, write_lines
from tests.contract.cli.forks import Forks
from tests.contract.cli.forwarder import Forwarder

QUEUE_AWAY = {"status": "failing", "reason": "the queue has not answered lately"}
LEDGER_AWAY = {"status": "failing", "reason": "the ledger has not answered lately"}
DRAINS = {"status": "failing", "reason": "it drains"}
STARTING = {"status": "failing", "reason": "it is starting"}
OK: object = {"status": "ok"}
_LISTENS = "0A"
"""As /proc/net writes it."""


@pytest.fixture
def port() -> int:
    """A port that is free, and with some luck stays so."""
    with socket.create_server(("", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def postman(tmp_path: Path, forks: Forks, sandbox: SandboxProcess, port: int) -> Postman:
    postman = Postman(tmp_path, forks, POSTMAN_PROBE_PORT=str(port))
    postman.use(sandbox, timeout=10.0)
    assert postman("init").status == 0
    return postman


class Platform:
    """Asks as a platform does, and counts what is not answered within a second as a failure without a reason."""

    def __init__(self, port: int) -> None:
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=1.0, trust_env=False)

    def ask(self, path: str) -> tuple[int, object]:
        try:
            reply = self._client.get(path)
        except httpx.TransportError:
            return 0, None
        return reply.status_code, reply.json()

    @property
    def live(self) -> tuple[int, object]:
        return self.ask("/live")

    @property
    def ready(self) -> tuple[int, object]:
        return self.ask("/ready")

    def wait_until_ready(self, *, within: float = 20.0) -> None:
        wait_until_blocking(lambda: self.ready == (200, OK), within=within, what="ready")


@pytest.fixture
def platform(port: int) -> Iterator[Platform]:
    platform = Platform(port)
    with closing(platform._client):
        yield platform


@asynccontextmanager
async def _served(port: int, condition: Condition) -> AsyncIterator[httpx.AsyncClient]:
    client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False)
    async with serve(lambda: condition, port), client:
        yield client


@pytest.mark.parametrize(
    ("condition", "live", "ready"),
    [
        (Condition(), (200, OK), (200, OK)),
        (Condition("", "it drains"), (200, OK), (503, DRAINS)),
        (Condition("it drains", "it drains"), (503, DRAINS), (503, DRAINS)),
    ],
)
async def test_each_question_has_its_own_answer(
    port: int, condition: Condition, live: tuple[int, object], ready: tuple[int, object]
) -> None:
    async with _served(port, condition) as client:
        answers = [await client.get(path) for path in ("/live", "/ready", "/live?now")]

    assert [(each.status_code, each.json()) for each in answers] == [live, ready, live]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/live", 200),
        ("POST", "/live", 405),
        ("GET", "/", 404),
        ("GET", "/live/", 404),
        ("GET", "/metrics", 404),
        ("GET", "//live", 404),
    ],
)
async def test_nothing_else_is_answered_and_no_answer_names_software_or_its_version(
    port: int, method: str, path: str, status: int
) -> None:
    async with _served(port, Condition()) as client:
        answer = await client.request(method, path)

    assert answer.status_code == status
    assert answer.headers["server"] == "postman"
    assert answer.headers["content-type"].startswith("application/json")
    assert len(answer.content) < 100
    assert bool(answer.content) == (method != "HEAD")


async def test_every_interface_is_listened_on_and_the_port_is_given_back(port: int) -> None:
    hosts = ["127.0.0.1", "[::1]"] if socket.has_dualstack_ipv6() else ["127.0.0.1"]
    async with serve(Condition, port), httpx.AsyncClient(trust_env=False) as client:
        assert [(await client.get(f"http://{host}:{port}/live")).status_code for host in hosts] == [200] * len(hosts)

    with socket.create_server(("", port)):
        pass


async def test_a_port_that_cannot_be_had_is_a_wrong_setting(port: int) -> None:
    with (
        socket.create_server(("", port)),
        pytest.raises(ConfigError, match=f"POSTMAN_PROBE_PORT: port {port} cannot be used: Address already in use"),
    ):
        async with serve(Condition, port):
            pass


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_worker_whose_port_is_taken_does_not_start(postman: Postman, port: int, processes: str) -> None:
    with socket.create_server(("", port)):
        ran = postman("worker", "--processes", processes)

    assert (ran.status, ran.out) == (2, "")
    assert f"POSTMAN_PROBE_PORT: port {port} cannot be used" in ran.err
    assert "worker_started" not in ran.err
    assert "process_started" not in ran.err


def test_without_the_setting_nothing_listens(postman: Postman) -> None:
    with postman.working(POSTMAN_PROBE_PORT="") as worker:
        assert not worker.events("probes_answered")
        assert not _listening(worker.pid)


def test_a_worker_is_alive_and_becomes_ready_and_a_blocked_one_answers_nothing(
    postman: Postman, platform: Platform
) -> None:
    with postman.working() as worker:
        assert platform.live == (200, OK)
        platform.wait_until_ready()
        worker.signal(signal.SIGSTOP)
        assert (platform.live, platform.ready) == ((0, None), (0, None))
        worker.signal(signal.SIGCONT)
        platform.wait_until_ready()


def test_a_worker_that_waits_for_its_queue_is_alive_and_not_ready(postman: Postman, platform: Platform) -> None:
    with _locked(postman.folder / "postman.db"), postman.start("worker") as worker:
        worker.wait_for("not_reachable")
        assert (platform.live, platform.ready) == ((200, OK), (503, STARTING))


def test_a_worker_that_drains_is_alive_and_not_ready(
    postman: Postman, platform: Platform, sandbox: SandboxProcess
) -> None:
    sandbox.fail("slow", seconds=2.0)
    assert postman("publish", write_lines(postman.folder / "mails.jsonl", [mail("m-1")])).status == 0
    with postman.working() as worker:
        wait_until_blocking(lambda: sandbox.requests() > 0, within=10.0, what="a mail in flight")
        worker.signal(signal.SIGTERM)
        worker.wait_for("worker_draining")
        assert (platform.live, platform.ready) == ((200, OK), (503, DRAINS))
        assert worker.ended(within=8.0) == 0
    assert sandbox.accepted() == ["m-1"]
    assert platform.live == (0, None)


@pytest.mark.slow
async def test_a_worker_cut_off_from_queue_or_ledger_is_alive_and_ready_again_once_it_is_back(
    postman: Postman, platform: Platform, pubsub: Emulators, firestore: Emulators, project: str
) -> None:
    hosts = {**pubsub.environment, **firestore.environment}
    backends = {"POSTMAN_QUEUE": "pubsub:", "POSTMAN_LEDGER": "firestore:", "POSTMAN_PROJECT": project}
    direct = postman.with_settings({**hosts, **backends, "POSTMAN_SHARDS": "2"})
    assert (await asyncio.to_thread(direct, "init")).status == 0
    async with Forwarder(hosts["PUBSUB_EMULATOR_HOST"]) as queue, Forwarder(hosts["FIRESTORE_EMULATOR_HOST"]) as ledger:
        behind = direct.with_settings(
            {
                "PUBSUB_EMULATOR_HOST": f"127.0.0.1:{queue.port}",
                "FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{ledger.port}",
            }
        )
        await queue.open()
        await ledger.open()
        with behind.start("worker"):
            await _becomes(platform, (200, OK))
            await queue.cut()
            await ledger.cut()
            await _becomes(platform, (503, QUEUE_AWAY))
            await queue.open()
            await _becomes(platform, (503, LEDGER_AWAY))
            await ledger.open()
            await _becomes(platform, (200, OK))


async def _becomes(platform: Platform, ready: tuple[int, object]) -> None:
    async def is_so() -> bool:
        return await asyncio.to_thread(platform.ask, "/ready") == ready

    await wait_until(is_so, within=30.0, every=0.2, what=str(ready))
    assert await asyncio.to_thread(platform.ask, "/live") == (200, OK)


@pytest.mark.slow
def test_a_supervisor_answers_for_its_processes(postman: Postman, platform: Platform) -> None:
    with postman.start("worker", "--processes", "2") as supervisor:
        platform.wait_until_ready()
        first, second = (event["pid"] for event in supervisor.events("process_started"))
        assert [_listening(pid) for pid in (supervisor.pid, first, second)] == [True, False, False]
        os.kill(second, signal.SIGKILL)
        wait_until_blocking(lambda: platform.ready[0] == 503, within=3.0, what="one is missed")
        assert platform.live == (200, OK)
        platform.wait_until_ready()
        os.kill(first, signal.SIGSTOP)
        wait_until_blocking(lambda: platform.live[0] == 503, within=20.0, what="one is blocked")
        assert "process 1: it has said nothing for " in str(platform.live[1])
        os.kill(first, signal.SIGCONT)
        platform.wait_until_ready()
        supervisor.signal(signal.SIGTERM)
        assert supervisor.ended(within=10.0) == 0
        assert supervisor.out.read_bytes() == b""


def _listening(pid: int) -> bool:
    """Return whether a process listens on any port of IPv6 or IPv4."""
    opened = [str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()]
    inodes = {each.removeprefix("socket:[").removesuffix("]") for each in opened if each.startswith("socket:[")}
    tables = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    sockets = [line.split() for table in tables for line in table]
    return any(fields[3] == _LISTENS and fields[9] in inodes for fields in sockets)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the file for ourselves meanwhile."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
