"""Three incidents (a provider is down, a storm of poison, a slow ledger), and what who is on call reads and does."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import orjson

from postman import Producer
from postman.core.wire import parse
from postman.entrypoints.demo.cluster import Cluster, environment_for
from postman.testing.grpc_proxy import GrpcProxy
from postman.testing.waiting import wait_until
from tests.incidents.operator import Operator
from tests.system.crew import Crew
from tests.system.town import Town, mail

__all__ = ["Played", "ledger_slow", "poison_storm", "provider_down"]

Say = Callable[[str], None]

_SOON: Final = 60.0
"""Seconds within which who is on call must know what is wrong."""
_RATE: Final = 20.0
_WINDOW: Final = 2.0
_DEADLY: Final = 6
_SLOW: Final = 1.5
"""Seconds that the slow ledger takes for each call; from 2.8 on it is away."""


@dataclass(frozen=True, slots=True)
class Played:
    """What came of an incident; *times* in seconds from the fault."""

    times: Mapping[str, float]
    published: int
    accepted: Counter[str]
    parked: frozenset[str]

    @property
    def lost(self) -> int:
        return self.published - len(self.accepted) - len(self.parked - set(self.accepted))

    @property
    def doubled(self) -> int:
        return sum(times > 1 for times in self.accepted.values())


class _Traffic:
    """Mails at an even pace, until it is left."""

    def __init__(self, town: Town, per_second: float = _RATE) -> None:
        self._town = town
        self._pause = 1 / per_second
        self._numbers = count()
        self._ends = asyncio.Event()
        self.published: list[str] = []

    async def flow(self) -> None:
        async with Producer.from_env(self._town.environ) as producer:
            while not self._ends.is_set():
                number = next(self._numbers)
                self.published.append(await producer.apublish(parse(orjson.dumps(mail(number)))))
                await asyncio.sleep(self._pause)

    def end(self) -> None:
        self._ends.set()


@asynccontextmanager
async def _traffic(town: Town) -> AsyncIterator[_Traffic]:
    traffic = _Traffic(town)
    flowing = asyncio.ensure_future(traffic.flow())
    try:
        yield traffic
    finally:
        traffic.end()
        await flowing


@asynccontextmanager
async def _town(folder: Path, **settings: str) -> AsyncIterator[Town]:
    environ, _ = environment_for(folder, run=token_hex(3), shards=4)
    environ |= {"POSTMAN_HEALTH_WINDOW": f"{_WINDOW:g}", "POSTMAN_REHOME_AFTER": "4", **settings}
    async with Cluster(folder, environ) as cluster:
        town = Town(cluster, environ, folder)
        await town.run("init")
        await cluster.start_sandbox()
        yield town


async def _start(town: Town, *names: str) -> None:
    for name in names:
        await town.cluster.start_worker(name)
    await town.cluster.wait_for_workers(*names)


async def _status(town: Town) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(await town.run("status", "--json"))
    return found


async def _dead(town: Town) -> frozenset[str]:
    lines = (await town.run("dead", "list", "--json")).splitlines()
    return frozenset(str(orjson.loads(line)["id"]) for line in lines)


async def _breakers(town: Town, provider: str) -> Mapping[str, int]:
    lines = {each["provider"]: each["breakers"] for each in (await _status(town))["providers"]}
    return dict(lines.get(provider, {}))


async def _played(town: Town, operator: Operator, published: list[str], parked: frozenset[str]) -> Played:
    wanted = len(set(published) - parked)
    await wait_until(lambda: town.has_accepted(wanted), within=120.0, every=0.5, what="the last mail")
    accepted = Counter(str(each["mail_id"]) for each in await town.accepted())
    operator.mark("counted", f"{len(published)} published, {len(accepted)} accepted, {len(parked)} parked")
    return Played(operator.times, len(published), accepted, parked)


async def provider_down(folder: Path, say: Say) -> Played:
    """SendGrid answers 503 for a while; nobody does anything, as the runbook says."""
    async with _town(folder) as town:
        operator = Operator(town, say)
        await _start(town, "worker-1", "worker-2")
        async with _traffic(town) as traffic:
            await asyncio.sleep(3 * _WINDOW)
            await town.cluster.set_fault("sendgrid", [{"kind": "down"}])
            operator.begin("SendGrid answers 503 to everything")
            await operator.alerted("provider_down", "provider_down", within=_SOON)

            async def is_seen() -> bool:
                return "open" in await _breakers(town, "sendgrid")

            await operator.until("status shows the breaker open", is_seen, within=_SOON, moment="seen")
            await operator.run("The first minute", "postman status")
            operator.reads("The first minute", "breaker `open` at one provider, another one `closed`")
            assert "closed" in await _breakers(town, "mailgun")
            operator.reads("provider_down", "No. Where no other provider takes them they wait")
            operator.reads("provider_down", "nothing, while another takes the mails")
            operator.mark("understood", "mails go to Mailgun; nothing to do, nobody to wake")
            await asyncio.sleep(5.0)
            await town.cluster.set_fault("sendgrid", [])
            operator.mark("returned", "SendGrid works again")

            async def is_over() -> bool:
                return set(await _breakers(town, "sendgrid")) == {"closed"}

            await operator.until("all breakers are closed", is_over, within=120.0, moment="healed")
        return await _played(town, operator, traffic.published, frozenset())


async def poison_storm(folder: Path, say: Say) -> Played:
    """A publisher sends mails that end each worker which touches them; they are parked, read, kept and dropped."""
    async with _town(folder, POSTMAN_CONCURRENCY="10") as town:
        operator = Operator(town, say)
        deadly = [f"killed:{number}" for number in range(_DEADLY)]
        async with Crew(town, 3) as crew, _traffic(town) as traffic:
            await asyncio.sleep(3 * _WINDOW)
            path = town.folder / "deadly.jsonl"
            path.write_bytes(
                b"\n".join(orjson.dumps(mail(number) | {"id": each}) for number, each in enumerate(deadly))
            )
            await town.run("publish", str(path))
            operator.begin(f"{_DEADLY} mails that end the process which reads them are published")
            await operator.alerted("dead_letters", "dead_lettered", within=_SOON)

            async def all_parked() -> bool:
                return set(deadly) <= await _dead(town)

            await operator.run("The first minute", "postman status")
            listed = await operator.run("dead_letters", "postman dead list")
            assert "poison" in listed
            operator.mark("seen", "dead letters with the reason poison")
            operator.reads(
                "dead_letters", "it ends workers: two that had it, or the process that tastes what comes a second time"
            )
            operator.mark("understood", f"workers ended {len(crew.ends)} times by these mails, others are sent")
            await operator.until("the last of them is parked", all_parked, within=120.0, moment="parked")
            await operator.run("dead_letters", "postman dead show ID", ID=deadly[0])
            await operator.run("dead_letters", "postman show ID", ID=deadly[0])
            kept = await operator.run("dead_letters", "postman dead show ID --content --json", ID=deadly[0])
            assert deadly[0] in kept, "its bytes are kept for the developers"
            await operator.run("dead_letters", "postman dead drop --reason R", R="poison", answer="y\n")

            async def all_gone() -> bool:
                return not await _dead(town)

            await operator.until("no dead letter is left", all_gone, within=30.0, moment="healed")
        return await _played(town, operator, [*traffic.published, *deadly], frozenset(deadly))


async def ledger_slow(folder: Path, say: Say, emulator: str) -> Played:
    """Firestore takes seconds for each call: mails wait, nothing is lost or doubled, and the operator waits, too."""
    async with GrpcProxy(emulator) as proxy, _town(folder, FIRESTORE_EMULATOR_HOST=proxy.address) as town:
        operator = Operator(town, say)
        await _start(town, "worker-1", "worker-2")
        async with _traffic(town) as traffic:
            await asyncio.sleep(5 * _WINDOW)
            proxy.delay("BatchWrite", _SLOW)
            operator.begin(f"Firestore takes {_SLOW:g} s for each write")

            async def is_seen() -> bool:
                return bool((await _status(town))["ledger"]["slow"])

            await operator.until("status says that the ledger is slow", is_seen, within=_SOON, moment="seen")
            await operator.run("The first minute", "postman status")
            operator.reads("The first minute", "`ledger slow:`")
            operator.reads("ledger_slow", "No. Each mail takes longer")
            operator.mark("understood", "mails are late; do not restart anything; see Firestore's own page")
            await asyncio.sleep(5.0)
            proxy.heal()
            operator.mark("returned", "Firestore is as before")

            async def is_over() -> bool:
                return not (await _status(town))["ledger"]["slow"]

            await operator.until("the ledger is not slow any more", is_over, within=120.0, moment="healed")
        return await _played(town, operator, traffic.published, frozenset())
