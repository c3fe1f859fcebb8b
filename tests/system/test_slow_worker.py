"""A worker that is slow for a reason of its own is found by its peers' reports, leaves, and harms no mail."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

import orjson
import pytest

from postman import Mail
from postman.config import Settings
from postman.core.wire import parse
from postman.entrypoints.demo.cluster import Cluster, environment_for
from postman.runtime.producer import Producer
from postman.testing.waiting import wait_until
from postman.wiring import open_producer
from tests.system.town import Town, mail

WINDOW = 2.0
TAKES = 0.5
"""Seconds for a mail; at the slow worker's way to its providers four times that."""
PER_SECOND = 70.0
PEERS = ("peer-1", "peer-2", "peer-3")


class Neighbourhood:
    """Two sandboxes on one cluster's queues and ledger: the second is what one worker sees of the providers."""

    def __init__(self, good: Town, bad: Town) -> None:
        self.good = good
        self.bad = bad

    async def status(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(await self.good.run("status", "--json"))
        return found

    async def health_of(self, pid: int) -> tuple[str, str]:
        for line in (await self.status())["workers"]:
            if line["pid"] == pid:
                return line["health"], line["reason"]
        return "", ""

    async def accepted(self) -> Counter[str]:
        found = [*await self.good.accepted(), *await self.bad.accepted()]
        return Counter(each["mail_id"] for each in found)


@asynccontextmanager
async def _neighbourhood(folder: Path) -> AsyncIterator[Neighbourhood]:
    environ, _ = environment_for(folder, run=token_hex(3), shards=4)
    for name in ("good", "bad"):
        (folder / name).mkdir()
    settings = {"POSTMAN_HEALTH_WINDOW": f"{WINDOW:g}", "POSTMAN_CONCURRENCY": "12"}
    async with _town(folder / "good", environ | settings) as good, _town(folder / "bad", environ | settings) as bad:
        await good.run("init")
        await good.be_slow(TAKES)
        await bad.be_slow(4 * TAKES)
        yield Neighbourhood(good, bad)


@asynccontextmanager
async def _town(folder: Path, environ: dict[str, str]) -> AsyncIterator[Town]:
    document = folder / "providers.toml"
    environ = environ | {"POSTMAN_PROVIDERS": str(document)}
    async with Cluster(folder, environ) as cluster:
        await cluster.start_sandbox()
        document.write_text(document.read_text().replace("timeout = 2.0", "timeout = 20.0"))
        yield Town(cluster, environ, folder)


@pytest.fixture(params=["sqlite", "emulators"])
def backends(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `environment_for` finds: the emulators, or none."""
    if request.param == "emulators":
        request.getfixturevalue("pubsub")
        request.getfixturevalue("firestore")
        return
    for name in ("PUBSUB_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_slow_worker_is_found_leaves_and_its_mails_arrive_once(backends: None, tmp_path: Path) -> None:
    async with _neighbourhood(tmp_path) as here:
        good, bad = here.good.cluster, here.bad.cluster
        for name in PEERS:
            await good.start_worker(name)
        await bad.start_worker("slow")
        await asyncio.gather(good.wait_for_workers(*PEERS), bad.wait_for_workers("slow"))
        stop = asyncio.Event()
        publishing = asyncio.ensure_future(_publish(here.good, stop))
        try:
            status = await asyncio.wait_for(_process(here.bad, "slow").wait(), 40.0)
        finally:
            stop.set()
            mails = await publishing
        assert status == 3

        [unfit] = _events(here.bad, "slow", "unfit")
        assert unfit["health"] == "slow"
        assert "times slower than its 3 peers at sendgrid" in unfit["reason"]
        assert await here.health_of(_process(here.bad, "slow").pid) == (
            "leaving",
            f"leaves for its health: {unfit['reason']}",
        )
        assert [event for name in PEERS for event in _events(here.good, name, "unfit")] == []
        await wait_until(lambda: _all_arrived(here, mails), within=30.0, every=0.3)
        assert await here.accepted() == Counter(each.id for each in mails)
        assert len(await here.bad.accepted()) > 0

        await _frozen_worker_is_shown(here)


async def _frozen_worker_is_shown(here: Neighbourhood) -> None:
    """A process that is stopped can say nothing any more; the others say it."""
    frozen = _process(here.good, PEERS[0])
    frozen.send_signal(signal.SIGSTOP)

    async def is_shown() -> bool:
        health, reason = await here.health_of(frozen.pid)
        return health == "stalled" and reason.startswith("said nothing for ")

    await wait_until(is_shown, within=15.0, every=0.5, what="the frozen worker shown as stalled")
    await here.good.cluster.kill(PEERS[0])


def _process(town: Town, name: str) -> asyncio.subprocess.Process:
    return town.cluster._processes[name]


async def _publish(town: Town, stop: asyncio.Event) -> list[Mail]:
    """Publish evenly until told to stop; return what was published."""
    mails: list[Mail] = []
    async with open_producer(Settings.from_env(town.environ), Producer) as producer, asyncio.TaskGroup() as group:
        while not stop.is_set():
            mails.append(parse(orjson.dumps(mail(len(mails)))))
            group.create_task(producer.apublish(mails[-1]))
            await asyncio.sleep(1.0 / PER_SECOND)
    return mails


async def _all_arrived(here: Neighbourhood, mails: list[Mail]) -> bool:
    return len(await here.accepted()) >= len(mails)


def _events(town: Town, worker: str, event: str) -> list[dict[str, Any]]:
    lines = (town.folder / f"{worker}.log").read_bytes().splitlines()
    found = [orjson.loads(line) for line in lines if line.startswith(b"{")]
    return [each for each in found if each["event"] == event]
