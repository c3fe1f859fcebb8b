"""Several processes share one file, and some of them are killed.

Run as a script, this file is one of those processes: it appends a line to its
own log for all that it does, so that nothing is forgotten with it.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest

import postman
from postman.adapters.clock import SystemClock
from postman.adapters.sqlite import open_ledger, open_shards
from postman.core.ids import MailId
from postman.core.protocol import Claimed, Doubtful, Held, State
from postman.ports.ledger import Ledger
from postman.ports.opening import Cluster
from postman.ports.provider import Receipt
from postman.ports.queue import Delivery, Message, Queue, ShardMap

_MAILS = 2_000
_ACK_DEADLINE = 3.0
_LIMIT = 60.0
"""Seconds that a test may take, when the machine is busy."""


def _cluster() -> Cluster:
    return Cluster(SystemClock(), shards=2, ack_deadline=_ACK_DEADLINE)


class _Line(NamedTuple):
    """What a process did with a mail, and when; *until* is the end of a lease, of both on the wall clock."""

    event: str
    mail: str
    at: float
    until: float = 0.0


class _Log:
    """Written line by line, since nothing is kept back from a process that is killed."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def add(self, event: str, mail: str, until: float = 0.0) -> None:
        os.write(self._file, json.dumps([event, mail, time.time(), until]).encode() + b"\n")


def _lines(path: Path) -> list[_Line]:
    """All whole lines of a log that may still be growing."""
    text = path.read_text() if path.exists() else ""
    return [_Line(*json.loads(line)) for line in text.splitlines(keepends=True) if line.endswith("\n")]


async def _publish(path: Path, log: _Log) -> None:
    """Publish for ever, and say so of each mail once that returned."""
    shards = open_shards(str(path), _cluster())

    async def one(worker: int) -> None:
        for number in range(10**9):
            mail = f"{worker}-{number}"
            await shards.queue(0).publish(Message(mail.encode()))
            log.add("published", mail)

    await asyncio.gather(*(one(worker) for worker in range(10)))


async def _claim(path: Path, log: _Log) -> None:
    """Claim and record for ever, and say so of each mail once that returned."""
    ledger = open_ledger(str(path), _cluster())

    async def one(worker: int) -> None:
        for number in range(10**9):
            mail = f"{worker}-{number}"
            answer = await ledger.claim(MailId(mail), claim_id=mail, digest="d", provider="alpha", lease=60.0)
            assert isinstance(answer, Claimed)
            await ledger.record_sent(answer.claim, Receipt("alpha", mail))
            log.add("sent", mail)

    await asyncio.gather(*(one(worker) for worker in range(10)))


async def _make(path: Path, log: _Log) -> None:
    shards = open_shards(str(path), _cluster())
    for name in await shards.ensure():
        log.add("made", name)
    await shards.queue(0).publish(Message(str(os.getpid()).encode()))
    await shards.aclose()


async def _work(path: Path, log: _Log) -> None:
    """Do a worker's part until nothing came for longer than a lease."""
    shards, ledger = open_shards(str(path), _cluster()), open_ledger(str(path), _cluster())

    async def one(queue: Queue) -> None:
        while deliveries := await queue.pull(max_deliveries=10, wait=_ACK_DEADLINE + 1.0):
            for delivery in deliveries:
                log.add("pulled", delivery.message.data.decode(), _wall(delivery.lease_ends))
            await asyncio.gather(*(_handle(queue, ledger, delivery, log) for delivery in deliveries))

    await asyncio.gather(*(one(shards.queue(shard)) for shard in range(shards.count)))
    await asyncio.gather(shards.aclose(), ledger.aclose())


def _wall(instant: float) -> float:
    clock = SystemClock()
    return instant - clock.now() + clock.time()


async def _handle(queue: Queue, ledger: Ledger, delivery: Delivery, log: _Log) -> None:
    mail = delivery.message.data.decode()
    answer = await ledger.claim(
        MailId(mail), claim_id=str(uuid4()), digest="d", provider="alpha", lease=_ACK_DEADLINE - 1.0
    )
    match answer:
        case Claimed(claim):
            log.add("sent", mail)
            await ledger.record_sent(claim, Receipt("alpha", "m-1"))
        case Doubtful(entry):
            log.add("doubted", mail)
            await ledger.settle(MailId(mail), Receipt(entry.provider, "m-1"), evidence="look-up")
        case Held(seconds):
            log.add("settled", mail)
            await queue.nack(delivery, delay=seconds)
            return
        case _:
            pass
    log.add("settled", mail)
    await queue.ack(delivery)


_PARTS = {"publish": _publish, "claim": _claim, "make": _make, "work": _work}


@contextmanager
def _process(part: str, path: Path, log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    root = Path(postman.__file__).parents[1]
    arguments = [sys.executable, __file__, part, str(path), str(log)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(root)}) as process:
        try:
            yield process
        finally:
            process.kill()


def _complaints(process: "subprocess.Popen[bytes]") -> str:
    """What a process that ended by itself wrote to its standard error."""
    return process.communicate(timeout=_LIMIT)[1].decode()


def _wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + _LIMIT
    while not holds():
        assert time.monotonic() < until, "it did not come to that in time"
        time.sleep(0.01)


async def _publish_all(path: Path) -> None:
    shards = open_shards(str(path), _cluster())
    await asyncio.gather(
        *(shards.queue(number % 2).publish(Message(f"mail-{number}".encode())) for number in range(_MAILS))
    )
    await shards.aclose()


async def _drain(shards: ShardMap) -> set[str]:
    """Take all that is there, once nobody else does."""
    found: set[str] = set()
    for shard in range(shards.count):
        while deliveries := await shards.queue(shard).pull(max_deliveries=1_000, wait=0.0):
            found |= {delivery.message.data.decode() for delivery in deliveries}
    return found


async def _all_messages(path: Path) -> set[str]:
    shards = open_shards(str(path), _cluster())
    found = await _drain(shards)
    await shards.aclose()
    return found


async def _states(path: Path, mails: list[str]) -> Counter[State | None]:
    ledger = open_ledger(str(path), _cluster())
    entries = [await ledger.find(MailId(mail)) for mail in mails]
    await ledger.aclose()
    return Counter(entry.state if entry else None for entry in entries)


def _holdings(logs: list[list[_Line]]) -> dict[str, list[tuple[float, float]]]:
    """For each mail, from when until when each of its deliveries was somebody's."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for lines in logs:
        held: dict[str, _Line] = {}
        for line in lines:
            if line.event == "pulled":
                held[line.mail] = line
            elif line.event == "settled":
                pulled = held.pop(line.mail)
                found[line.mail].append((pulled.at, min(line.at, pulled.until)))
        for mail, pulled in held.items():
            found[mail].append((pulled.at, pulled.until))
    return found


async def test_workers_share_a_file_and_one_is_killed(tmp_path: Path) -> None:
    """Nothing is lost, nothing is in two hands at once, and only what the dead one held is looked at twice."""
    path, logs = tmp_path / "postman.db", [tmp_path / f"{number}.log" for number in range(4)]
    await _publish_all(path)
    with ExitStack() as stack:
        victim, *others = [stack.enter_context(_process("work", path, log)) for log in logs]
        _wait_until(lambda: sum(line.event == "sent" for line in _lines(logs[0])) >= 100)
        victim.send_signal(signal.SIGKILL)
        complaints = [_complaints(process) for process in others]
        codes = [process.wait() for process in others]
    lines = [_lines(log) for log in logs]
    mails = [f"mail-{number}" for number in range(_MAILS)]
    sent = Counter(line.mail for each in lines for line in each if line.event == "sent")
    doubted = {line.mail for each in lines for line in each if line.event == "doubted"}

    assert (complaints, codes) == ([""] * 3, [0] * 3)
    assert await _states(path, mails) == {State.SENT: _MAILS}
    assert await _all_messages(path) == set()
    assert set(sent) | doubted == set(mails)
    assert set(sent.values()) == {1}
    assert doubted <= {line.mail for line in lines[0] if line.event == "pulled"}
    assert all(any(line.event == "sent" for line in each) for each in lines)
    for holdings in _holdings(lines).values():
        assert all(first[1] <= second[0] for first, second in pairwise(sorted(holdings)))


async def test_what_was_published_is_there_after_a_kill(tmp_path: Path) -> None:
    path, log = tmp_path / "postman.db", tmp_path / "log"
    with _process("publish", path, log) as process:
        _wait_until(lambda: len(_lines(log)) >= 500)
        process.send_signal(signal.SIGKILL)
        process.wait()
    published = {line.mail for line in _lines(log)}

    assert len(published) >= 500
    assert published <= await _all_messages(path)


async def test_what_was_recorded_is_there_after_a_kill(tmp_path: Path) -> None:
    path, log = tmp_path / "postman.db", tmp_path / "log"
    with _process("claim", path, log) as process:
        _wait_until(lambda: len(_lines(log)) >= 500)
        process.send_signal(signal.SIGKILL)
        process.wait()
    recorded = [line.mail for line in _lines(log)]

    assert await _states(path, recorded) == {State.SENT: len(recorded)}


@pytest.mark.parametrize("_", range(3))
async def test_processes_that_start_together_make_one_file(tmp_path: Path, _: int) -> None:
    """One of them says that it made the queues; none stumbles over another."""
    path, logs = tmp_path / "postman.db", [tmp_path / f"{number}.log" for number in range(6)]
    with ExitStack() as stack:
        processes = [stack.enter_context(_process("make", path, log)) for log in logs]
        complaints = [_complaints(process) for process in processes]
    made = [line.mail for log in logs for line in _lines(log)]

    assert complaints == [""] * 6
    assert sorted(made) == sorted({f"postman-mail-{shard}{dead}" for shard in range(2) for dead in ("", "-dead")})
    assert await _all_messages(path) == {str(process.pid) for process in processes}


if __name__ == "__main__":
    asyncio.run(_PARTS[sys.argv[1]](Path(sys.argv[2]), _Log(Path(sys.argv[3]))))
