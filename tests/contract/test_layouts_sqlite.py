"""The layout's contract over SQLite, and what only SQLite promises."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from postman.adapters.sqlite import open_layouts, open_ledger
from postman.errors import ConfigError, LayoutError, LedgerUnavailableError
from postman.ports.layouts import Layouts
from postman.ports.opening import Cluster
from postman.testing.clock import FakeClock
from postman.testing.layouts_suite import LayoutsSuite, OpenAgain, first_layout, full_layout


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "postman.db"


@pytest.fixture
def open_again(path: Path, clock: FakeClock) -> OpenAgain:
    return lambda: open_layouts(str(path), Cluster(clock))


@pytest.fixture
async def layouts(open_again: OpenAgain) -> AsyncIterator[Layouts]:
    opened = open_again()
    yield opened
    await opened.aclose()


class TestSqliteLayouts(LayoutsSuite):
    """The contract."""


def _execute(path: Path, statement: str, *values: object) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement, values).fetchall()


def _found_beside(path: Path) -> dict[str, bytes] | None:
    """Return the files in the folder of *path* with their contents, None where there is no folder."""
    return {each.name: each.read_bytes() for each in path.parent.iterdir()} if path.parent.exists() else None


def _touch(path: Path) -> None:
    path.touch()


def _remove(path: Path) -> None:
    for each in path.parent.iterdir():
        each.unlink()


async def test_a_look_makes_nothing(layouts: Layouts, path: Path) -> None:
    """Neither a folder nor a file, nor tables in a file that is empty, nor a table where there are others."""
    assert await layouts.read() is None
    assert _found_beside(path) is None
    path.parent.mkdir()
    assert await layouts.read() is None
    assert _found_beside(path) == {}
    _touch(path)
    assert await layouts.read() is None
    assert _found_beside(path) == {"postman.db": b""}


async def test_a_ledgers_file_from_before_there_were_layouts_is_used(
    layouts: Layouts, path: Path, clock: FakeClock
) -> None:
    """It is read as one without a layout, and its table made by the first change, without `postman init`."""
    ledger = open_ledger(str(path), Cluster(clock))
    await ledger.ensure()
    assert await layouts.read() is None
    assert _execute(path, "SELECT name FROM sqlite_master WHERE name = 'layouts'") == []
    await layouts.change(first_layout())
    assert await layouts.read() == first_layout()
    await ledger.check()
    await ledger.aclose()


async def test_making_makes_the_table(layouts: Layouts, path: Path) -> None:
    await layouts.ensure()
    assert _execute(path, "SELECT count(*) FROM layouts") == [(0,)]


async def test_a_file_that_was_removed_takes_the_layout_along(layouts: Layouts, path: Path) -> None:
    await layouts.change(first_layout())
    _remove(path)
    assert await layouts.read() is None
    assert _found_beside(path) == {}


async def test_clusters_in_one_file_do_not_see_each_other(layouts: Layouts, path: Path, clock: FakeClock) -> None:
    other = open_layouts(str(path), Cluster(clock, prefix="other"))
    await layouts.change(first_layout())
    assert await other.read() is None
    await other.change(full_layout())
    await other.aclose()
    assert await layouts.read() == first_layout()


@pytest.mark.parametrize(
    ("text", "says"),
    [('{"schema"', "is damaged"), ('{"schema": 1}', "is damaged: consume"), ('{"schema": 2}', "newer postman's")],
    ids=["torn", "incomplete", "newer"],
)
async def test_what_cannot_be_read_is_told_and_never_replaced(
    layouts: Layouts, path: Path, text: str, says: str
) -> None:
    """To go by the settings instead would leave mails in shards that nobody reads."""
    await layouts.change(first_layout())
    _execute(path, "UPDATE layouts SET layout = ?", text)
    told = rf"table layouts of .*{path.name}, row postman.* {says}"
    with pytest.raises(LayoutError, match=told):
        await layouts.read()
    with pytest.raises(LayoutError, match=told):
        await layouts.change(full_layout())
    assert _execute(path, "SELECT layout FROM layouts") == [(text,)]


async def test_trouble_is_told_in_the_ports_words(layouts: Layouts, clock: FakeClock, tmp_path: Path) -> None:
    """A file that is no database needs a human; a closed store is out of reach."""
    (tmp_path / "notes.txt").write_text("not a database, but of a certain length" * 100)
    wrong = open_layouts(str(tmp_path / "notes.txt"), Cluster(clock))
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        await wrong.read()
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        await wrong.change(first_layout())
    await wrong.aclose()
    await layouts.aclose()
    with pytest.raises(LedgerUnavailableError):
        await layouts.read()
