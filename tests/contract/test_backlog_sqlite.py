"""The backlog's contract over SQLite, and what only SQLite promises."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from postman.adapters.sqlite import open_backlogs, open_shards
from postman.adapters.sqlite.backlog import _COUNT
from postman.errors import ConfigError, QueueUnavailableError
from postman.ports.backlog import Backlogs
from postman.ports.opening import Cluster
from postman.testing.backlog_suite import BacklogSuite
from tests.contract.waiting_rooms import PastClock, QueueRoom


@pytest.fixture
def clock() -> PastClock:
    return PastClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "postman.db"


@pytest.fixture
async def waiting_room(path: Path, clock: PastClock) -> AsyncIterator[QueueRoom]:
    room = QueueRoom(lambda prefix: open_shards(str(path), Cluster(clock, prefix=prefix)), clock)
    yield room
    await room.aclose()


@pytest.fixture
async def backlogs(path: Path, clock: PastClock) -> AsyncIterator[Backlogs]:
    opened = open_backlogs(str(path), Cluster(clock))
    yield opened
    await opened.aclose()


class TestSqliteBacklogs(BacklogSuite):
    """The contract."""


async def test_what_is_in_a_workers_hands_is_counted(backlogs: Backlogs, waiting_room: QueueRoom) -> None:
    """It comes back if that worker dies; once settled it is gone."""
    await waiting_room.fill(0, [30.0, 20.0])
    queue = waiting_room.shards().queue(0)
    [oldest] = await queue.pull(max_deliveries=1, wait=0.0)

    assert (await backlogs.look([0]))[0].count == 2

    await queue.ack(oldest)
    left = (await backlogs.look([0]))[0]
    assert (left.count, left.oldest_age) == (1, 20.0)


async def test_a_look_makes_nothing(backlogs: Backlogs, path: Path) -> None:
    """Where there is no file nothing waits, and there is none afterwards."""
    found = await backlogs.look([0, 7])

    assert {shard: each.count for shard, each in found.items()} == {0: 0, 7: 0}
    assert not path.exists()  # noqa: ASYNC240 — one look at a disk


async def test_a_look_reads_the_index_only(waiting_room: QueueRoom, path: Path) -> None:
    """Ten thousand dead letters are counted without reading one, but the oldest."""
    await waiting_room.fill(0, [1.0])
    with closing(sqlite3.connect(path)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {_COUNT}", ("[]",))]

    reads = [line for line in plan if "messages" in line]
    assert sorted(line.partition(" USING ")[2] for line in reads) == [
        "COVERING INDEX messages_due (queue=?)",
        "INTEGER PRIMARY KEY (rowid=?)",
    ]


async def test_trouble_is_told_in_the_ports_words(backlogs: Backlogs, clock: PastClock, tmp_path: Path) -> None:
    """A file that is no database needs a human; what was closed is out of reach."""
    (tmp_path / "notes.txt").write_text("not a database, but of a certain length" * 100)
    wrong = open_backlogs(str(tmp_path / "notes.txt"), Cluster(clock))
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        await wrong.look([0])
    await wrong.aclose()
    await backlogs.aclose()
    with pytest.raises(QueueUnavailableError):
        await backlogs.look([0])
