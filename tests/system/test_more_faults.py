"""A worker whose log nobody reads, or nobody can write: its mails do not wait for that."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contract.cli.commands import CLEAN, COMMAND, Postman, SandboxProcess, mail, running_sandbox, write_lines
from tests.contract.cli.forks import Forks

_MAILS = 800
"""Their log is larger than a pipe."""


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(CLEAN) as forks:
        yield forks


@pytest.fixture
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox


@pytest.fixture
def postman(tmp_path: Path, forks: Forks, sandbox: SandboxProcess) -> Postman:
    postman = Postman(tmp_path, forks)
    postman.use(sandbox)
    return postman


@pytest.mark.parametrize("log", ["not read", "whose reader is gone", "on a full disk"])
def test_a_log_that_takes_nothing_keeps_no_mail_waiting(postman: Postman, sandbox: SandboxProcess, log: str) -> None:
    """Nor does it keep the worker from ending in good order."""
    ids = [f"m-{number}" for number in range(_MAILS)]
    postman("publish", write_lines(postman.folder / "mails.jsonl", map(mail, ids)))
    with _descriptor(log) as descriptor, _worker(postman, descriptor) as worker:
        sandbox.wait_for(ids, within=60.0)
        postman.wait_until_sent(ids, within=10.0)
        worker.send_signal(signal.SIGTERM)

        assert worker.wait(10.0) == 0


@contextmanager
def _descriptor(log: str) -> Iterator[int]:
    """Yield where the worker's log goes."""
    reader, writer = os.pipe()
    if log != "not read":
        os.close(reader)
        reader = os.open(os.devnull, os.O_RDONLY)
    if log == "on a full disk":
        os.close(writer)
        writer = os.open("/dev/full", os.O_WRONLY)
    yield writer
    os.close(writer)
    os.close(reader)


@contextmanager
def _worker(postman: Postman, log: int) -> "Iterator[subprocess.Popen[bytes]]":
    worker = subprocess.Popen(
        [*COMMAND, "worker"],
        cwd=postman.folder,
        env=postman.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log,
        start_new_session=True,
    )
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait()
