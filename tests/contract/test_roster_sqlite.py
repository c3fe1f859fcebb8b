"""The roster's contract over SQLite, and what only SQLite promises."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import structlog

from postman.adapters.sqlite import open_ledger, open_roster
from postman.errors import ConfigError, LedgerUnavailableError
from postman.ports.opening import Cluster
from postman.ports.roster import KEPT, Roster
from postman.testing.clock import FakeClock
from postman.testing.roster_suite import RosterSuite, plain_report


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "postman.db"


@pytest.fixture
async def roster(path: Path, clock: FakeClock) -> AsyncIterator[Roster]:
    opened = open_roster(str(path), Cluster(clock))
    yield opened
    await opened.aclose()


class TestSqliteRoster(RosterSuite):
    """The contract."""


def _execute(path: Path, statement: str, *values: object) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement, values).fetchall()


async def test_a_ledgers_file_from_before_there_were_rosters_is_used(path: Path, clock: FakeClock) -> None:
    """It is read as empty, and its table made by the first report, without `postman init`."""
    ledger, roster = open_ledger(str(path), Cluster(clock)), open_roster(str(path), Cluster(clock))
    await ledger.ensure()
    assert _execute(path, "SELECT name FROM sqlite_master WHERE name = 'workers'") == []
    assert list(await roster.reports(0.0)) == []
    assert _execute(path, "SELECT name FROM sqlite_master WHERE name = 'workers'") == []
    await roster.report(plain_report("w-1", clock.time()))
    assert len(await roster.reports(0.0)) == 1
    await roster.aclose()
    await ledger.check()
    await ledger.aclose()


async def test_making_makes_the_table(roster: Roster, path: Path) -> None:
    await roster.ensure()
    assert _execute(path, "SELECT count(*) FROM workers") == [(0,)]


async def test_workers_in_other_processes_are_seen(roster: Roster, path: Path, clock: FakeClock) -> None:
    report = plain_report("w-1", clock.time())
    await roster.report(report)
    other = open_roster(str(path), Cluster(clock))
    found = await other.reports(0.0)
    await other.aclose()
    assert list(found) == [report]


async def test_clusters_in_one_file_do_not_see_each_other(roster: Roster, path: Path, clock: FakeClock) -> None:
    other = open_roster(str(path), Cluster(clock, prefix="other"))
    await roster.report(plain_report("same", clock.time()))
    assert list(await other.reports(0.0)) == []
    await other.report(plain_report("same", clock.time() + 1.0))
    await other.aclose()
    assert [report.at for report in await roster.reports(0.0)] == [clock.time()]


async def test_reports_are_forgotten_in_the_end(roster: Roster, path: Path, clock: FakeClock) -> None:
    """The file does not grow with the processes that ever were."""
    await roster.report(plain_report("old", clock.time()))
    await clock.sleep(KEPT + 1.0)
    await roster.report(plain_report("new", clock.time()))
    assert _execute(path, "SELECT worker FROM workers") == [("new",)]


async def test_a_damaged_record_is_left_out_and_told_once(roster: Roster, path: Path, clock: FakeClock) -> None:
    """One worker's nonsense hides nobody else, and does not fill the log."""
    for worker in ("good", "torn", "newer", "odd"):
        await roster.report(plain_report(worker, clock.time()))
    _execute(path, "UPDATE workers SET report = '{\"schema\"' WHERE worker = 'torn'")
    _execute(path, "UPDATE workers SET report = '{\"schema\": 99}' WHERE worker = 'newer'")
    _execute(path, "UPDATE workers SET report = '{\"schema\": 1, \"worker\": 7}' WHERE worker = 'odd'")
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            assert [report.worker for report in await roster.reports(0.0)] == ["good"]
    assert {(log["event"], log["worker"], log["reason"]) for log in logs} == {
        ("report_left_out", "torn", "it is no JSON"),
        ("report_left_out", "newer", "its schema is 99, of a newer postman"),
        ("report_left_out", "odd", "worker is no text"),
    }
    assert len(logs) == 3


async def test_trouble_is_told_in_the_ports_words(roster: Roster, path: Path, clock: FakeClock, tmp_path: Path) -> None:
    """A file that is no database needs a human; a closed roster is out of reach."""
    (tmp_path / "notes.txt").write_text("not a database, but of a certain length" * 100)
    wrong = open_roster(str(tmp_path / "notes.txt"), Cluster(clock))
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        await wrong.report(plain_report("w-1", clock.time()))
    await wrong.aclose()
    await roster.aclose()
    with pytest.raises(LedgerUnavailableError):
        await roster.reports(0.0)
