"""The suppressions' contract over SQLite, and what only SQLite promises."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from postman.adapters.sqlite import open_ledger, open_suppressions
from postman.adapters.sqlite._database import Database
from postman.adapters.sqlite.suppressions import SqliteSuppressions
from postman.core.suppression import SuppressionReason
from postman.errors import ConfigError, LedgerUnavailableError
from postman.ports.opening import Cluster
from postman.ports.suppressions import Suppressions
from postman.testing.clock import FakeClock
from postman.testing.suppression_suite import SuppressionSuite, all_changes, suppression

DAY = 86_400.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "postman.db"


def _open(path: Path, clock: FakeClock, prefix: str = "postman") -> SqliteSuppressions:
    """Open the list with small pages."""
    return SqliteSuppressions(Database(path, LedgerUnavailableError), clock, prefix, page=5)


@pytest.fixture
async def suppressions(path: Path, clock: FakeClock) -> AsyncIterator[Suppressions]:
    opened = _open(path, clock)
    yield opened
    await opened.aclose()


class TestSqliteSuppressions(SuppressionSuite):
    """The contract."""


def _execute(path: Path, statement: str, *values: object) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement, values).fetchall()


async def test_a_ledgers_file_from_before_there_were_suppressions_is_used(path: Path, clock: FakeClock) -> None:
    """It is read as an empty list, and its table made by the first change, without `postman init`."""
    ledger, suppressions = open_ledger(str(path), Cluster(clock)), open_suppressions(str(path), Cluster(clock))
    await ledger.ensure()
    assert await all_changes(suppressions) == ({}, "0")
    assert await suppressions.find("0" * 64) is None
    assert _execute(path, "SELECT name FROM sqlite_master WHERE name = 'suppressions'") == []
    await suppressions.put(suppression(1, clock.time()))
    assert len((await all_changes(suppressions))[0]) == 1
    await suppressions.aclose()
    await ledger.check()
    await ledger.aclose()


async def test_making_makes_the_table(suppressions: Suppressions, path: Path) -> None:
    await suppressions.ensure()
    assert _execute(path, "SELECT count(*) FROM suppressions") == [(0,)]


async def test_other_processes_see_changes_at_once_and_each_of_them_once(
    suppressions: Suppressions, path: Path, clock: FakeClock
) -> None:
    other = _open(path, clock)
    await suppressions.put(suppression(1, clock.time()))
    found, cursor = await all_changes(other)
    assert found == {each.key: each for each in [suppression(1, clock.time())]}
    assert await all_changes(other, cursor) == ({}, cursor)
    await suppressions.put(suppression(2, clock.time()))
    assert (await all_changes(other, cursor))[0].keys() == {suppression(2, 0.0).key}
    await other.aclose()


async def test_clusters_in_one_file_do_not_see_each_other(
    suppressions: Suppressions, path: Path, clock: FakeClock
) -> None:
    other = _open(path, clock, "other")
    stood = suppression(1, clock.time())
    await suppressions.put(stood)
    assert (await all_changes(other))[0] == {}
    assert await other.find(stood.key) is None
    assert await other.lift(stood.key) is None
    await other.put(suppression(1, clock.time() + 1.0))
    await other.aclose()
    assert await suppressions.find(stood.key) == stood


async def test_what_ended_is_forgotten_after_a_while_and_what_holds_is_kept(
    suppressions: Suppressions, path: Path, clock: FakeClock
) -> None:
    """The file does not grow with all that ever bounced; a lifting is remembered longer than a bounce is repeated."""
    now = clock.time()
    for number, expires_at in ((1, now + DAY), (2, now + 30 * DAY), (3, None), (4, None)):
        await suppressions.put(suppression(number, now, expires_at=expires_at))
    await suppressions.lift(suppression(4, 0.0).key)
    for days, left in ((1.9, {1, 2, 3, 4}), (2.1, {2, 3, 4}), (6.9, {2, 3, 4}), (7.1, {2, 3})):
        await clock.sleep(now + days * DAY - clock.time())
        await suppressions.put(suppression(int(days * 100), clock.time()))
        kept = {int(mail_id.removeprefix("mail-")) for [mail_id] in _execute(path, "SELECT mail_id FROM suppressions")}
        assert {number for number in kept if number < 10} == left


async def test_a_number_is_never_given_again(suppressions: Suppressions, path: Path, clock: FakeClock) -> None:
    """Or who has seen the one that was deleted would never hear of the other."""
    await suppressions.put(suppression(1, clock.time()))
    _, cursor = await all_changes(suppressions)
    _execute(path, "DELETE FROM suppressions")
    await suppressions.put(suppression(2, clock.time()))
    assert (await all_changes(suppressions, cursor))[0].keys() == {suppression(2, 0.0).key}


async def test_the_cursor_of_a_file_that_was_replaced_begins_anew(
    suppressions: Suppressions, path: Path, clock: FakeClock, tmp_path: Path
) -> None:
    for number in range(3):
        await suppressions.put(suppression(number, clock.time()))
    _, cursor = await all_changes(suppressions)
    fresh = _open(tmp_path / "fresh.db", clock)
    await fresh.put(suppression(7, clock.time()))
    assert (await all_changes(fresh, cursor))[0].keys() == {suppression(7, 0.0).key}
    await fresh.aclose()


async def test_two_processes_that_put_at_once_lose_nothing(path: Path, clock: FakeClock) -> None:
    lists = [_open(path, clock) for _ in range(3)]
    now = clock.time()
    puts = [lists[n % 3].put(suppression(n % 10, now, expires_at=now + n)) for n in range(90)]
    await asyncio.gather(*puts)
    found, _ = await all_changes(lists[0])
    assert sorted(each.expires_at or 0 for each in found.values()) == [now + n for n in range(80, 90)]
    for each in lists:
        await each.aclose()


async def test_a_reason_of_a_newer_postman_holds_too(suppressions: Suppressions, path: Path, clock: FakeClock) -> None:
    """It is better to send too little to an address than to what a newer version would not."""
    stood = suppression(1, clock.time())
    await suppressions.put(stood)
    _execute(path, "UPDATE suppressions SET reason = 'unsubscribed'")
    found = await suppressions.find(stood.key)
    assert found is not None
    assert found.reason is SuppressionReason.ADDED
    assert found.holds_at(clock.time())


async def test_trouble_is_told_in_the_ports_words(suppressions: Suppressions, clock: FakeClock, tmp_path: Path) -> None:
    """A file that is no database needs a human; a closed list is out of reach."""
    (tmp_path / "notes.txt").write_text("not a database, but of a certain length" * 100)
    wrong = open_suppressions(str(tmp_path / "notes.txt"), Cluster(clock))
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        await wrong.put(suppression(1, clock.time()))
    await wrong.aclose()
    await suppressions.aclose()
    with pytest.raises(LedgerUnavailableError, match="closed"):
        await suppressions.changes()


async def test_a_locked_file_is_told_as_out_of_reach(path: Path, clock: FakeClock) -> None:
    impatient = SqliteSuppressions(Database(path, LedgerUnavailableError, patience=0.1), clock, "postman")
    await impatient.ensure()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailableError):
            await impatient.put(suppression(1, clock.time()))
        assert (await impatient.changes()).suppressions == []
    await impatient.aclose()
