"""`python -m tests.chaos.ghosts`: a worker that is stopped leaves no pull behind that takes a mail along.

Two idle workers have a pull open at every shard. One of them is told to stop, and at once a mail is published: it must
be sent within a second, by the other. Then the same with a worker that is killed: what the queue hands to a
connection that has just died stays away for an ack deadline. How often that happens is only told; none may be lost.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from secrets import token_hex
from signal import SIGKILL, SIGTERM, Signals
from tempfile import TemporaryDirectory
from typing import Final

import orjson

from postman import Address, Mail, Producer
from postman.entrypoints.demo.cluster import Cluster, environment_for
from postman.testing.emulators import Emulators, Service
from postman.testing.waiting import wait_until
from tests.chaos.processes import Processes

__all__ = ["AT_ONCE", "Ghosts", "Trial", "play", "told"]

AT_ONCE: Final = 1.0
"""Seconds within which a mail is sent that no ghost took along."""
_SHARDS: Final = 4
_ACK_DEADLINE: Final = 10.0
_SETTLED: Final = 0.5
"""Seconds after which a worker that said that it started has its pulls open."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One mail, published right after a worker got *signal*; *seconds* until it was sent, by the *other* or not."""

    signal: Signals
    seconds: float
    by_other: bool

    @property
    def is_at_once(self) -> bool:
        return self.seconds <= AT_ONCE


@dataclass(slots=True)
class Ghosts:
    """Two idle workers, of which one ends in each trial and is replaced."""

    processes: Processes
    environ: dict[str, str]
    producer: Producer
    workers: list[str] = field(default_factory=list)
    _started: int = 0

    async def try_with(self, number: Signals) -> Trial:
        """End a worker, publish a mail at once, and see who sends it after how long."""
        while len(self.workers) < 2:
            await self._start_worker()
        await self._warm_up()
        await asyncio.sleep(_SETTLED)
        ending, other = self.workers.pop(0), self.workers[0]
        self.processes.signal(ending, number)
        began = time.time()
        mail_id = await self.producer.apublish(_mail())
        sent = await wait_until(
            lambda: self._sent(other, mail_id) or self._sent(ending, mail_id),
            within=3 * _ACK_DEADLINE,
            every=0.01,
            what="a mail that was published while a worker ended",
        )
        await self.processes.wait(ending)
        return Trial(number, sent - began, by_other=bool(self._sent(other, mail_id)))

    async def _warm_up(self) -> None:
        """Publish until each worker has sent a mail, so that nothing is done for the first time in a trial."""
        while not all(b'"sent"' in self.processes.log(worker).read_bytes() for worker in self.workers):
            mail_id = await self.producer.apublish(_mail())
            await wait_until(partial(self._is_sent, mail_id), within=3 * _ACK_DEADLINE, what="a mail before the trial")

    def _is_sent(self, mail_id: str) -> bool:
        return any(self._sent(worker, mail_id) for worker in self.workers)

    async def _start_worker(self) -> None:
        self._started += 1
        name = f"worker-{self._started}"
        await self.processes.start(name, "worker", environ=self.environ)
        await self.processes.wait_for(name, "worker_started")
        self.workers.append(name)

    def _sent(self, worker: str, mail_id: str) -> float:
        """Return when *worker* said that it sent the mail, since 1970; 0 where it did not."""
        for line in self.processes.log(worker).read_bytes().splitlines():
            if b'"sent"' in line and mail_id.encode() in line:
                return _at(orjson.loads(line))
        return 0.0


@asynccontextmanager
async def _ghosts(folder: Path) -> AsyncIterator[Ghosts]:
    environ, _ = environment_for(folder, run=token_hex(3), shards=_SHARDS)
    environ |= {"POSTMAN_ACK_DEADLINE": f"{_ACK_DEADLINE:g}", "POSTMAN_LOG_LEVEL": "info"}
    async with Cluster(folder, environ) as cluster, Processes(folder) as processes:
        await cluster.start_sandbox()
        await processes.start("init", "init", environ=environ)
        assert await processes.wait("init") == 0
        async with Producer.from_env(environ) as producer:
            yield Ghosts(processes, environ, producer)


async def play(folder: Path, signals: Sequence[Signals]) -> list[Trial]:
    """Return what became of one mail for each of *signals*; the environment names the emulators."""
    async with _ghosts(folder) as ghosts:
        return [await ghosts.try_with(number) for number in signals]


def main() -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.ghosts", description=__doc__)
    parser.add_argument("--stops", type=int, default=50, help="workers that are told to stop")
    parser.add_argument("--kills", type=int, default=50, help="workers that are killed")
    options = parser.parse_args()
    signals = [*[SIGTERM] * options.stops, *[SIGKILL] * options.kills]
    with Emulators.start() as emulators, TemporaryDirectory() as folder:
        if Service.PUBSUB in emulators.missing or Service.FIRESTORE in emulators.missing:
            print("the emulators are needed", file=sys.stderr)  # noqa: T201 — a command's output
            return 2
        os.environ.update(emulators.environment)
        found = asyncio.run(play(Path(folder), signals))
    for number in dict.fromkeys(signals):
        print(told([trial for trial in found if trial.signal is number]))  # noqa: T201 — a command's output
    return 0 if all(trial.is_at_once for trial in found if trial.signal is SIGTERM) else 1


def told(trials: Sequence[Trial]) -> str:
    """Return a line on trials of one kind."""
    seconds = sorted(trial.seconds for trial in trials)
    return (
        f"{trials[0].signal.name}: {sum(trial.is_at_once for trial in trials)} of {len(trials)} mails sent within "
        f"{AT_ONCE:g} s, {sum(trial.by_other for trial in trials)} by the other worker; "
        f"median {seconds[len(seconds) // 2]:.3f} s, longest {seconds[-1]:.2f} s; none lost"
    )


def _at(event: dict[str, str]) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()


def _mail() -> Mail:
    sender, to = Address(email="shop@mg.example.org"), (Address(email="ann@example.org"),)
    return Mail(from_=sender, to=to, subject="s", text="t")


if __name__ == "__main__":
    sys.exit(main())
