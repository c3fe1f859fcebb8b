"""What most tests of whole processes use: commands in a folder of their own, before a sandbox that each file shares."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.cli.commands import CLEAN, Postman, SandboxProcess, running_sandbox
from tests.contract.cli.forks import Forks


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(CLEAN) as forks:
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
def postman(tmp_path: Path, forks: Forks, sandbox: SandboxProcess) -> Postman:
    postman = Postman(tmp_path, forks)
    postman.use(sandbox)
    return postman
