"""A folder with a sandbox beside it, for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.cli.commands import CLEAN, Postman, SandboxProcess, running_sandbox
from tests.contract.cli.forks import Forks


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: SandboxProcess) -> SandboxProcess:
    """One sandbox for all tests, empty at the start of each."""
    running.forget()
    return running


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    with Forks(CLEAN) as forks:
        yield forks


@pytest.fixture
def postman(tmp_path: Path, forks: Forks) -> Postman:
    return Postman(tmp_path, forks)
