"""A scene for what changes the layout: stores that fail as they are told, and workers that follow and report."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

from postman.adapters.memory import MemoryLayouts, MemoryRoster, MemoryShards
from postman.core.fleet.reports import WorkerReport
from postman.core.layout import Layout
from postman.core.resharding import Patience
from postman.errors import LedgerUnavailableError, QueueUnavailableError
from postman.ports.opening import Cluster
from postman.runtime.resharding import News, NewsKind, Resharder
from postman.testing.virtual import VirtualClock, run_virtually

__all__ = ["Scene", "virtually"]

T = TypeVar("T")

PATIENCE = Patience(followed=15.0, published=90.0, quiet=60.0)


class Layouts(MemoryLayouts):
    """A store that fails, or loses answers, as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.away = 0
        """So many calls fail."""
        self.deaf = 0
        """Of so many changes, which are made, the answer is lost."""
        self.before_change: list[Callable[[], Coroutine[Any, Any, None]]] = []

    async def read(self) -> Layout | None:
        self._fail()
        return await super().read()

    async def change(self, layout: Layout) -> None:
        while self.before_change:
            await self.before_change.pop()()
        await super().change(layout)
        if self.deaf:
            self.deaf -= 1
            raise LedgerUnavailableError("no answer")

    def set_back(self) -> None:
        """Forget everything, as when the document was removed."""
        self._text = b""

    def _fail(self) -> None:
        if self.away:
            self.away -= 1
            raise LedgerUnavailableError("out of reach")


class Shards(MemoryShards):
    """Queues that remember what was made, and fail as they are told."""

    away = 0
    may_only_look = False

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(Cluster(clock, shards=8, ack_deadline=10.0))
        self.ensured: list[int] = []

    async def make_elsewhere(self, shards: Sequence[int]) -> None:
        await super().ensure(shards)

    async def ensure(self, shards: Sequence[int] | None = None) -> Sequence[str]:
        if self.away:
            self.away -= 1
            raise QueueUnavailableError("cannot be made now")
        if self.may_only_look:
            raise QueueUnavailableError("no permission")
        self.ensured.extend(shards or ())
        return await super().ensure(shards)


class Scene:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.layouts = Layouts()
        self.roster = MemoryRoster(self.clock)
        self.shards = Shards(self.clock)
        self.news: list[News] = []

    def resharder(self, shards: int = 8) -> Resharder:
        return Resharder(
            layouts=self.layouts,
            roster=self.roster,
            shards=self.shards,
            clock=self.clock,
            settled=Layout.of(shards),
            patience=PATIENCE,
            tell=self.news.append,
        )

    def told(self, kind: NewsKind) -> list[str]:
        return [news.text for news in self.news if news.kind is kind]

    async def layout(self) -> Layout:
        found = await self.layouts.read()
        assert found is not None
        return found

    @asynccontextmanager
    async def working(self, worker: str = "w1", *, every: float = 5.0, shards: int = 8) -> AsyncIterator[None]:
        """Have a worker that looks and reports *every* so many seconds; its settings say so many *shards*."""
        task = asyncio.ensure_future(self._work(worker, every, Layout.of(shards)))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _work(self, worker: str, every: float, layout: Layout) -> None:
        while True:
            found = await MemoryLayouts.read(self.layouts)
            if found is not None and found.epoch > layout.epoch:
                layout = found
            report = WorkerReport(worker, "host", 1, "1.0", 0.0, self.clock.time(), 10, every)
            await self.roster.report(replace(report, layout=layout.epoch, reads=layout.consume))
            await self.clock.sleep(every)


def virtually(play: Callable[[Scene], Coroutine[Any, Any, T]]) -> T:
    """Play with a new scene, in virtual time."""

    async def run() -> T:
        return await play(Scene())

    return run_virtually(run())
