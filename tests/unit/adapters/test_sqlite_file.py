"""Which files are opened, made, or refused."""

import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from postman.adapters.sqlite import open_shards
from postman.adapters.sqlite._database import Database
from postman.adapters.sqlite._file import path_of
from postman.errors import ConfigError, QueueUnavailableError
from postman.ports.opening import Cluster
from postman.ports.queue import Message
from postman.testing.clock import FakeClock

_NOBODY = 65_534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "postman.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    opened = Database(path, QueueUnavailableError)
    yield opened
    await opened.aclose()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the user as whom `_without_privileges` runs."""
    with TemporaryDirectory(prefix="postman-") as name:
        if os.geteuid() == 0:
            os.chown(name, _NOBODY, _NOBODY)
        yield Path(name)


@contextmanager
def _without_privileges() -> Iterator[None]:
    """As an ordinary user, since no permission stops the superuser."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


async def _use(path: Path) -> None:
    """Make and write as any caller would."""
    database = Database(path, QueueUnavailableError)
    try:
        await database.ensure()
        await database.check()
    finally:
        await database.aclose()


def _write_notes(path: Path) -> bytes:
    """Make a file that is not a database."""
    path.write_text("my notes\n" * 1_000)
    return path.read_bytes()


def _touch(path: Path) -> None:
    path.touch()


def _forbid_writing(folder: Path) -> None:
    folder.chmod(0o500)


def _is_there(path: Path) -> bool:
    return path.exists()


def _bytes(path: Path) -> bytes:
    return path.read_bytes()


def _execute(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_the_default_lies_in_a_folder_of_its_own(tmp_path: Path) -> None:
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert path_of("") == Path.cwd() / ".postman" / "postman.db"
        assert path_of("a/b.db") == Path.cwd() / "a" / "b.db"
    finally:
        os.chdir(before)


def test_a_path_may_begin_at_the_home_folder() -> None:
    assert path_of("~/postman.db") == Path.home() / "postman.db"


@pytest.mark.parametrize("text", [":memory:", "."])
def test_what_is_no_file_is_refused_at_once(text: str) -> None:
    with pytest.raises(ConfigError):
        path_of(text)


def test_opening_makes_nothing(path: Path) -> None:
    open_shards(str(path), Cluster(FakeClock()))

    assert not path.exists()


async def test_making_says_whether_it_made(database: Database) -> None:
    assert await database.ensure()
    assert not await database.ensure()


async def test_making_what_another_made_says_no(database: Database, path: Path) -> None:
    await _use(path)

    assert not await database.ensure()


async def test_checking_asks_for_a_file_and_makes_none(database: Database, path: Path) -> None:
    with pytest.raises(ConfigError, match=r"postman\.db is not made yet: run `postman init`"):
        await database.check()
    assert not _is_there(path)


async def test_checking_an_empty_file_asks_for_tables(database: Database, path: Path) -> None:
    _touch(path)
    with pytest.raises(ConfigError, match="run `postman init`"):
        await database.check()
    assert _bytes(path) == b""


async def test_a_commit_waits_for_the_disk(database: Database) -> None:
    """Neither setting may be lost: with a lesser one, a power cut takes back what was acknowledged."""
    names = ("journal_mode", "synchronous", "fullfsync")
    found = await database.read(
        lambda connection: [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
    )

    assert found == ["wal", 2, 1]


async def test_a_file_that_is_no_database_is_refused_and_kept(database: Database, path: Path) -> None:
    before = _write_notes(path)
    with pytest.raises(ConfigError, match=r"postman\.db is not a SQLite database"):
        await database.ensure()
    assert _bytes(path) == before


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE cookies (name TEXT)", "PRAGMA user_version = 7", "PRAGMA application_id = 5"]
)
async def test_the_database_of_another_program_is_refused_and_kept(
    database: Database, path: Path, statement: str
) -> None:
    _execute(path, statement)
    before = _bytes(path)
    with pytest.raises(ConfigError, match=r"postman\.db belongs to another program"):
        await database.ensure()
    assert _bytes(path) == before


async def test_the_file_of_a_newer_postman_is_refused_and_kept(database: Database, path: Path) -> None:
    await _use(path)
    _execute(path, "PRAGMA user_version = 99")
    before = _bytes(path)
    with pytest.raises(ConfigError, match=r"newer postman \(version 99"):
        await database.ensure()
    assert _bytes(path) == before


async def test_a_file_that_may_not_be_written_is_reported(folder: Path) -> None:
    path = folder / "postman.db"
    with _without_privileges():
        await _use(path)
        path.chmod(0o400)
        with pytest.raises(ConfigError, match=r"postman\.db is read-only"):
            await _use(path)


async def test_a_file_that_may_not_be_read_is_reported(folder: Path) -> None:
    path = folder / "postman.db"
    with _without_privileges():
        await _use(path)
        path.chmod(0)
        with pytest.raises(ConfigError, match=r"postman\.db cannot be opened"):
            await _use(path)


async def test_a_folder_that_may_not_be_written_is_reported(folder: Path) -> None:
    with _without_privileges():
        _forbid_writing(folder)
        with pytest.raises(ConfigError, match=r"postman\.db cannot be made: Permission denied"):
            await _use(folder / "below" / "postman.db")


async def test_a_folder_below_a_file_is_reported(path: Path) -> None:
    _touch(path)
    with pytest.raises(ConfigError, match="cannot be made"):
        await _use(path / "below" / "postman.db")


async def test_a_queue_that_cannot_be_used_is_named_with_its_file(path: Path) -> None:
    _write_notes(path)
    shards = open_shards(str(path), Cluster(FakeClock()))
    with pytest.raises(ConfigError, match=r"postman-mail-0 .*postman\.db is not a SQLite database"):
        await shards.check(0)
    await shards.aclose()


async def test_errors_say_nothing_of_a_mail(path: Path) -> None:
    _write_notes(path)
    shards = open_shards(str(path), Cluster(FakeClock()))
    with pytest.raises(ConfigError) as caught:
        await shards.queue(0).publish(Message(b"somebody@example.com", {"mail_id": "m-17"}))
    await shards.aclose()

    assert "somebody" not in repr(caught.value)
    assert "m-17" not in repr(caught.value)
