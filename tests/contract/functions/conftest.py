"""A folder with SQLite, a sandbox and an issuer, for the tests of one file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.cli.commands import CLEAN, Postman, SandboxProcess, running_sandbox
from tests.contract.cli.forks import Forks
from tests.contract.functions.servers import Issuer, running_issuer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("functions")


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(CLEAN) as forks:
        yield forks


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[SandboxProcess]:
    with running_sandbox(folder) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: SandboxProcess) -> SandboxProcess:
    """The sandbox, empty."""
    running.forget()
    return running


@pytest.fixture(scope="module")
def postman(folder: Path, forks: Forks, running: SandboxProcess) -> Postman:
    """The commands, with the queue, ledger and providers that the functions have."""
    made = Postman(folder, forks, POSTMAN_ACK_DEADLINE="20", POSTMAN_GRACE="4")
    made.use(running)
    return made
