"""Follows the layout: what a process knows of it, and how it learns of a change.

A process that can read the layout knows of a change within `EVERY` seconds. One
that cannot goes on by what it knew last, which loses nothing (see
`postman.core.layout`); that is logged once.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from typing import Final

import structlog

from postman.core.layout import Layout
from postman.ports.clock import Clock
from postman.ports.layouts import Layouts
from postman.ports.queue import ShardMap
from postman.runtime.surprise import reason_of

__all__ = ["EVERY", "Following"]

_LOG = structlog.get_logger("postman.layout")

EVERY: Final = 5.0
"""Seconds between two looks: each costs one small read."""
_MISSED: Final = 3


class Following:
    """The layout as this process knows it, *settled* by its settings until it finds one in *store*.

    Without a store the settings count for ever. *only* names the shards that this process reads; none: all.
    """

    def __init__(
        self, settled: Layout, *, clock: Clock, store: Layouts | None = None, only: frozenset[int] = frozenset()
    ) -> None:
        self._layout = settled
        self._clock = clock
        self._store = store
        self._only = only
        self._listeners: list[Callable[[], None]] = []
        self._is_failing = False
        self._looked_at = inf

    @classmethod
    def of(cls, shards: ShardMap, clock: Clock) -> "Following":
        """Return the layout of settings that nobody changes."""
        return cls(Layout.of(shards.count), clock=clock)

    @property
    def layout(self) -> Layout:
        return self._layout

    @property
    def read(self) -> Sequence[int]:
        """The shards that this process reads, in order: those of the layout, or *only* some of them."""
        return [shard for shard in self._layout.read if not self._only or shard in self._only]

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call *listener* after each change."""
        self._listeners.append(listener)

    async def look(self) -> None:
        """Learn of the latest layout. Raises `LedgerUnavailableError`, and `LayoutError` for one that is unreadable."""
        found = await self._store.read() if self._store else None
        if found is None or found.epoch <= self._layout.epoch:
            return
        top = max(found.top, self._layout.top)  # also what only our settings named was filled by some
        self._layout = replace(found, top=top)
        _LOG.info("layout", epoch=found.epoch, publish=found.publish, consume=found.consume)
        for listener in self._listeners:
            listener()

    @property
    def is_stale(self) -> bool:
        """Whether several looks were missed, as by a process that was frozen meanwhile."""
        return self._store is not None and self._clock.now() > self._looked_at + _MISSED * EVERY

    async def try_to_look(self) -> bool:
        """Do as `look`; return False where that fails, which is logged until it works again."""
        self._looked_at = self._clock.now()
        try:
            await self.look()
        except Exception as error:  # noqa: BLE001 — whatever ails the layout's store, mails go on by what is known
            if not self._is_failing:
                _LOG.warning("layout_unknown", epoch=self._layout.epoch, **reason_of(error))
            self._is_failing = True
            return False
        if self._is_failing:
            _LOG.info("layout_known_again", epoch=self._layout.epoch)
        self._is_failing = False
        return True

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while self._store is not None:
            await self._clock.sleep(EVERY)
            await self.try_to_look()
