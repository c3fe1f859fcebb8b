"""What a worker works with, whether it pulls its mails or they are pushed to it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from secrets import token_hex
from typing import Final

import structlog

from postman.adapters.clock import SystemClock
from postman.adapters.memory import MemorySuppressions
from postman.adapters.tasting import ChildTaster
from postman.config import ProviderEntry, Settings
from postman.core.layout import Layout
from postman.errors import ConfigError
from postman.ports.clock import Clock
from postman.ports.layouts import Layouts
from postman.ports.ledger import Ledger
from postman.ports.queue import ShardMap
from postman.ports.suppressions import Suppressions
from postman.runtime.failover import Failover, Lineup
from postman.runtime.following import Following
from postman.runtime.providing import Providing
from postman.runtime.suppressed import SuppressionList
from postman.wiring.documents import DocumentReader, Keys
from postman.wiring.providers import Assembly, behind_proxy
from postman.wiring.stores import open_layouts, open_ledger, open_shards, open_suppressions

__all__ = ["Equipment", "claim_ids", "open_equipment"]

_LOG = structlog.get_logger("postman.wiring")

Accept = Callable[[Sequence[ProviderEntry]], None]
"""Raises `ConfigError` where a worker of this kind cannot work with these providers."""

_RENDERINGS: Final = (
    "postman.adapters._sendgrid_payload:sendgrid_payload",
    "postman.adapters._mailgun_payload:mailgun_form",
)
"""What is tried with a mail besides reading it, where that may have ended a worker."""


@dataclass(frozen=True, slots=True)
class Equipment:
    """See the module; closed by `aclose`, and not before whoever works with it has stopped."""

    clock: Clock
    lineups: "Lineups"
    failover: Failover
    providing: Providing
    shards: ShardMap
    ledger: Ledger
    suppressions: Suppressions
    suppressed: SuppressionList
    taster: ChildTaster
    layouts: Layouts | None
    following: Following

    async def aclose(self) -> None:
        """Close all of it."""
        parts = (self.taster, self.providing, self.failover, self.lineups, self.shards, self.ledger, self.suppressions)
        for part in parts:
            await part.aclose()
        if self.layouts is not None:
            await self.layouts.aclose()


async def open_equipment(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    lease: Callable[[Failover], float],
    accept: "Accept" = lambda _: None,
) -> Equipment:
    """Open it; *lease* tells how many seconds a claim may last by the providers that there are.

    *accept* is asked about each document's providers before they are used, now and later.

    Raises `ConfigError` and `DocumentError`, and where the providers' document or a key cannot be reached now
    `LedgerUnavailableError` or `SecretUnavailableError`.
    """
    clock = SystemClock()
    lineups = Lineups(settings, environ, clock, accept=accept)
    try:
        first = await lineups.first()
    except BaseException:
        await lineups.aclose()
        raise
    failover = Failover(first.routes, clock=clock, rehome_after=settings.rehome_after, asked=first.asked)
    suppressions = _suppressions_for_mails(settings, clock)
    layouts = open_layouts(settings, clock=clock)
    settled = Layout.of(settings.shards, hand=settings.shard_hand)
    return Equipment(
        clock=clock,
        lineups=lineups,
        failover=failover,
        providing=Providing(failover, first, look=lineups.next, clock=clock, claim=lambda: lease(failover)),
        shards=open_shards(settings, clock=clock),
        ledger=open_ledger(settings, clock=clock),
        suppressions=suppressions,
        suppressed=SuppressionList(suppressions, clock),
        taster=ChildTaster(clock, renderings=_RENDERINGS),
        layouts=layouts,
        following=Following(settled, clock=clock, store=layouts, only=settings.shards_only),
    )


class Lineups:
    """What the providers' document says, as lineups."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], clock: Clock, *, accept: Accept = lambda _: None
    ) -> None:
        self._reader = DocumentReader(settings, environ, keys=Keys.SENDING, clock=clock)
        self._accept = accept
        self._assembly = Assembly(clock)
        self._proxy = settings.proxy
        self._last: tuple[str, Sequence[ProviderEntry]] | None = None
        self._refused: tuple[str, Sequence[ProviderEntry]] | None = None
        self._reason = ""

    async def first(self) -> Lineup:
        """Return the first one."""
        return await self.next() or Lineup("", ())

    async def next(self) -> Lineup | None:
        """Return the lineup where it is another than the last one, None where it is the same.

        Raises as `DocumentReader.read`, and `ConfigError` for one whose providers cannot be opened: that is tried once.
        """
        found = await self._reader.read()
        if found == self._refused:
            raise ConfigError(self._reason)
        if found == self._last:
            return None
        version, entries = found
        try:
            self._accept([entry for entry in entries if entry.enabled])
            lineup = self._assembly.lineup(version, behind_proxy(entries, self._proxy))
        except ConfigError as error:
            self._refused, self._reason = found, str(error)
            raise
        self._last, self._refused = found, None
        return lineup

    async def aclose(self) -> None:
        """Close what it is read from."""
        await self._reader.aclose()


def claim_ids() -> Callable[[], str]:
    """Return what makes ids that nobody else makes, and by which two claims of one process are known as such."""
    worker, numbers = token_hex(8), count(1)
    return lambda: f"{worker}.{next(numbers)}"


def _suppressions_for_mails(settings: Settings, clock: Clock) -> Suppressions:
    suppressions = open_suppressions(settings, clock=clock)
    if suppressions is None:
        _LOG.warning("no_suppressions", reason="this kind of ledger keeps no suppression list: no address is refused")
        return MemorySuppressions(clock)
    return suppressions
