"""The ledger's contract over SQLite, and what only SQLite promises."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from postman.adapters.sqlite import open_ledger, open_shards
from postman.core.ids import MailId
from postman.core.protocol import Answer, Claimed, Held, State
from postman.errors import ConfigError, LedgerUnavailableError
from postman.ports.ledger import Ledger
from postman.ports.opening import Cluster
from postman.ports.provider import Receipt
from postman.ports.queue import Message
from postman.testing.clock import FakeClock
from postman.testing.ledger import LedgerSuite

_DAY = 86_400.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "postman.db"


@pytest.fixture
async def ledger(path: Path, clock: FakeClock) -> AsyncIterator[Ledger]:
    opened = open_ledger(str(path), Cluster(clock))
    yield opened
    await opened.aclose()


class TestSqliteLedger(LedgerSuite):
    """The contract."""


async def _claim(ledger: Ledger, mail_id: str, *, claim_id: str = "c") -> Answer:
    return await ledger.claim(MailId(mail_id), claim_id=claim_id, digest="d", provider="alpha", lease=60.0)


async def _send(ledger: Ledger, mail_id: str) -> None:
    answer = await _claim(ledger, mail_id)
    assert isinstance(answer, Claimed)
    await ledger.record_sent(answer.claim, Receipt("alpha", "m-1"))


def _ids(path: Path) -> set[str]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return {row[0] for row in connection.execute("SELECT mail_id FROM entries")}


def _alter(path: Path, **fields: str) -> None:
    """Write into every entry what a newer postman might."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for mail_id, text in connection.execute("SELECT mail_id, entry FROM entries").fetchall():
            entry = orjson.dumps(orjson.loads(text) | fields)
            connection.execute("UPDATE entries SET entry = ? WHERE mail_id = ?", (entry, mail_id))


async def test_entries_outlive_their_process(ledger: Ledger, path: Path, clock: FakeClock) -> None:
    await _send(ledger, "a")
    other = open_ledger(str(path), Cluster(clock))
    found = await other.find(MailId("a"))
    await other.aclose()

    assert found is not None
    assert (found.state, found.message_id) == (State.SENT, "m-1")
    assert found == await ledger.find(MailId("a"))


async def test_of_two_processes_one_gets_the_claim(ledger: Ledger, path: Path, clock: FakeClock) -> None:
    other = open_ledger(str(path), Cluster(clock))
    answers = await asyncio.gather(*(_claim(each, "a", claim_id=str(n)) for n, each in enumerate([ledger, other] * 5)))
    await other.aclose()

    assert sorted((type(answer) for answer in answers), key=str) == [Claimed, *[Held] * 9]


async def test_queues_and_ledger_may_share_a_file(ledger: Ledger, path: Path, clock: FakeClock) -> None:
    shards = open_shards(str(path), Cluster(clock))
    await asyncio.gather(shards.queue(0).publish(Message(b"a")), _send(ledger, "a"))
    [delivery] = await shards.queue(0).pull(max_deliveries=1, wait=0.0)
    await shards.aclose()

    assert delivery.message.data == b"a"
    assert await ledger.find(MailId("a")) is not None


async def test_clusters_share_a_file_without_seeing_each_other(ledger: Ledger, path: Path, clock: FakeClock) -> None:
    other = open_ledger(str(path), Cluster(clock, prefix="other"))
    await _send(other, "a")
    await other.aclose()

    assert await ledger.find(MailId("a")) is None


async def test_checking_makes_nothing(ledger: Ledger, path: Path) -> None:
    with pytest.raises(ConfigError, match="postman init"):
        await ledger.check()
    assert list(path.parent.iterdir()) == []


async def test_entries_are_forgotten_after_ninety_days_without_a_change(
    ledger: Ledger, path: Path, clock: FakeClock
) -> None:
    await _send(ledger, "old")
    await clock.sleep(45 * _DAY)
    await _send(ledger, "later")
    await clock.sleep(46 * _DAY)
    await _send(ledger, "new")

    assert _ids(path) == {"later", "new"}


async def test_a_mail_that_is_not_settled_is_never_forgotten(ledger: Ledger, path: Path, clock: FakeClock) -> None:
    """Its message may still be in the queue, and would be sent again."""
    await _claim(ledger, "sending")
    doubted = await _claim(ledger, "in doubt")
    assert isinstance(doubted, Claimed)
    await ledger.record_doubt(doubted.claim, reason="time-out")
    await clock.sleep(1_000 * _DAY)
    await _send(ledger, "new")

    assert _ids(path) == {"sending", "in doubt", "new"}


async def test_forgetting_goes_in_small_steps(ledger: Ledger, path: Path, clock: FakeClock) -> None:
    """No single claim waits for the deletion of a whole month."""
    await asyncio.gather(*(_send(ledger, f"old-{n}") for n in range(1_200)))
    await clock.sleep(91 * _DAY)
    left = []
    for n in range(3):
        await _send(ledger, f"new-{n}")
        left.append(sum(mail_id.startswith("old") for mail_id in _ids(path)))
        await clock.sleep(11.0)

    assert left == [700, 200, 0]


async def test_fields_of_a_newer_postman_are_kept(ledger: Ledger, path: Path) -> None:
    """An older worker beside a newer one loses nothing of what that wrote."""
    answer = await _claim(ledger, "a")
    assert isinstance(answer, Claimed)
    _alter(path, colour="blue")
    await ledger.record_sent(answer.claim, Receipt("alpha", "m-1"))

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        entry = orjson.loads(connection.execute("SELECT entry FROM entries").fetchone()[0])
    assert (entry["state"], entry["colour"]) == ("sent", "blue")


async def test_a_state_of_a_newer_postman_is_left_alone(ledger: Ledger, path: Path) -> None:
    await _claim(ledger, "a")
    _alter(path, state="pondering")

    with pytest.raises(LedgerUnavailableError, match="pondering"):
        await _claim(ledger, "a", claim_id="other")
    with pytest.raises(LedgerUnavailableError, match="newer postman"):
        await ledger.find(MailId("a"))
    assert isinstance(await _claim(ledger, "b"), Claimed)


async def test_errors_name_the_file_and_no_mail(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but of a certain length" * 100)
    ledger = open_ledger(str(path), Cluster(clock))
    with pytest.raises(ConfigError) as caught:
        await _claim(ledger, "somebody@example.com")
    await ledger.aclose()

    assert str(path) in str(caught.value)
    assert "somebody" not in str(caught.value)
