"""A process of the cluster: it can be frozen, and can end between any two steps without a last word."""

import asyncio
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any, Final, NoReturn

from tests.simulation.loop import Lane, SimLoop, lane_context

__all__ = ["WALL", "Process", "ProcessClock"]

WALL: Final = 1_700_000_000.0
"""The true time of day at which a simulation begins."""


class ProcessClock:
    """A `Clock` whose time of day is *skew* seconds wrong, and whose other scale begins anywhere."""

    def __init__(self, loop: SimLoop, skew: float) -> None:
        self._loop = loop
        self._zero = 100.0 - loop.time()
        self.skew = skew

    def now(self) -> float:
        return self._loop.time() + self._zero

    def time(self) -> float:
        return WALL + self._loop.time() + self.skew

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class Process:
    """One life of a process; a restart is another one."""

    def __init__(self, loop: SimLoop, name: str, life: int = 0, skew: float = 0.0) -> None:
        self.name = name
        self.label = f"{name}.{life}"
        self.life = life
        self.clock = ProcessClock(loop, skew)
        self.is_dead = False
        self.on_death: Callable[[], None] = lambda: None
        self.is_paused = False
        self.troubled_at = -inf
        """When it was last frozen, told to stop, or cut off from something: what it does late has a cause."""
        self._loop = loop
        self._lane = Lane(self.label)
        self._context = lane_context(self._lane)
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Begin *work* in this process; it stays referred to, so that no collection of garbage ends it."""
        task = self._loop.create_task(work, context=self._context.copy())
        self._tasks.append(task)
        return task

    def trouble(self) -> None:
        self.troubled_at = self._loop.time()

    def crash(self) -> None:
        """End now: not another step, no `finally`."""
        self.is_dead = True
        self._lane.is_open = False
        self.trouble()
        self.on_death()

    def pause(self) -> None:
        """Stand still, as by SIGSTOP."""
        self.is_paused = True
        self._lane.is_open = False
        self.trouble()

    def resume(self) -> None:
        """Go on; what became due meanwhile is done now."""
        self.is_paused = False
        self.trouble()
        if not self.is_dead:
            self._loop.open(self._lane)

    async def die(self) -> NoReturn:
        """Crash from within."""
        self.crash()
        await self._loop.create_future()
        raise AssertionError("the dead do nothing")
