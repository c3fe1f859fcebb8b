"""Follows the providers' document in a server: what it is told of the providers changes while it serves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import structlog

from postman.config import ProviderEntry, Settings
from postman.errors import ConfigError, DocumentError, LedgerUnavailableError
from postman.ports.clock import Clock
from postman.ports.secrets import SecretUnavailableError
from postman.runtime.providing import EVERY
from postman.runtime.surprise import reason_of
from postman.runtime.tasks import first_of
from postman.wiring import DocumentReader, Keys

__all__ = ["LookAgain", "Take", "following_document"]

_LOG = structlog.get_logger("postman.providers")

Take = Callable[[Sequence[ProviderEntry]], object]
"""Goes by a document's providers from now on; raises `ConfigError` where it cannot, and then changed nothing."""

LookAgain = Callable[[], Awaitable[None]]
"""Returns once the document that is there now was looked at, `_LEAST` seconds after the last look at the soonest."""

_LEAST: Final = 1.0
"""Seconds between two looks, whoever wants one."""


@asynccontextmanager
async def following_document(
    take: Take, settings: Settings, environ: Mapping[str, str], *, keys: Keys, clock: Clock
) -> AsyncIterator[LookAgain]:
    """Tell *take* what the document says, now and after each change, as long as this lasts; yields how to hurry.

    A document by which *take* cannot go is tried once. Raises `ConfigError` for a wrong one at the start. One that
    cannot be reached is read when it can be.
    """
    following = _Following(take, DocumentReader(settings, environ, keys=keys, clock=clock), clock)
    try:
        await following.start()
        running = asyncio.ensure_future(following.run())
        try:
            yield following.look_again
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    finally:
        await following.aclose()


class _Following:
    def __init__(self, take: Take, reader: DocumentReader, clock: Clock) -> None:
        self._take = take
        self._reader = reader
        self._clock = clock
        self._last: tuple[str, Sequence[ProviderEntry]] | None = None
        self._refused: tuple[str, Sequence[ProviderEntry]] | None = None
        self._problem = self._reason = ""
        self._wanted, self._done = asyncio.Event(), asyncio.Event()

    async def start(self) -> None:
        try:
            await self._look()
        except (LedgerUnavailableError, SecretUnavailableError, DocumentError) as error:
            self._tell(reason_of(error))

    async def run(self) -> None:
        while True:
            await self._clock.sleep(_LEAST)
            await first_of(self._wanted.wait(), self._clock.sleep(EVERY - _LEAST))
            self._wanted.clear()
            done, self._done = self._done, asyncio.Event()
            try:
                await self._look()
                self._problem = ""
            except Exception as error:  # noqa: BLE001 — whatever ails it, the server goes on by what it read last
                self._tell(reason_of(error))
            done.set()

    async def look_again(self) -> None:
        self._wanted.set()
        await self._done.wait()

    async def aclose(self) -> None:
        await self._reader.aclose()

    async def _look(self) -> None:
        found = await self._reader.read()
        if found == self._refused:
            raise ConfigError(self._reason)
        if found == self._last:
            return
        version, entries = found
        try:
            self._take(entries)
        except ConfigError as error:
            self._refused, self._reason = found, str(error)
            raise
        self._last, self._refused = found, None
        _LOG.info("providers_followed", version=version, providers=[entry.spec.name for entry in entries])

    def _tell(self, told: Mapping[str, str]) -> None:
        if told["reason"] != self._problem:
            _LOG.error("providers_not_changed", **told)
        self._problem = told["reason"]
