"""Follows the providers' document: what is changed there holds in this process within `EVERY` seconds.

A document that is wrong, or cannot be read, changes nothing: what was read last
holds on, the reason is logged once and stands in the worker's report. A provider
that is retired, or whose key is another, finishes what is under way there and is
closed after that.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import structlog

from postman.core.fleet.reports import DocumentSeen
from postman.errors import ConfigError, DocumentError
from postman.ports.clock import Clock
from postman.ports.provider import Provider
from postman.runtime.closing import close_all
from postman.runtime.failover import Failover, Lineup
from postman.runtime.surprise import reason_of

__all__ = ["EVERY", "Providing"]

_LOG = structlog.get_logger("postman.providers")

EVERY: Final = 3.0
"""Seconds between two looks: each costs one small read, and a look at keys that may rotate."""
_LINGERING: Final = 5.0
"""Seconds beyond the longest claim after which a provider that is used no more is closed."""


class Providing:
    """See the module; a `Companion` of its worker.

    *look* returns what the document says now, or None where that is what it said before; *claim* is how many seconds
    a mail's claim may last.
    """

    def __init__(
        self,
        failover: Failover,
        first: Lineup,
        *,
        look: Callable[[], Awaitable[Lineup | None]],
        clock: Clock,
        claim: Callable[[], float],
        every: float = EVERY,
    ) -> None:
        self.on_change: Callable[[], None] = lambda: None
        """Called after each change, and when a trouble begins or ends."""
        self._failover = failover
        self._look = look
        self._clock = clock
        self._claim = claim
        self._every = every
        self._seen = DocumentSeen(first.version)
        self._closing: set[asyncio.Task[None]] = set()
        self._gone: list[Provider] = []
        self._untaken: Lineup | None = None
        """What could not be gone by, to be tried again."""

    @property
    def seen(self) -> DocumentSeen:
        """The document as it is gone by, for the worker's report."""
        return self._seen

    async def get_ready(self) -> None:
        """Nothing: a worker that runs has read it."""

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self._clock.sleep(self._every)
            await self.look()

    async def look(self) -> None:
        """Learn of the latest document; does not raise."""
        try:
            found = await self._look() or self._untaken
            if found is not None:
                self._take(found)
        except (ConfigError, DocumentError) as error:
            self._refuse({"reason": str(error)})
        except Exception as error:  # noqa: BLE001 — whatever ails the document or its store, mails go on as before
            self._refuse(reason_of(error))
        else:
            if self._seen.problem:
                self._end_trouble(self._seen.version)

    async def aclose(self) -> None:
        """Close what is used no more, at once."""
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        await close_all(self._gone)
        self._gone.clear()

    def _take(self, lineup: Lineup) -> None:
        self._untaken, longest = lineup, self._claim()
        gone = self._failover.change(lineup.routes, lineup.asked)
        self._untaken, self._failover.is_behind = None, False
        keys_at = self._clock.time() if lineup.has_other_keys else self._seen.keys_at
        self._seen = DocumentSeen(lineup.version, "", keys_at)
        _LOG.info(
            "providers_changed",
            version=lineup.version,
            providers=[route.name for route in lineup.routes],
            retired=[provider.name for provider in lineup.asked],
            keys=lineup.has_other_keys,
        )
        if gone:
            self._close_later(gone, after=max(longest, self._claim()) + _LINGERING)
        self.on_change()

    def _refuse(self, told: Mapping[str, str]) -> None:
        self._failover.is_behind, problem = True, told["reason"]
        if problem == self._seen.problem:
            return
        _LOG.error("providers_not_changed", version=self._seen.version, **told)
        self._seen = DocumentSeen(self._seen.version, problem, self._seen.keys_at)
        self.on_change()

    def _end_trouble(self, version: str) -> None:
        _LOG.info("providers_in_order", version=version)
        self._failover.is_behind = False
        self._seen = DocumentSeen(version, "", self._seen.keys_at)
        self.on_change()

    def _close_later(self, gone: Sequence[Provider], *, after: float) -> None:
        self._gone.extend(gone)
        task = asyncio.ensure_future(self._close_when_idle(gone, after))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_when_idle(self, gone: Sequence[Provider], seconds: float) -> None:
        """No request begins after a change, but by mails that had their place, and none outlives its claim."""
        await self._clock.sleep(seconds)
        await close_all(gone)
        for provider in gone:
            self._gone.remove(provider)
