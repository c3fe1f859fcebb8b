"""Runs of Terraform that several tests look at: each is made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terraform.runs import State, Terraform, need_tools, stubbed
from tests.terraform.wishes import EVERYTHING, PUSHED


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    """Terraform with a stub of Google's provider; skips where it cannot be had."""
    need_tools()
    folder: Path = tmp_path_factory.mktemp("terraform")
    with stubbed(folder) as running:
        yield running


@pytest.fixture(scope="session")
def everything(terraform: Terraform) -> State:
    """A cluster with all that can be there at once, whose workers pull."""
    return terraform.apply(EVERYTHING)


@pytest.fixture(scope="session")
def pushed(terraform: Terraform) -> State:
    """The same, to which Pub/Sub pushes."""
    return terraform.apply(PUSHED)
