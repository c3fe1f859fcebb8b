"""A provider that goes down under load and comes back, on real processes, and what that cost.

Three workers, most of them probably at home at SendGrid, send a steady stream. What
happened is read from the sandbox's own counts and from the workers' logs.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import httpx
import orjson

from postman.config import Settings
from postman.core.wire import parse
from postman.entrypoints.demo.cluster import Cluster, environment_for
from postman.runtime.producer import Producer
from postman.testing.waiting import wait_until
from postman.wiring import open_producer
from tests.system.town import Town, mail

__all__ = ["REHOME_AFTER", "WORKERS", "Figures", "Outage", "Played", "play"]

REHOME_AFTER: Final = 4.0
WORKERS: Final = 3
_WARM: Final = 2.0
_SIGHT: Final = 2.0
"""Seconds of traffic from which a worker's provider is read."""
_ENOUGH: Final = 5
"""Mails of a worker in that time."""


@dataclass(frozen=True, slots=True)
class Outage:
    """How SendGrid fails, for how many seconds."""

    fault: str
    seconds: float
    only_sends: bool = False

    @property
    def document(self) -> list[dict[str, Any]]:
        return [{"kind": self.fault} | ({"only": "send"} if self.only_sends else {})]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one outage cost; times in seconds."""

    fault: str
    homes: Mapping[str, str]
    """Of each worker."""
    before: float
    """SendGrid's share of the mails before the outage."""
    during: float
    """The same from a second after the fall to the return."""
    elsewhere_after: float
    """From the fall until the first mail of a worker at home at SendGrid was accepted by Mailgun."""
    failed_attempts: int
    """Requests that reached SendGrid and that it failed or did not answer; none where its port is closed."""
    went_on: int
    """Mails that failed there cleanly and were sent on at once, by the workers' logs."""
    open_left: float
    """From the return until SendGrid first took a probe."""
    home_after: float
    """From the return until the last worker had its traffic at home again."""
    after: float
    """SendGrid's share then."""

    def __str__(self) -> str:
        homes = ", ".join(f"{home} {count}" for home, count in Counter(self.homes.values()).most_common())
        return (
            f"{self.fault}: homes {homes}; SendGrid's share {self.before:.0%} before, {self.during:.0%} during, "
            f"{self.after:.0%} after; first mail elsewhere after {self.elsewhere_after:.2f} s; "
            f"{self.failed_attempts} failed attempts, {self.went_on} mails went on at once; "
            f"probed {self.open_left:.1f} s after the return, all at home again after {self.home_after:.1f} s"
        )


@dataclass
class _Stage:
    """A town with workers, and a stream of mails through it."""

    town: Town
    per_second: float
    published: list[str] = field(default_factory=list)
    workers: list[str] = field(default_factory=list)
    is_over: bool = False

    async def start_workers(self) -> None:
        """Start them; replace one until at least one is at home at SendGrid."""
        for _ in range(WORKERS):
            await self._start_worker()
        await self.town.cluster.wait_for_workers(*self.workers)
        await wait_until(self._all_seen, within=30.0, every=0.2, what="that each worker sends")
        while "sendgrid" not in self.homes().values():
            assert await self.town.cluster.stop(self.workers.pop(0)) == 0
            await self._start_worker()
            await wait_until(self._all_seen, within=30.0, every=0.2, what="that each worker sends")

    async def _start_worker(self) -> None:
        name = f"worker-{token_hex(3)}"
        self.workers.append(name)
        await self.town.cluster.start_worker(name)

    async def publish(self) -> None:
        """Publish at an even pace until it is over."""
        began = time.monotonic()
        async with (
            open_producer(Settings.from_env(self.town.environ), Producer) as producer,
            asyncio.TaskGroup() as group,
        ):
            while not self.is_over:
                due = int((time.monotonic() - began) * self.per_second) - len(self.published)
                for _ in range(due):
                    one = parse(orjson.dumps(mail(len(self.published))))
                    self.published.append(one.id)
                    group.create_task(producer.apublish(one))
                await asyncio.sleep(0.02)

    async def suffer(self, outage: Outage) -> Figures:
        """Let SendGrid fail and come back; return when all is as before."""
        await asyncio.sleep(_WARM)
        await wait_until(self._all_seen, within=30.0, every=0.2, what="that each worker stays at one provider")
        homes, failed = self.homes(), await self._failures()
        fell = time.time()
        before = self._share(fell - _WARM, fell)
        await self.town.cluster.set_fault("sendgrid", outage.document)
        await asyncio.sleep(outage.seconds)
        await self.town.cluster.set_fault("sendgrid", [])
        returned = time.time()
        await wait_until(lambda: self.homes() == homes, within=60.0, every=0.1, what="that all are at home again")
        await asyncio.sleep(_SIGHT)
        return Figures(
            fault=outage.fault,
            homes=homes,
            before=before,
            during=self._share(fell + 1.0, returned),
            elsewhere_after=await self._first_elsewhere(homes, fell) - fell,
            failed_attempts=await self._failures() - failed,
            went_on=self._count("failed_over", fell),
            open_left=await self._first_probe(returned) - returned,
            home_after=self._last_at_home(returned) - returned,
            after=self._share(time.time() - _SIGHT, time.time()),
        )

    def homes(self) -> dict[str, str]:
        """Return the provider to which most of each worker's last mails went; empty where that is none."""
        now = time.time()
        return {worker: _mostly(self._sent(worker, now - _SIGHT)) for worker in self.workers}

    def _all_seen(self) -> bool:
        return all(self.homes().values())

    def _sent(self, worker: str, since: float) -> Counter[str]:
        return Counter(str(event["provider"]) for event in self._events(worker, since) if event["event"] == "sent")

    def _share(self, begin: float, end: float) -> float:
        sent = self._all_events("sent", begin)
        took = Counter(str(event["provider"]) for event in sent if _at(event) < end)
        return took["sendgrid"] / max(1, took.total())

    def _last_at_home(self, returned: float) -> float:
        return max(map(_at, self._all_events("came_home", returned)), default=returned)

    def _count(self, name: str, since: float) -> int:
        return len(list(self._all_events(name, since)))

    def _all_events(self, name: str, since: float) -> Iterator[dict[str, Any]]:
        for worker in self.workers:
            yield from (event for event in self._events(worker, since) if event["event"] == name)

    def _events(self, worker: str, since: float) -> Iterator[dict[str, Any]]:
        return _events(self.town.folder / f"{worker}.log", since)

    async def _failures(self) -> int:
        async with httpx.AsyncClient(trust_env=False) as client:
            stats = (await client.get(f"{self.town.cluster.url}/api/stats")).json()
        counts = stats["by_provider"]["sendgrid"]["by_status"]
        return sum(count for status, count in counts.items() if status == "none" or status >= "500")

    async def _first_elsewhere(self, homes: Mapping[str, str], fell: float) -> float:
        """By the sandbox's clock: a mail that would have gone to SendGrid."""
        ours = {
            event["mail_id"]
            for worker, home in homes.items()
            if home == "sendgrid"
            for event in self._events(worker, fell)
            if event["event"] == "sent" and event["provider"] == "mailgun"
        }
        accepted = await self.town.accepted()
        took = [each["accepted_at"] for each in accepted if each["mail_id"] in ours]
        return float(min(at for at in took if at > fell))

    async def _first_probe(self, returned: float) -> float:
        accepted = await self.town.accepted()
        took = [each["accepted_at"] for each in accepted if each["provider"] == "sendgrid"]
        return float(min(at for at in took if at > returned))


def _mostly(sent: Counter[str]) -> str:
    if sent.total() < _ENOUGH:
        return ""
    [(provider, count)] = sent.most_common(1)
    return provider if count >= 0.7 * sent.total() else ""


def _at(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(str(event["timestamp"])).timestamp()


def _events(log: Path, since: float) -> Iterator[dict[str, Any]]:
    """Return the events logged *since*, the newest first."""
    for line in reversed(log.read_bytes().splitlines()):
        if not line.startswith(b"{") or not line.endswith(b"}"):
            continue
        event: dict[str, Any] = orjson.loads(line)
        if _at(event) < since:
            return
        yield event


@asynccontextmanager
async def _town(folder: Path) -> AsyncIterator[Town]:
    environ, _ = environment_for(folder, run=token_hex(3), shards=4)
    environ["POSTMAN_REHOME_AFTER"] = str(REHOME_AFTER)
    async with Cluster(folder, environ) as cluster:
        town = Town(cluster, environ, folder)
        await town.run("init")
        await cluster.start_sandbox()
        providers = folder / "providers.toml"
        weighted = providers.read_text().replace("weight = 0", "weight = 1")
        providers.write_text(weighted.replace('kind = "sendgrid"', 'kind = "sendgrid"\nweight = 2'))
        yield town


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it."""

    figures: Sequence[Figures]
    """Of each outage."""
    published: Sequence[str]
    accepted: Counter[str]
    """How often each mail was, by its id."""
    surprises: bool
    """Whether a worker logged what nobody expected."""

    @property
    def lost(self) -> list[str]:
        return [mail_id for mail_id in self.published if not self.accepted[mail_id]]

    @property
    def doubled(self) -> list[str]:
        return [mail_id for mail_id, times in self.accepted.items() if times > 1]


async def play(folder: Path, outages: Sequence[Outage], *, per_second: float) -> Played:
    """Play *outages* one after another under so many mails *per_second*, in *folder*."""
    async with _town(folder) as town:
        stage = _Stage(town, per_second)
        publishing = asyncio.ensure_future(stage.publish())
        try:
            await stage.start_workers()
            figures = [await stage.suffer(outage) for outage in outages]
        finally:
            stage.is_over = True
            await publishing
        await wait_until(lambda: town.has_accepted(len(stage.published)), within=60.0, every=0.5, what="the last mail")
        accepted = Counter(str(each["mail_id"]) for each in await town.accepted())
        return Played(figures, stage.published, accepted, b'"unexpected"' in town.logs())
