"""Mails that end every worker which touches them: they are parked after few ends, and harm nobody else."""

import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

import orjson
import pytest

from postman.config import Settings
from postman.core.ids import MailId
from postman.entrypoints.demo.cluster import Cluster, environment_for
from postman.testing.waiting import wait_until
from postman.wiring import open_ledger
from tests.system.crew import Crew
from tests.system.town import Town, mail


@pytest.fixture(params=["sqlite", "emulators"])
async def town(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Town]:
    if request.param == "emulators":
        request.getfixturevalue("pubsub")
        request.getfixturevalue("firestore")
    else:
        for name in ("PUBSUB_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST"):
            monkeypatch.delenv(name, raising=False)
    async with _town(tmp_path) as town:
        yield town


@asynccontextmanager
async def _town(folder: Path) -> AsyncIterator[Town]:
    environ, _ = environment_for(folder, run=token_hex(3), shards=4)
    environ |= {"POSTMAN_CONCURRENCY": "10"}
    async with Cluster(folder, environ) as cluster:
        town = Town(cluster, environ, folder)
        await town.run("init")
        await cluster.start_sandbox()
        yield town


async def _publish(town: Town, ids: Sequence[str]) -> None:
    mails = [{**mail(number), "id": mail_id} for number, mail_id in enumerate(ids)]
    path = town.folder / "mails.jsonl"
    path.write_bytes(b"\n".join(map(orjson.dumps, mails)))
    await town.run("publish", str(path))


async def _dead(town: Town) -> dict[str, dict[str, Any]]:
    lines = (await town.run("dead", "list", "--json")).splitlines()
    return {each["id"]: each for each in map(orjson.loads, lines)}


async def _lapses(town: Town, ids: Sequence[str]) -> dict[str, int]:
    ledger = open_ledger(Settings.from_env(town.environ))
    entries = {mail_id: await ledger.find(MailId(mail_id)) for mail_id in ids}
    await ledger.aclose()
    return {mail_id: entry.lapses for mail_id, entry in entries.items() if entry is not None}


async def _is_parked(town: Town, mail_id: str) -> bool:
    return mail_id in await _dead(town)


def _is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_a_mail_that_cannot_be_read_without_harm_ends_one_worker_at_the_most(town: Town) -> None:
    good = [f"good-{number}" for number in range(40)]
    await _publish(town, [*good[:20], "killed", *good[20:]])
    await town.be_slow(0.2)
    async with Crew(town, 3) as crew:
        await wait_until(lambda: _is_parked(town, "killed"), within=60.0, every=1.0, what="the poison parked")
        await wait_until(lambda: town.has_accepted(len(good)), within=60.0, every=0.5, what="all others sent")
        children = crew.children()
    assert crew.ends == [-signal.SIGKILL]

    [letter] = (await _dead(town)).values()
    assert (letter["id"], letter["reason"]) == ("killed", "poison")
    assert letter["detail"] == "reading it ended the process: signal 9"
    assert Counter(each["mail_id"] for each in await town.accepted()) == Counter(good)
    await wait_until(lambda: not any(map(_is_running, children)), within=10.0, what="no child outlives its worker")
    assert "not_tasted" not in crew.logs()


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_mail_that_ends_workers_while_it_is_sent_is_parked_after_two_and_harms_no_neighbour(town: Town) -> None:
    """Its neighbours in flight at both ends are sent, each once, and none of them pays for it."""
    good = [f"good-{number}" for number in range(60)]
    await _publish(town, [*good[:5], "deadly", *good[5:]])
    await town.be_slow(0.5)
    async with Crew(town, 3) as crew:
        await wait_until(lambda: _is_parked(town, "deadly"), within=100.0, every=1.0, what="the poison parked")
        await wait_until(lambda: town.has_accepted(len(good)), within=60.0, every=0.5, what="all others sent")
        logs = crew.logs()
    assert crew.ends == [-signal.SIGKILL] * 2, logs

    assert {mail_id: letter["reason"] for mail_id, letter in (await _dead(town)).items()} == {"deadly": "poison"}
    assert Counter(each["mail_id"] for each in await town.accepted()) == Counter(good)
    lapses = await _lapses(town, [*good, "deadly"])
    assert lapses.pop("deadly") == 2
    assert max(lapses.values()) == 1, "some were in flight when a worker ended, none at both ends"
