"""The layout: one store, a client for each process, and an operator who changes it at random."""

from collections.abc import Callable
from random import Random
from typing import Final

from postman.core.layout import Layout
from postman.errors import LayoutChangedError, LayoutError, LedgerUnavailableError
from tests.simulation.network import Line
from tests.simulation.process import Process
from tests.simulation.stage import Stage

__all__ = ["LayoutStore", "SimLayouts", "change_at_random", "settle"]

_MOST_SHARDS: Final = 6


class LayoutStore:
    """Every epoch that ever was, from that of the settings on."""

    def __init__(self, stage: Stage, settled: Layout) -> None:
        self._stage = stage
        self.epochs = [settled]

    @property
    def layout(self) -> Layout:
        return self.epochs[-1]

    def change(self, layout: Layout) -> None:
        if layout.epoch != self.layout.epoch + 1:
            raise LayoutChangedError("somebody else was first")
        self._stage.tell(f"layout: {layout}")
        self.epochs.append(layout)


class SimLayouts:
    """What a process sees of the store."""

    def __init__(self, stage: Stage, process: Process, store: LayoutStore, random: Random) -> None:
        self._store = store
        self._line = Line(stage, process, "ledger", random, LedgerUnavailableError)

    async def read(self) -> Layout | None:
        return await self._line.call("layout", "", lambda: self._store.layout if self._store.layout.epoch else None)

    async def change(self, layout: Layout) -> None:
        await self._line.call("change of the layout", "", lambda: self._store.change(layout))

    async def ensure(self) -> None:
        """Nothing to make."""

    async def aclose(self) -> None:
        """Nothing to close."""


def change_at_random(layout: Layout, random: Random, now: float) -> Layout:
    """Return what a hasty operator makes of *layout*: nobody waits until the others have followed."""
    shard, count = random.randrange(layout.consume), random.randint(1, _MOST_SHARDS)
    changes: tuple[Callable[[], Layout], ...] = (
        lambda: layout.pause(shard, now=now),
        lambda: layout.close(shard, now=now),
        lambda: layout.resume(shard, now=now),
        lambda: layout.publishing(count, now=now),
        lambda: layout.consuming(count, now=now),
    )
    try:
        return random.choice(changes)()
    except LayoutError:
        return layout.consuming(max(layout.consume, count), now=now)


def settle(layout: Layout, now: float) -> list[Layout]:
    """Return the changes after which every shard that producers fill is read."""
    made = []
    for shard in sorted(layout.paused | layout.closed):
        layout = layout.resume(shard, now=now)
        made.append(layout)
    return made
