"""The workers of a chaos run, which do not live long."""

import asyncio
import random
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from signal import SIGKILL
from typing import Any

from tests.chaos.processes import Processes

__all__ = ["Fleet"]


@dataclass(slots=True)
class Fleet:
    """Workers, of which now and then one ends, and is replaced."""

    processes: Processes
    environ: Mapping[str, str]
    dice: random.Random
    ready: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    kills: int = 0
    statuses: list[int] = field(default_factory=list)
    _background: set["asyncio.Task[None]"] = field(default_factory=set)

    def start(self) -> None:
        self.names.append(f"worker-{len(self.names) + 1}")
        self._do(self._start(self.names[-1]))

    async def kill_one(self) -> None:
        name = await self._pick()
        self.processes.signal(name, SIGKILL)
        self.kills += 1
        self.start()

    async def stop_one(self) -> None:
        name = await self._pick()
        self._do(self._stop(name))
        self.start()

    async def stop_all(self) -> None:
        while self._background:
            await asyncio.gather(*self._background)
        await asyncio.gather(*map(self._stop, self.ready))

    def surprises(self) -> list[str]:
        """Return what the workers logged that nobody expected."""
        lines = (line for name in self.names for line in self.processes.log(name).read_bytes().splitlines())
        return [line.decode() for line in lines if b'"unexpected"' in line or b"Traceback" in line]

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _start(self, name: str) -> None:
        await self.processes.start(name, "worker", environ=self.environ)
        await self.processes.wait_for(name, "worker_started")
        self.ready.append(name)

    async def _stop(self, name: str) -> None:
        self.statuses.append(await self.processes.stop(name))

    async def _pick(self) -> str:
        while not self.ready:  # noqa: ASYNC110 — it waits for another process
            await asyncio.sleep(0.05)
        return self.ready.pop(self.dice.randrange(len(self.ready)))
