"""Whatever lies in the queues, a worker's memory stays bounded, it lives, and it finishes what can be finished."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Final

import orjson
import pytest

from postman.config import Settings
from postman.core.message import Message
from postman.core.shards import shard_for
from postman.entrypoints.demo.cluster import Cluster, environment_for
from postman.testing.waiting import wait_until
from postman.wiring import open_shards
from tests.system.town import Town, mail

_MEGABYTE: Final = 1 << 20
_MEMORY: Final = 64 * _MEGABYTE
_SHARDS: Final = 2
_LARGEST: Final = 9_900_000
_MOST: Final = 160 * _MEGABYTE + 2 * (_MEMORY + _SHARDS * 10_000_000)
"""What the documentation says of a worker's resident memory: itself, and twice what it may hold."""


@pytest.fixture(params=["sqlite", "emulators"])
async def town(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Town]:
    if request.param == "emulators":
        request.getfixturevalue("pubsub")
        request.getfixturevalue("firestore")
    else:
        for name in ("PUBSUB_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST"):
            monkeypatch.delenv(name, raising=False)
    environ, _ = environment_for(tmp_path, run=token_hex(3), shards=_SHARDS)
    environ |= {"POSTMAN_MEMORY": str(_MEMORY)}
    async with Cluster(tmp_path, environ) as cluster:
        town = Town(cluster, environ, tmp_path)
        await town.run("init")
        await cluster.start_sandbox()
        document = tmp_path / "providers.toml"
        document.write_text(document.read_text().replace("timeout = 2.0", "timeout = 30.0"))
        yield town


def _large(prefix: str, count: int, size: int) -> Iterator[Message]:
    for number in range(count):
        plain = {**mail(number), "id": f"{prefix}-{number}", "text": "x" * size}
        yield _message(f"{prefix}-{number}", orjson.dumps(plain))


def _bombs() -> Iterator[Message]:
    """Each would be some hundred megabytes as objects, or some thousand."""
    head = orjson.dumps({**mail(0), "id": "bomb"})[:-1]
    pieces = {"numbers": b"1", "objects": b"{}", "lists": b"[]", "texts": b'""', "pairs": b'{"a":1}'}
    for name, piece in pieces.items():
        many = b",".join([piece] * (_LARGEST // (len(piece) + 1) - 200))
        yield _message(f"bomb-{name}", head + b',"new":[' + many + b"]}")
        yield _message(f"bomb-{name}-for-addresses", head + b',"cc":[' + many + b"]}")
    yield _message("bomb-brackets", b"[" * _LARGEST)
    yield _message("bomb-gzip", gzip.compress(bytes(_LARGEST)))


def _message(mail_id: str, data: bytes) -> Message:
    return Message(data, {"mail_id": mail_id, "schema": "1"})


async def _publish(town: Town, messages: Iterator[Message]) -> list[str]:
    shards = open_shards(Settings.from_env(town.environ))
    ids = []
    for message in messages:
        ids.append(message.attributes["mail_id"])
        await shards.queue(shard_for(message.attributes["mail_id"], _SHARDS)).publish(message)
    await shards.aclose()
    return ids


def _memory(town: Town) -> int:
    """Return the most that the worker had resident so far, in bytes."""
    status = Path(f"/proc/{town.cluster._processes['worker'].pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1_024


async def _start(town: Town) -> None:
    await town.cluster.start_worker("worker")
    await town.cluster.wait_for_workers("worker")


async def _has_accepted(town: Town, ids: Sequence[str]) -> bool:
    return {each["mail_id"] for each in await town.accepted()} >= set(ids)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_backlog_of_large_mails_is_sent_within_bounded_memory(town: Town) -> None:
    """Without a bound in bytes, a quarter of a gigabyte would be in its hands, and as much again in work."""
    ids = await _publish(town, _large("large", 24, _LARGEST - 500))
    ids += await _publish(town, _large("middle", 60, _MEGABYTE))
    ids += await _publish(town, _large("small", 100, 2_000))
    await town.be_slow(0.5)
    await _start(town)
    await wait_until(lambda: _has_accepted(town, ids), within=120.0, every=1.0, what="all mails sent")

    assert _memory(town) < _MOST
    accepted = [each["mail_id"] for each in await town.accepted()]
    assert sorted(accepted) == sorted(ids)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_texts_that_would_be_huge_as_objects_are_dead_lettered_within_bounded_memory(town: Town) -> None:
    good = await _publish(town, _large("before", 20, 2_000))
    bombs = await _publish(town, _bombs())
    good += await _publish(town, _large("after", 20, 2_000))
    await _start(town)
    await wait_until(lambda: _has_accepted(town, good), within=60.0, every=0.5, what="the good mails sent")
    await wait_until(
        lambda: len(town.cluster.events("dead_lettered")) == len(bombs), within=60.0, every=0.5, what="all bombs parked"
    )

    assert _memory(town) < _MOST
    letters = [orjson.loads(line) for line in (await town.run("dead", "list", "--json")).splitlines()]
    assert {each["id"]: each["reason"] for each in letters} == dict.fromkeys(bombs, "malformed")
    assert await asyncio.wait_for(town.cluster.stop("worker"), 20.0) == 0
