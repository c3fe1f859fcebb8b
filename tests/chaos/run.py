"""A chaos run: real workers on real emulators, with everything that can go wrong going wrong at once.

The mails are published as fast as they drain; every trouble is spread over them. When all are published, the troubles
end, and whatever is still open must come to its end. Then the judge compares what the providers accepted with what
the ledger and the dead letters say.
"""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import httpx
import orjson

from postman import Mail
from postman.adapters.clock import SystemClock
from postman.adapters.firestore import Database, FirestoreLedger
from postman.adapters.pubsub import open_shards
from postman.config import Settings
from postman.core.ids import MailId
from postman.core.mail import OnDoubt
from postman.core.wire import message_for, parse
from postman.errors import QueueUnavailableError
from postman.ports.opening import Cluster
from postman.ports.queue import Queue, ShardMap
from postman.runtime.producer import Producer
from postman.testing.emulators import Emulators, Service
from postman.wiring import open_shards as open_queues
from tests.chaos.checker import Accepted, Evidence, Letter
from tests.chaos.fleet import Fleet
from tests.chaos.processes import Processes, clean_environment
from tests.chaos.staging import accepted_at, settings_for, start_sandbox
from tests.chaos.storm import PROVIDER_FAULTS, Line, cut_now_and_then, freeze_now_and_then
from tests.chaos.together import ensure
from tests.chaos.watch import MOST_OPEN, Watch

__all__ = ["Plan", "Run", "play"]

_WORKERS: Final = 3
_SHARDS: Final = 4
_LEAST_OPEN: Final = 100
_REFUSED: Final = 100
_EXPIRED: Final = 200
"""Of so many mails one is refused by every provider, one is too old."""
_TWICE: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long and how bad."""

    mails: int
    kills: int
    lost_replies: int
    """At each of the two services."""
    stops: int = 10
    """Workers that are told to drain."""
    freezes: int = 6
    """Times an emulator stands still for some seconds."""
    cuts: int = 20
    """Times all connections to a service are cut."""
    on_doubt: OnDoubt = OnDoubt.ASK
    can_be_asked: bool = True
    """Whether the providers have a look-up."""
    seed: int = 1

    @property
    def open(self) -> int:
        """So many mails are published and not at their end."""
        return min(max(self.mails // 10, _LEAST_OPEN), MOST_OPEN)

    @property
    def may_double(self) -> bool:
        """Whether a doubt may end with a second copy."""
        return self.on_doubt is OnDoubt.RESEND or (self.on_doubt is OnDoubt.ASK and not self.can_be_asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What happened."""

    plan: Plan
    evidence: Evidence
    kills: int
    stops: int
    bad_stops: Sequence[int]
    """Exit statuses, other than 0, of workers that were told to drain."""
    lost: Mapping[str, int]
    """Answers lost at each service, to requests that had been done."""
    cuts: int
    freezes: Mapping[str, int]
    surprises: Sequence[str]
    """Lines in the workers' logs that nobody expected."""
    seconds: float


@dataclass(slots=True)
class _Scene:
    """All that takes part in a run."""

    plan: Plan
    emulators: Emulators
    dice: random.Random
    lines: Sequence[Line]
    fleet: Fleet
    watch: Watch
    shards: ShardMap
    environ: Mapping[str, str]
    sandbox_url: str
    published: dict[str, bytes] = field(default_factory=dict)
    ended: int = 0
    """Workers that were killed or stopped."""
    freezes: Counter[str] = field(default_factory=Counter)

    @property
    def progress(self) -> float:
        return len(self.published) / self.plan.mails

    async def suffer(self) -> None:
        """Publish everything under all troubles; return when the last mail is published and the last worker killed."""
        plan = self.plan
        try:
            async with asyncio.TaskGroup() as group:
                endless = [group.create_task(self.watch.complain())]
                endless += [
                    group.create_task(line.lose(plan.lost_replies, lambda: self.progress)) for line in self.lines
                ]
                others = (
                    self._publish(),
                    self._end_workers(),
                    cut_now_and_then(self.lines, plan.cuts, lambda: self.progress),
                    freeze_now_and_then(self.emulators, plan.freezes, lambda: self.progress, self.dice, self.freezes),
                )
                await asyncio.wait([group.create_task(other) for other in others])
                await self._wait_for(lambda: self._has_lost_enough() or not self.watch.open)
                for task in endless:
                    task.cancel()
        finally:
            self._heal()

    async def recover(self) -> None:
        """Return when every mail is at its end, or nothing comes to an end any more."""
        async with httpx.AsyncClient(trust_env=False) as client:
            (await client.delete(f"{self.sandbox_url}/api/faults")).raise_for_status()
        await self._wait_for(lambda: not self.watch.open)

    async def evidence(self) -> Evidence:
        accepted = await accepted_at(self.sandbox_url)
        dead = [self.shards.dead(shard) for shard in range(self.shards.count)]
        letters = [letter for queue in await asyncio.gather(*map(_letters, dead)) for letter in queue]
        open_ones = {mail_id: await self.watch.ledger.find(mail_id) for mail_id in self.watch.open}
        entries = self.watch.entries | {mail_id: entry for mail_id, entry in open_ones.items() if entry}
        late = await asyncio.gather(*(self.watch.ledger.find(MailId(mail_id)) for mail_id in _doubled(accepted)))
        entries |= {mail_id: entry for mail_id, entry in zip(_doubled(accepted), late, strict=True) if entry}
        return Evidence(self.published, entries, accepted, letters)

    def _has_lost_enough(self) -> bool:
        return all(line.lost >= self.plan.lost_replies for line in self.lines)

    def _heal(self) -> None:
        for line in self.lines:
            line.proxy.heal()
        for service in Service:
            self.emulators.resume(service)

    async def _publish(self) -> None:
        settings = Settings.from_env(self.environ)
        producer = Producer(lambda: open_queues(settings), clock=SystemClock())
        async with producer, asyncio.TaskGroup() as group:
            for number in range(self.plan.mails):
                mail = _mail(number, self.plan.on_doubt)
                while not self._may_publish(number):  # noqa: ASYNC110 — other processes decide
                    await asyncio.sleep(0.02)
                group.create_task(self._publish_one(producer, mail))
                if number % 20 == 0:
                    await asyncio.sleep(0.0)

    def _may_publish(self, number: int) -> bool:
        """Wait for mails to end, and for the next worker to die: the mails shall last as long as the troubles."""
        ends = self.plan.kills + self.plan.stops
        return number - len(self.watch.entries) < self.plan.open and number * ends <= self.plan.mails * (self.ended + 3)

    async def _publish_one(self, producer: Producer, mail: Mail) -> None:
        """Insist, as a caller does who got no answer; some calls are made twice without need."""
        for _ in range(2 if self.dice.random() < _TWICE else 1):
            while True:
                try:
                    await producer.apublish(mail)
                    break
                except QueueUnavailableError:
                    continue
        self.published[mail.id] = message_for(mail, trace={}).data
        self.watch.open[mail.id] = time.monotonic()

    async def _end_workers(self) -> None:
        ends = [self.fleet.kill_one] * self.plan.kills + [self.fleet.stop_one] * self.plan.stops
        self.dice.shuffle(ends)
        for number, end in enumerate(ends):
            await self._wait_for(lambda number=number: self.progress >= (number + 0.5) / len(ends))
            await end()
            self.ended += 1

    async def _wait_for(self, condition: Any) -> None:
        while not condition() and not self.watch.is_still:  # noqa: ASYNC110 — other processes decide
            await asyncio.sleep(0.1)


async def play(plan: Plan, folder: Path) -> Run:
    """Play *plan*, with emulators of its own, in *folder*; progress goes to standard error."""
    began = time.monotonic()
    async with _open(plan, folder) as scene:
        for _ in range(_WORKERS):
            scene.fleet.start()
        tasks = [asyncio.ensure_future(scene.watch.run()), asyncio.ensure_future(_tell(scene))]
        try:
            await scene.suffer()
            await scene.recover()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        seconds = time.monotonic() - began
        await scene.fleet.stop_all()
        return Run(
            plan=plan,
            evidence=await scene.evidence(),
            kills=scene.fleet.kills,
            stops=len(scene.fleet.statuses),
            bad_stops=[status for status in scene.fleet.statuses if status],
            lost={line.service.label: line.lost for line in scene.lines},
            cuts=sum(line.relay.cuts for line in scene.lines),
            freezes=dict(scene.freezes),
            surprises=scene.fleet.surprises(),
            seconds=seconds,
        )


@asynccontextmanager
async def _open(plan: Plan, folder: Path) -> AsyncIterator[_Scene]:
    dice = random.Random(plan.seed)
    prefix = f"chaos-{token_hex(4)}"
    bare = {name: value for name, value in clean_environment().items() if not name.endswith("_EMULATOR_HOST")}
    async with AsyncExitStack() as stack:
        emulators = await asyncio.to_thread(Emulators.start, log_dir=folder, environment=bare)
        stack.callback(emulators.close)
        hosts = emulators.environment
        lines = [await Line.open(service, hosts[service.variable], stack, dice) for service in Service]
        cluster = Cluster(SystemClock(), hosts["GOOGLE_CLOUD_PROJECT"], prefix, shards=_SHARDS, ack_deadline=10.0)
        shards = open_shards(hosts[Service.PUBSUB.variable], cluster)
        database = Database(cluster.project, emulator=hosts[Service.FIRESTORE.variable])
        ledger = FirestoreLedger(database, collection=f"{prefix}-mails", clock=cluster.clock)
        stack.push_async_callback(shards.aclose)
        stack.push_async_callback(ledger.aclose)
        await ensure(shards)
        processes = await stack.enter_async_context(Processes(folder))
        environ = _settings(bare, lines, folder, cluster)
        look_up_after = 4.0 if plan.can_be_asked else 0.0
        url = await start_sandbox(processes, environ, folder, look_up_after=look_up_after)
        await _let_them_be_troublesome(url)
        fleet = Fleet(processes, environ, dice)
        yield _Scene(plan, emulators, dice, lines, fleet, Watch(ledger), shards, environ, url)


def _settings(bare: Mapping[str, str], lines: Sequence[Line], folder: Path, cluster: Cluster) -> dict[str, str]:
    hosts = {line.service: line.relay.address for line in lines}
    return {
        **bare,
        "GOOGLE_CLOUD_PROJECT": cluster.project,
        "FIRESTORE_EMULATOR_HOST": hosts[Service.FIRESTORE],
        **settings_for(cluster, folder, pubsub=hosts[Service.PUBSUB], health_window=0.0),
    }


async def _let_them_be_troublesome(sandbox_url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for provider in ("sendgrid", "mailgun"):
            answer = await client.put(f"{sandbox_url}/api/faults/{provider}", json=list(PROVIDER_FAULTS))
            answer.raise_for_status()


async def _letters(queue: Queue) -> list[Letter]:
    found: list[Letter] = []
    while pulled := await queue.pull(max_deliveries=100, wait=1.0):
        for each in pulled:
            found.append(Letter.of(each.message))
            await queue.ack(each)
    return found


def _doubled(accepted: Sequence[Accepted]) -> list[MailId]:
    return [MailId(mail_id) for mail_id, count in Counter(each.mail_id for each in accepted).items() if count > 1]


def _mail(number: int, on_doubt: OnDoubt) -> Mail:
    is_refused, is_expired = number % _REFUSED == 37, number % _EXPIRED == 111
    document: dict[str, Any] = {
        "id": f"mail-{number}",
        "from": {"email": "shop@mg.example.org"},
        "to": [{"email": f"customer{number}@{'refused.example' if is_refused else 'example.org'}"}],
        "subject": f"Mail {number}",
        "text": "x" * 1_000,
        "on_doubt": on_doubt,
    }
    if is_expired:
        document["expires_at"] = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    return parse(orjson.dumps(document))


async def _tell(scene: _Scene) -> None:
    while True:
        await asyncio.sleep(5.0)
        lost = ", ".join(f"{line.service.label} {line.lost}" for line in scene.lines)
        print(  # noqa: T201 — progress
            f"published {len(scene.published)}, ended {len(scene.watch.entries)}, open {len(scene.watch.open)}, "
            f"kills {scene.fleet.kills}, answers lost: {lost}, freezes {scene.freezes.total()}",
            file=sys.stderr,
            flush=True,
        )
