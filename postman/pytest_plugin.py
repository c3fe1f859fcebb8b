"""The pytest plugin: the fixture `inbox` and the mark `postman`. It costs nothing where no test asks for them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from postman.testing.inbox import Inbox
    from postman.testing.inbox.stage import Stage

__all__ = ["inbox", "pytest_configure"]


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line(
        "markers", "postman(deliver=True): how the fixture inbox behaves; deliver=False only keeps what is published"
    )


@pytest.fixture(scope="session")
def _postman_stage() -> "Iterator[Stage]":
    """Start the sandbox once for all tests of this process."""
    from postman.testing.inbox.stage import Stage

    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture
def inbox(
    request: pytest.FixtureRequest, _postman_stage: "Stage", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> "Iterator[Inbox]":
    """What would have been sent by the code under test, which finds its queue by the environment."""
    import os

    from postman.testing.inbox import Inbox

    mark = request.node.get_closest_marker("postman")
    folder = tmp_path / "postman"
    folder.mkdir()
    box = Inbox(_postman_stage, folder, **(mark.kwargs if mark else {}))
    for name in [name for name in os.environ if name.startswith("POSTMAN_")]:
        monkeypatch.delenv(name)
    for name, value in box.environ.items():
        monkeypatch.setenv(name, value)
    box.open()
    try:
        yield box
    finally:
        box.close()
