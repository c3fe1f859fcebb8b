"""The records of a SQLite ledger keep their contract, also in a file that an older postman made."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import structlog

from postman.adapters.clock import SystemClock
from postman.adapters.sqlite import open_ledger, open_records
from postman.adapters.sqlite import records as sqlite_records
from postman.core.ids import MailId
from postman.core.shelf import Shelf
from postman.ports.ledger import Ledger
from postman.ports.opening import Cluster
from postman.ports.provider import Receipt
from postman.ports.records import Records
from postman.testing.records_suite import RecordsSuite, claimed

OLD_TABLES = """
    CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, due REAL NOT NULL,
        attempt INTEGER NOT NULL, held INTEGER NOT NULL, published_at REAL NOT NULL);
    CREATE TABLE contents (id INTEGER PRIMARY KEY, attributes TEXT NOT NULL, data BLOB NOT NULL);
    CREATE INDEX messages_due ON messages (queue, due);
    CREATE TABLE entries (prefix TEXT NOT NULL, mail_id TEXT NOT NULL, state TEXT NOT NULL, expire_at REAL,
        entry BLOB NOT NULL, PRIMARY KEY (prefix, mail_id)) WITHOUT ROWID;
    CREATE INDEX entries_expire_at ON entries (expire_at) WHERE expire_at IS NOT NULL;
    PRAGMA application_id = 1886352244;
    PRAGMA user_version = 1;
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "postman.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[Ledger]:
    opened = open_ledger(str(path), Cluster(SystemClock()))
    yield opened
    await opened.aclose()


@pytest.fixture
async def records(path: Path) -> AsyncIterator[Records]:
    opened = open_records(str(path), Cluster(SystemClock()))
    yield opened
    await opened.aclose()


class TestSqliteRecords(RecordsSuite):
    """The contract."""


async def test_clusters_in_one_file_do_not_see_each_other(path: Path, ledger: Ledger) -> None:
    await ledger.refuse(MailId("m"), digest="d", reason="expired", recipients=["aa"])
    await ledger.record_sent(await claimed(ledger, "n"), Receipt("alpha", "a-1"))
    others = open_records(str(path), Cluster(SystemClock(), prefix="others"))
    assert sum((await others.counts()).values()) == 0
    assert await others.by_recipient("aa") == []
    assert await others.by_message_id("a-1") == []
    await others.aclose()


async def test_an_older_file_is_brought_up_to_date_with_all_that_is_in_it(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLD_TABLES)
        for mail_id, text in (
            ("sent", '{"state":"sent","message_id":"a-1","since":1.0,"history":[]}'),
            ("refused", '{"state":"refused","reason":"expired","since":2.0,"history":[]}'),
            ("doubtful", '{"state":"in_doubt","since":3.0,"history":[]}'),
            ("newer", '{"state":"flying","since":3.0,"history":[]}'),
            ("damaged", '{"state":"refused","his'),
            ("no entry", '["state"]'),
        ):
            values = ("postman", mail_id, text.encode())
            connection.execute("INSERT INTO entries VALUES (?, ?, 'x', NULL, ?)", values)
        connection.commit()
    ledger = open_ledger(str(path), Cluster(SystemClock()))
    records = open_records(str(path), Cluster(SystemClock()))
    entry = await ledger.find(MailId("sent"))
    assert entry is not None
    assert {shelf: count for shelf, count in (await records.counts()).items() if count} == {
        Shelf.IN_DOUBT: 1,
        Shelf.EXPIRED: 1,
    }
    assert [record.mail_id for record in await records.by_message_id("a-1")] == ["sent"]
    await ledger.aclose()
    await records.aclose()


@pytest.mark.parametrize("text", ['{"state":"flying","history":[]}', '{"state":', '["state"]', '{"state":"sent"}', ""])
async def test_what_is_a_newer_postmans_or_damaged_is_left_out_and_told_once(
    path: Path, ledger: Ledger, records: Records, text: str
) -> None:
    for mail_id in ("good", "odd"):
        await ledger.refuse(MailId(mail_id), digest="d", reason="expired")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE entries SET entry = ? WHERE mail_id = 'odd'", (text.encode(),))
        connection.commit()
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            assert [each.mail_id for each in (await records.page(Shelf.EXPIRED)).records] == ["good"]
    assert [(log["event"], log["mail_id"]) for log in logs] == [("record_left_out", "odd")]


async def test_recipients_of_forgotten_mails_are_forgotten(path: Path, ledger: Ledger, records: Records) -> None:
    await ledger.refuse(MailId("m"), digest="d", reason="expired", recipients=["aa", "bb"])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE entries SET expire_at = 1.0")
        connection.commit()
    fresh = open_ledger(str(path), Cluster(SystemClock()))
    await fresh.refuse(MailId("n"), digest="d", reason="expired", recipients=["bb"])
    with closing(sqlite3.connect(path)) as connection:
        kept = connection.execute("SELECT tag, mail_id FROM recipients").fetchall()
    assert kept == [("bb", "n")]
    assert [record.mail_id for record in await records.by_recipient("bb")] == ["n"]
    await fresh.aclose()


async def test_a_damaged_entry_is_forgotten_and_stops_nobody(path: Path, ledger: Ledger) -> None:
    await ledger.refuse(MailId("m"), digest="d", reason="expired", recipients=["aa"])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE entries SET expire_at = 1.0, entry = x'7b'")
        connection.commit()
    fresh = open_ledger(str(path), Cluster(SystemClock()))
    await fresh.refuse(MailId("n"), digest="d", reason="expired")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT mail_id FROM entries").fetchall() == [("n",)]
    await fresh.aclose()


async def test_no_question_reads_the_whole_ledger(path: Path, ledger: Ledger, records: Records) -> None:
    """Each goes by an index to what it wants; by the prefix alone it would read all of a cluster."""
    await ledger.refuse(MailId("m"), digest="d", reason="expired", recipients=["aa"])
    assert (await records.page(Shelf.EXPIRED)).records
    questions = {
        sqlite_records._COUNT: ("p",),
        sqlite_records._NEWEST: ("p", "expired", 1),
        sqlite_records._OLDER: ("p", "expired", 1.0, "m", 1),
        sqlite_records._BY_MESSAGE_ID: ("p", "a-1", 1),
        sqlite_records._BY_RECIPIENT: ("p", "aa", 1),
    }
    with closing(sqlite3.connect(path)) as connection:
        for question, values in questions.items():
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {question}", values)]
            assert not [step for step in plan if step.startswith("SCAN") or step.endswith("(prefix=?)")], plan
