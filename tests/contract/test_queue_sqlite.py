"""The queue's contract over SQLite, and what only SQLite promises."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from postman.adapters.clock import SystemClock
from postman.adapters.sqlite import open_shards
from postman.ports.clock import Clock
from postman.ports.opening import Cluster
from postman.ports.queue import Delivery, Message, ShardMap
from postman.testing.queue import OpenAgain, QueueSuite


class HastyClock(SystemClock):
    """Real time, but a wait of more than a second is a jump: looks at the file stay real, leases end at once."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        return super().now() + self._ahead

    def time(self) -> float:
        return super().time() + self._ahead

    async def sleep(self, seconds: float) -> None:
        if seconds > 1.0:
            self._ahead += seconds
            seconds = 0.0
        await super().sleep(seconds)


@pytest.fixture
def clock() -> Clock:
    return HastyClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "postman.db"


@pytest.fixture
def open_again(path: Path, clock: Clock) -> OpenAgain:
    return lambda: open_shards(str(path), Cluster(clock, shards=2, ack_deadline=10.0))


@pytest.fixture
async def unmade(open_again: OpenAgain) -> AsyncIterator[ShardMap]:
    shards = open_again()
    yield shards
    await shards.aclose()


@pytest.fixture
async def shards(unmade: ShardMap) -> ShardMap:
    await unmade.ensure()
    return unmade


class TestSqliteQueue(QueueSuite):
    """The contract."""


def _message(text: str) -> Message:
    return Message(text.encode())


async def _pull_one(shards: ShardMap) -> Delivery:
    [delivery] = await shards.queue(0).pull(max_deliveries=1, wait=5.0)
    return delivery


async def test_publishing_needs_no_set_up(unmade: ShardMap) -> None:
    await unmade.queue(0).publish(_message("a"))

    assert (await _pull_one(unmade)).message.data == b"a"
    await unmade.check(0)


async def test_pulling_needs_no_set_up(unmade: ShardMap) -> None:
    assert await unmade.queue(0).pull(max_deliveries=1, wait=0.0) == []


async def test_a_look_at_a_depth_makes_nothing(unmade: ShardMap, path: Path) -> None:
    assert await unmade.depth(0) == 0
    assert not path.parent.exists()


async def test_a_depth_counts_what_other_processes_hold(shards: ShardMap, open_again: OpenAgain) -> None:
    other = open_again()
    await other.queue(0).publish(_message("a"))
    await _pull_one(other)
    await other.aclose()

    assert await shards.depth(0) == 1


async def test_only_the_owner_can_read_the_file_and_its_folder(shards: ShardMap, path: Path) -> None:
    await shards.queue(0).publish(_message("a"))
    modes = {found.name: found.stat().st_mode & 0o777 for found in [path.parent, *path.parent.iterdir()]}

    assert modes.pop("made") == 0o700
    assert set(modes) >= {"postman.db", "postman.db-wal"}
    assert set(modes.values()) == {0o600}


async def test_clusters_share_a_file_without_seeing_each_other(shards: ShardMap, path: Path, clock: Clock) -> None:
    other = open_shards(str(path), Cluster(clock, prefix="other", shards=2))
    await other.queue(0).publish(_message("theirs"))

    assert await shards.queue(0).pull(max_deliveries=1, wait=0.0) == []
    await other.aclose()


async def test_messages_come_in_order_also_when_they_come_again(shards: ShardMap) -> None:
    """A mail whose worker died is not put behind an hour's backlog."""
    queue = shards.queue(0)
    for text in "abc":
        await queue.publish(_message(text))
    first = await _pull_one(shards)
    await queue.nack(first)
    again = await queue.pull(max_deliveries=3, wait=0.0)

    assert [delivery.message.data for delivery in again] == [b"a", b"b", b"c"]


async def test_a_message_numbered_after_the_last_was_removed_has_another_receipt(shards: ShardMap) -> None:
    """A late ack of the old one must not remove the new one."""
    receipts = []
    for text in ("a", "b"):
        await shards.queue(0).publish(_message(text))
        delivery = await _pull_one(shards)
        receipts.append(delivery.receipt)
        await shards.queue(0).ack(delivery)

    assert len(set(receipts)) == 2


async def test_a_pull_holds_no_more_than_fits_in_memory(shards: ShardMap) -> None:
    """Large mails come in several pulls, though more were asked for."""
    queue = shards.queue(0)
    for _ in range(5):
        await queue.publish(Message(b"x" * 10_000_000))

    assert len(await queue.pull(max_deliveries=100, wait=0.0)) == 4
    assert len(await queue.pull(max_deliveries=100, wait=0.0)) == 1


async def test_published_at_is_when_it_was_first_published(shards: ShardMap, clock: Clock) -> None:
    await shards.queue(0).publish(_message("a"))
    first = await _pull_one(shards)
    await clock.sleep(20.0)
    second = await _pull_one(shards)

    assert second.attempt == 2
    assert second.published_at == first.published_at
