"""Follows the providers' document for the keys that prove events."""

from collections.abc import Mapping, Sequence

import structlog

from postman.config import ProviderEntry, Settings
from postman.errors import DocumentError, LedgerUnavailableError, PostmanError
from postman.ports.clock import Clock
from postman.ports.secrets import SecretUnavailableError
from postman.runtime.providing import EVERY
from postman.runtime.receiver import Receiver
from postman.wiring import DocumentReader, Keys, event_sources

__all__ = ["SourcesFollowing"]

_LOG = structlog.get_logger("postman.serve")


class SourcesFollowing:
    """Gives the receiver other sources when the document, or a key, is another. Without a document there are none."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], clock: Clock) -> None:
        self._reader = DocumentReader(settings, environ, keys=Keys.EVENTS, clock=clock) if settings.providers else None
        self._clock = clock
        self._last: tuple[str, Sequence[ProviderEntry]] = ("", ())
        self._problem = ""

    async def start(self, receiver: Receiver) -> None:
        """Read the document; `ConfigError` for a wrong one. One that cannot be reached is read when it can be."""
        try:
            await self._look(receiver)
        except (LedgerUnavailableError, SecretUnavailableError, DocumentError) as error:
            self._tell(str(error))

    async def run(self, receiver: Receiver) -> None:
        """Look again and again, until cancelled; what cannot be used changes nothing."""
        while self._reader is not None:
            await self._clock.sleep(EVERY)
            try:
                await self._look(receiver)
                self._problem = ""
            except PostmanError as error:
                self._tell(str(error))

    async def aclose(self) -> None:
        """Close what the document was read from."""
        if self._reader is not None:
            await self._reader.aclose()

    async def _look(self, receiver: Receiver) -> None:
        found = await self._reader.read() if self._reader is not None else self._last
        if found == self._last:
            return
        receiver.change(event_sources(found[1]))
        self._last = found
        _LOG.info("event_sources", version=found[0], providers=list(receiver.providers))

    def _tell(self, problem: str) -> None:
        if problem != self._problem:
            _LOG.error("event_sources_not_changed", reason=problem)
        self._problem = problem
