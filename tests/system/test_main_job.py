"""The main job on the real emulators, by the real commands: trouble in the middle, every mail once in the end."""

import asyncio
import os
import subprocess
import time
from contextlib import aclosing

import orjson
import pytest

from postman.config import Settings
from postman.core.ids import MailId
from postman.core.protocol import State
from postman.ports.ledger import Ledger
from postman.testing.emulators import Emulators
from postman.testing.waiting import wait_until
from postman.wiring import open_ledger
from tests.system.town import POSTMAN, Town


@pytest.mark.slow
async def test_a_killed_and_a_stopped_worker_lose_nothing_and_double_nothing(town: Town) -> None:
    await town.be_slow(0.3)
    await asyncio.gather(town.cluster.start_worker("one"), town.cluster.start_worker("two"))
    await town.cluster.wait_for_workers("one", "two")
    published = await town.publish(600)
    await wait_until(lambda: town.has_accepted(150), within=30.0)
    await town.cluster.kill("one")
    await wait_until(lambda: town.has_accepted(250), within=30.0)
    began = time.monotonic()
    _, status = await asyncio.gather(town.cluster.start_worker("three"), town.cluster.stop("two"))

    assert status == 0
    assert time.monotonic() - began < 8.0
    await wait_until(lambda: town.has_accepted(600), within=60.0)
    ids = [mail["id"] for mail in published]
    async with aclosing(open_ledger(Settings.from_env(town.environ))) as ledger:
        await wait_until(lambda: _all_sent(ledger, ids), within=60.0, every=1.0)
    assert sorted(mail["mail_id"] for mail in await town.accepted()) == sorted(ids)


async def _all_sent(ledger: Ledger, ids: list[str]) -> bool:
    entries = [await ledger.find(MailId(mail_id)) for mail_id in ids]
    return all(entry is not None and entry.state is State.SENT for entry in entries)


@pytest.mark.slow
async def test_what_a_stopped_worker_had_not_begun_is_delivered_by_another_within_two_seconds(town: Town) -> None:
    await town.be_slow(1.5)
    await town.cluster.start_worker("one")
    await town.cluster.wait_for_workers("one")
    await town.publish(58)
    await wait_until(lambda: _requests(town, 50), within=20.0)
    await town.cluster.start_worker("two")
    await town.cluster.wait_for_workers("two")
    stopped_at = time.time()
    status = await town.cluster.stop("one")

    assert status == 0
    assert time.time() - stopped_at < 8.0
    await wait_until(lambda: town.has_accepted(58), within=20.0)
    accepted = await town.accepted()
    assert len(accepted) == 58
    assert max(mail["accepted_at"] for mail in accepted) - stopped_at < 2.0 + 1.5


async def _requests(town: Town, count: int) -> bool:
    return await town.has_accepted(count)


@pytest.mark.slow
def test_the_demonstration_ends_well_on_the_emulators(pubsub: Emulators, firestore: Emulators) -> None:
    _assert_good(_demonstration(dict(os.environ)))


@pytest.mark.slow
def test_the_demonstration_ends_well_without_emulators_and_says_so() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_EMULATOR_HOST")}
    done = _demonstration(environ)

    _assert_good(done)
    assert b"SQLite" in done.stderr


def _demonstration(environ: dict[str, str]) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run([*POSTMAN, "demo", "--json"], env=environ, capture_output=True, check=False, timeout=180)


def _assert_good(done: "subprocess.CompletedProcess[bytes]") -> None:
    assert done.returncode == 0, done.stderr.decode()
    result = orjson.loads(done.stdout)
    assert result["lost"] == result["duplicates"] == result["delivered_and_dead"] == []
    assert result["dead"] == {"refused": 12, "expired": 5, "malformed": 8}
    assert sum(result["delivered"].values()) == result["published"] - 25
    assert all(result["delivered"].values())
    assert result["failed_over"] > 0
