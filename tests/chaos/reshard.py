"""`python -m tests.chaos.reshard`: the shards grow and shrink under load, while workers and the operator are killed.

Real workers on the emulators: every few seconds one is killed and replaced. One producer follows the layout; two
others never learn of it, and now and then publish by what the shards were, mails of their own and mails that the first
one published too. Whoever changes the shards is killed in the middle of each change, and begins again. Then the judge
compares what the providers accepted with what the ledger and the dead letters say.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Final

import orjson

from postman import Mail
from postman.adapters.clock import SystemClock
from postman.adapters.firestore import Database, FirestoreLedger
from postman.adapters.pubsub import open_shards
from postman.config import Settings
from postman.core.shards import shard_for
from postman.core.wire import message_for, parse
from postman.errors import QueueError
from postman.ports.opening import Cluster
from postman.ports.queue import ShardMap
from postman.runtime.producer import Producer
from postman.testing.emulators import Emulators, Service
from postman.testing.waiting import wait_until
from postman.wiring import open_producer
from tests.chaos.checker import Breach, Evidence, Letter, breaches, history_of
from tests.chaos.fleet import Fleet
from tests.chaos.processes import Processes, clean_environment
from tests.chaos.staging import accepted_at, settings_for, start_sandbox
from tests.chaos.together import ensure
from tests.chaos.watch import Watch

__all__ = ["Figures", "Plan", "play"]

_WORKERS: Final = 3
_ACK_DEADLINE: Final = 10.0
_LIMIT: Final = 240.0
"""Seconds within which a change, or the rest of the mails, must come to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which numbers of shards follow each other, and how bad it gets; times in seconds."""

    shards: Sequence[int] = (8, 12, 6)
    rate: float = 20.0
    """Mails a second of the producer that follows."""
    kill_every: float = 4.0
    deaf_every: float = 45.0
    """Between two batches of the producers that never learn: far longer than *quiet*, or no shard could ever go."""
    deaf_batch: int = 20
    quiet: float = 16.0
    patience: float = 6.0
    looks_into_retired: bool = True
    """Whether mails are put into shards that were given up, and the minute is waited after which workers look there."""
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a run proved."""

    mails: int
    published_twice: int
    """Of these, those that were put into a second shard, by a producer that never learns."""
    accepted: int
    poison: int
    """Mails that two killed workers had in hand, and that rest as dead letters, as they must."""
    kills: int
    """Workers that were killed."""
    broken_off: int
    """Changes whose operator was killed."""
    phases: Mapping[str, float]
    """Seconds that each change took."""
    moved: Mapping[str, int]
    """Mails of which the shard is another after each change."""
    into_retired: int
    """Mails that were put into shards that were given up."""
    found_in_retired: int
    """Messages that workers found there, and moved."""
    breaches: Sequence[Breach]
    seconds: float

    def count(self, begin: str) -> int:
        """Return how many breaches begin with these words."""
        return sum(breach.problem.startswith(begin) for breach in self.breaches)

    def __str__(self) -> str:
        rows = [
            ("mails", f"{self.mails}, {self.published_twice} of them in two shards"),
            ("accepted", str(self.accepted)),
            ("parked as poison", str(self.poison)),
            ("workers killed", str(self.kills)),
            ("operators killed", str(self.broken_off)),
            *(
                (f"{name} shards", f"{seconds:.1f} s, moves {self.moved[name]}")
                for name, seconds in self.phases.items()
            ),
            ("put into retired shards", f"{self.into_retired}, found there {self.found_in_retired}"),
            *((name, str(self.count(name))) for name in ("lost", "doubled")),
            ("duration", f"{self.seconds:.1f} s"),
            *(("BROKEN", f"{breach.mail_id}: {breach.problem} {breach.history}") for breach in self.breaches),
        ]
        return "\n".join(f"{name:25}{value}" for name, value in rows)


@dataclass(slots=True)
class _Scene:
    """All that takes part."""

    plan: Plan
    folder: Path
    processes: Processes
    environ: Mapping[str, str]
    dice: random.Random
    fleet: Fleet
    watch: Watch
    shards: ShardMap
    sandbox_url: str
    published: dict[str, bytes] = field(default_factory=dict)
    twice: set[str] = field(default_factory=set)
    past: list[int] = field(default_factory=list)
    into_retired: int = 0
    operators: int = 0
    broken_off: int = 0
    is_over: bool = False

    async def publish(self) -> None:
        """Publish at an even pace, by the latest layout, until it is over."""
        began, numbers = time.monotonic(), count()
        async with open_producer(Settings.from_env(self.environ), Producer) as producer, asyncio.TaskGroup() as group:
            while not self.is_over:
                number = next(numbers)
                group.create_task(self._publish_one(producer, _mail(f"mail-{number}")))
                await asyncio.sleep(began + (number + 1) / self.plan.rate - time.monotonic())

    async def publish_deaf(self) -> None:
        """Publish now and then by the numbers of shards that were, whatever they are."""
        for batch in count():
            for shards in self.past:
                async with self.deaf(shards) as producer:
                    await self.publish_batch(producer, f"deaf-{shards}-{batch}")
            await asyncio.sleep(self.plan.deaf_every)

    @asynccontextmanager
    async def deaf(self, shards: int) -> AsyncIterator[Producer]:
        """Have a producer that takes *shards* for their number, and never looks."""
        settings = Settings.from_env({**self.environ, "POSTMAN_SHARDS": str(shards)})
        cluster = Cluster(SystemClock(), settings.project, settings.prefix, settings.shards, _ACK_DEADLINE)
        host = settings.queue.removeprefix("pubsub:")
        async with Producer(lambda: open_shards(host, cluster), clock=cluster.clock) as producer:
            yield producer

    async def publish_batch(self, producer: Producer, name: str) -> Sequence[Mail]:
        """Publish mails of its own, and some that were published already."""
        own = [_mail(f"{name}-{number}") for number in range(self.plan.deaf_batch)]
        known = [mail_id for mail_id in self.published if mail_id.startswith("mail-")]
        again = [_mail(mail_id) for mail_id in self.dice.sample(known, min(len(known), self.plan.deaf_batch))]
        self.twice.update(mail.id for mail in again)
        await asyncio.gather(*(self._publish_one(producer, mail) for mail in (*own, *again)))
        return [*own, *again]

    async def kill(self) -> None:
        while True:
            await asyncio.sleep(self.plan.kill_every)
            await self.fleet.kill_one()

    async def reshard(self, target: int) -> float:
        """Change the number of shards, killed once on the way; return how long that took."""
        began = time.monotonic()
        first = await self._operate(target)
        lines, said = self.dice.randint(1, 4), self.processes.log(first)
        await wait_until(lambda: said.read_bytes().count(b"\n") >= lines, within=_LIMIT, every=0.1, what="a step")
        assert not self.processes.has_ended(first), said.read_text()
        self.processes.signal(first, signal.SIGKILL)
        await self.processes.wait(first)
        self.broken_off += 1
        second = await self._operate(target)
        log = self.processes.log(second)
        await wait_until(
            lambda: b'"done"' in log.read_bytes() or self.processes.has_ended(second),
            within=_LIMIT,
            every=0.2,
            what=f"{target} shards",
        )
        assert await self.processes.wait(second) == 0, log.read_text()
        return time.monotonic() - began

    async def look_into_retired(self) -> None:
        """Put mails into shards that were given up, and return when workers that live long enough found them."""
        most, last = max(self.plan.shards), self.plan.shards[-1]
        async with self.deaf(most) as producer:
            mails = await self.publish_batch(producer, "last")
        self.into_retired = sum(shard_for(mail.id, most) >= last for mail in mails)
        await wait_until(
            lambda: self.found_in_retired >= self.into_retired, within=_LIMIT, every=1.0, what="what was retired"
        )

    async def evidence(self) -> Evidence:
        accepted = await accepted_at(self.sandbox_url)
        dead = [self.shards.dead(shard) for shard in range(max(self.plan.shards))]
        letters = await asyncio.gather(*(queue.pull(max_deliveries=100, wait=1.0) for queue in dead))
        found = [Letter.of(each.message) for deliveries in letters for each in deliveries]
        return Evidence(self.published, self.watch.entries, accepted, found)

    @property
    def found_in_retired(self) -> int:
        logs = [path for path in map(self.processes.log, self.fleet.names) if path.exists()]
        lines = [line for path in logs for line in path.read_bytes().splitlines() if b"mails_in_retired_shard" in line]
        return sum(int(orjson.loads(line)["count"]) for line in lines)

    async def _publish_one(self, producer: Producer, mail: Mail) -> None:
        """Insist, as a caller does who got no answer."""
        is_new = mail.id not in self.published
        while True:
            with suppress(QueueError):
                await producer.apublish(mail)
                break
        self.published[mail.id] = message_for(mail, trace={}).data
        if is_new:
            self.watch.open[mail.id] = time.monotonic()

    async def _operate(self, target: int) -> str:
        self.operators += 1
        name = f"operator-{self.operators}"
        options = ("--quiet", f"{self.plan.quiet:g}", "--patience", f"{self.plan.patience:g}", "--json")
        await self.processes.start(name, "reshard", str(target), *options, environ=self.environ)
        return name


async def play(plan: Plan, folder: Path, emulators: Emulators) -> Figures:
    """Play *plan* in *folder*; progress goes to standard error."""
    began = time.monotonic()
    phases: dict[str, float] = {}
    async with _open(plan, folder, emulators) as scene:
        for _ in range(_WORKERS):
            scene.fleet.start()
        scene.past.append(plan.shards[0])
        tasks = [asyncio.ensure_future(work) for work in (scene.watch.run(), scene.kill(), scene.publish_deaf())]
        publishing = asyncio.ensure_future(scene.publish())
        try:
            await wait_until(lambda: len(scene.watch.entries) > plan.rate, within=60.0, what="that mails flow")
            for before, target in pairwise(plan.shards):
                phases[f"{before} → {target}"] = await scene.reshard(target)
                _tell(f"{before} → {target} shards after {time.monotonic() - began:.0f} s")
                scene.past.append(target)
            for task in tasks[1:]:
                task.cancel()
            await asyncio.gather(*tasks[1:], return_exceptions=True)
            if plan.looks_into_retired:
                await scene.look_into_retired()
            scene.is_over = True
            await publishing
            await wait_until(lambda: not scene.watch.open, within=_LIMIT, every=0.5, what="the end of all mails")
        finally:
            for task in (*tasks, publishing):
                task.cancel()
            await asyncio.gather(*tasks, publishing, return_exceptions=True)
        seconds = time.monotonic() - began
        await scene.fleet.stop_all()
        evidence = await scene.evidence()
    surprises = [Breach("", f"a worker met what nobody expected: {line}") for line in scene.fleet.surprises()]
    surprises += _undeserved(evidence)
    return Figures(
        mails=len(scene.published),
        published_twice=len(scene.twice),
        accepted=len(evidence.accepted),
        poison=len({letter.mail_id for letter in evidence.letters if letter.reason == "poison"}),
        kills=scene.fleet.kills,
        broken_off=scene.broken_off,
        phases=phases,
        moved=_moved(plan.shards, list(scene.published)),
        into_retired=scene.into_retired,
        found_in_retired=scene.found_in_retired,
        breaches=[*breaches(evidence, may_double=False), *surprises],
        seconds=seconds,
    )


@asynccontextmanager
async def _open(plan: Plan, folder: Path, emulators: Emulators) -> AsyncIterator[_Scene]:
    hosts, prefix = emulators.environment, f"reshard-{token_hex(4)}"
    clock, project = SystemClock(), hosts["GOOGLE_CLOUD_PROJECT"]
    cluster = Cluster(clock, project, prefix, shards=plan.shards[0], ack_deadline=_ACK_DEADLINE)
    dice = random.Random(plan.seed)
    async with AsyncExitStack() as stack:
        shards = open_shards(hosts[Service.PUBSUB.variable], cluster)
        database = Database(project, emulator=hosts[Service.FIRESTORE.variable])
        ledger = FirestoreLedger(database, collection=f"{prefix}-mails", clock=clock)
        stack.push_async_callback(shards.aclose)
        stack.push_async_callback(ledger.aclose)
        await ensure(shards)
        processes = await stack.enter_async_context(Processes(folder))
        settings = settings_for(cluster, folder, pubsub=hosts[Service.PUBSUB.variable], health_window=2.0)
        environ = {**clean_environment(), **hosts, **settings}
        url = await start_sandbox(processes, environ, folder)
        fleet = Fleet(processes, environ, dice)
        yield _Scene(plan, folder, processes, environ, dice, fleet, Watch(ledger), shards, url)


def _undeserved(evidence: Evidence) -> list[Breach]:
    """Return the dead letters that a run without bad mails cannot explain: only two workers' ends are a reason."""
    return [
        Breach(letter.mail_id, f"dead-lettered as {letter.reason}", history_of(evidence.entries.get(letter.mail_id)))
        for letter in evidence.letters
        if letter.reason != "poison" or evidence.entries[letter.mail_id].lapses < 2
    ]


def _mail(mail_id: str) -> Mail:
    document = {
        "id": mail_id,
        "from": {"email": "shop@mg.example.org"},
        "to": [{"email": f"{mail_id}@example.org"}],
        "subject": mail_id,
        "text": "x" * 1_000,
    }
    return parse(orjson.dumps(document))


def _moved(shards: Sequence[int], ids: Sequence[str]) -> dict[str, int]:
    return {
        f"{before} → {after}": sum(shard_for(mail_id, before) != shard_for(mail_id, after) for mail_id in ids)
        for before, after in pairwise(shards)
    }


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 — progress


def main() -> int:
    """Do what the command line says; return the exit status."""
    options = _parser().parse_args()
    plan = Plan(rate=options.rate, kill_every=options.kill_every, seed=options.seed)
    with TemporaryDirectory() as folder:
        where = options.folder or Path(folder)
        with Emulators.start(log_dir=where) as emulators:
            os.environ.update(emulators.environment)  # for the producer that is in this process
            figures = asyncio.run(play(plan, where, emulators))
    print(figures)  # noqa: T201 — a command's output
    return 1 if figures.breaches else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.reshard", description=__doc__)
    parser.add_argument("--rate", type=float, default=20.0, help="mails a second")
    parser.add_argument("--kill-every", type=float, default=4.0, help="seconds between two kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep the processes' logs there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
