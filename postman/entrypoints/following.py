"""Follows the providers' document in a server: what it is told of the providers changes while it serves."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import structlog

from postman.config import ProviderEntry, Settings
from postman.errors import DocumentError, LedgerUnavailableError, PostmanError
from postman.ports.clock import Clock
from postman.ports.secrets import SecretUnavailableError
from postman.runtime.providing import EVERY
from postman.wiring import DocumentReader, Keys

__all__ = ["Take", "following_document"]

_LOG = structlog.get_logger("postman.providers")

Take = Callable[[Sequence[ProviderEntry]], object]
"""Goes by a document's providers from now on; raises `ConfigError` where it cannot, and then changed nothing."""


@asynccontextmanager
async def following_document(
    take: Take, settings: Settings, environ: Mapping[str, str], *, keys: Keys, clock: Clock
) -> AsyncIterator[None]:
    """Tell *take* what the document says, now and after each change, as long as this lasts.

    Raises `ConfigError` for a wrong one at the start. One that cannot be reached is read when it can be.
    """
    following = _Following(take, DocumentReader(settings, environ, keys=keys, clock=clock), clock)
    try:
        await following.start()
        running = asyncio.ensure_future(following.run())
        try:
            yield
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
        self._problem = ""

    async def start(self) -> None:
        try:
            await self._look()
        except (LedgerUnavailableError, SecretUnavailableError, DocumentError) as error:
            self._tell(str(error))

    async def run(self) -> None:
        while True:
            await self._clock.sleep(EVERY)
            try:
                await self._look()
                self._problem = ""
            except PostmanError as error:
                self._tell(str(error))

    async def aclose(self) -> None:
        await self._reader.aclose()

    async def _look(self) -> None:
        found = await self._reader.read()
        if found == self._last:
            return
        version, entries = found
        self._take(entries)
        self._last = found
        _LOG.info("providers_followed", version=version, providers=[entry.spec.name for entry in entries])

    def _tell(self, problem: str) -> None:
        if problem != self._problem:
            _LOG.error("providers_not_changed", reason=problem)
        self._problem = problem
