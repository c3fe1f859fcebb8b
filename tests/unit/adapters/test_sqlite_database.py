"""One file, many callers: what groups, errors and other processes do to a call."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from postman.adapters.sqlite._database import Database, Work
from postman.errors import ConfigError, QueueUnavailableError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "postman.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    opened = Database(path, QueueUnavailableError, patience=0.2)
    yield opened
    await opened.aclose()


def _adding(text: str) -> Work[None]:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO contents (attributes, data) VALUES (?, ?)", (text, b""))

    return work


def _failing(text: str) -> Work[None]:
    def work(connection: sqlite3.Connection) -> None:
        _adding(text)(connection)
        raise ValueError(text)

    return work


def _texts(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT attributes FROM contents ORDER BY id")]


async def test_one_that_fails_spoils_none_of_its_group(database: Database) -> None:
    """Its own changes are undone, its neighbours' are not."""
    works = [_failing(str(n)) if n % 10 == 3 else _adding(str(n)) for n in range(100)]
    results = await asyncio.gather(*(database.write(work) for work in works), return_exceptions=True)

    assert [n for n, result in enumerate(results) if isinstance(result, ValueError)] == list(range(3, 100, 10))
    assert await database.read(_texts) == [str(n) for n in range(100) if n % 10 != 3]


async def test_a_statement_that_fails_spoils_none_of_its_group(database: Database) -> None:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO contents (attributes, data) VALUES (NULL, NULL)")

    results = await asyncio.gather(
        database.write(_adding("a")), database.write(work), database.write(_adding("b")), return_exceptions=True
    )

    assert [type(result) for result in results] == [type(None), QueueUnavailableError, type(None)]
    assert await database.read(_texts) == ["a", "b"]


async def test_calls_take_effect_in_their_order(database: Database) -> None:
    await asyncio.gather(*(database.write(_adding(str(n))) for n in range(600)))

    assert await database.read(_texts) == [str(n) for n in range(600)]


async def test_calls_that_come_together_share_a_transaction(database: Database) -> None:
    """A thousand mails cost a few writes to the disk, not a thousand."""
    begun: list[str] = []
    await database.read(lambda connection: connection.set_trace_callback(begun.append))
    await asyncio.gather(*(database.write(_adding(str(n))) for n in range(1_000)))

    assert begun.count("COMMIT") == 4


async def test_the_loop_goes_on_while_the_file_is_written(database: Database) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work(_: sqlite3.Connection) -> bool:
        loop.call_soon_threadsafe(entered.set)
        return asyncio.run_coroutine_threadsafe(leave.wait(), loop).result(5.0)

    writing = asyncio.ensure_future(database.write(work))
    async with asyncio.timeout(5.0):
        await entered.wait()
        leave.set()
        assert await writing


async def test_a_lock_that_is_soon_let_go_is_waited_for(path: Path) -> None:
    database = Database(path, QueueUnavailableError)
    loop, trying = asyncio.get_running_loop(), asyncio.Event()
    await database.read(
        lambda connection: connection.set_trace_callback(lambda _: loop.call_soon_threadsafe(trying.set))
    )
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.ensure_future(database.write(_adding("a")))
    async with asyncio.timeout(5.0):
        await trying.wait()
        assert not writing.done()
        other.execute("COMMIT")
        await writing
    other.close()
    await database.aclose()


async def test_a_lock_that_is_kept_is_reported_and_can_be_tried_again(database: Database, path: Path) -> None:
    await database.ensure()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(QueueUnavailableError, match=r"postman\.db is locked by another process"):
        await database.write(_adding("a"))
    other.execute("ROLLBACK")
    other.close()
    await database.write(_adding("b"))

    assert await database.read(_texts) == ["b"]


async def test_a_full_disk_is_reported_and_harms_nothing(database: Database) -> None:
    """What fits is still taken; once there is room, all goes on."""
    await database.write(_adding("before"))
    await _allow_pages(database, 20)
    results = await asyncio.gather(
        database.write(_adding("x" * 1_000_000)), database.write(_adding("small")), return_exceptions=True
    )
    await _allow_pages(database, 10_000)
    await database.write(_adding("y" * 100_000))

    assert isinstance(results[0], QueueUnavailableError)
    assert "postman.db cannot grow: the disk is full" in str(results[0])
    found = await database.read(_texts)
    assert [text[:6] for text in found if text != "small"] == ["before", "yyyyyy"]
    assert ("small" in found) == (results[1] is None)


async def _allow_pages(database: Database, count: int) -> None:
    await database.read(lambda connection: connection.execute(f"PRAGMA max_page_count = {count}").close())


def _spoil(path: Path) -> None:
    """Overwrite all but the first page."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


async def test_a_damaged_file_is_reported(database: Database, path: Path) -> None:
    await asyncio.gather(*(database.write(_adding("x" * 500)) for _ in range(200)))
    await database.aclose()
    _spoil(path)
    again = Database(path, QueueUnavailableError)
    with pytest.raises(ConfigError, match=r"postman\.db is damaged"):
        await again.read(_texts)
    await again.aclose()


def _remove_all(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


async def test_what_is_written_after_the_file_was_removed_is_not_lost(database: Database, path: Path) -> None:
    """An open file that has no name any more would take everything, and keep nothing."""
    await database.write(_adding("a"))
    _remove_all(path.parent)
    await database.write(_adding("b"))
    other = Database(path, QueueUnavailableError)
    found = await other.read(_texts)
    await other.aclose()

    assert found == ["b"]


async def test_closing_finishes_what_is_under_way(database: Database, path: Path) -> None:
    writing = [asyncio.ensure_future(database.write(_adding(str(n)))) for n in range(600)]
    await asyncio.sleep(0)
    await database.aclose()
    await asyncio.gather(*writing)
    other = Database(path, QueueUnavailableError)
    found = await other.read(_texts)
    await other.aclose()

    assert len(found) == 600


async def test_after_closing_nothing_is_taken(database: Database) -> None:
    await database.aclose()
    await database.aclose()
    with pytest.raises(QueueUnavailableError, match="was closed"):
        await database.write(_adding("a"))
    with pytest.raises(QueueUnavailableError, match="was closed"):
        await database.read(_texts)
