"""The providers of the document: to send through, to hear from, to stand before."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import Final, cast

import structlog

from postman.breaker import CircuitBreaker, Recovery, Trip
from postman.config import ProviderEntry, Settings
from postman.errors import ConfigError
from postman.ports.clock import Clock
from postman.ports.events import EventSource
from postman.ports.observing import ObservedProvider
from postman.ports.opening import OpenEvents, OpenObserved, OpenProvider, ProviderSpec
from postman.ports.provider import Provider
from postman.runtime.closing import close_all
from postman.runtime.failover import Failover, Lineup, Route
from postman.wiring.documents import DocumentReader, Keys
from postman.wiring.loading import has, load

__all__ = [
    "Assembly",
    "ObservedProviders",
    "behind_proxy",
    "check_providers",
    "event_sources",
    "open_failover",
    "provider_entries",
]

_LOG = structlog.get_logger("postman.wiring")

_LONGEST_OPEN: Final = 60.0
"""A minute after a provider came back it is used again, however long it was away: a probe costs one short attempt."""
_CLAIMING: Final = 5.0
"""Seconds between the leave for a probe and its attempt, in which its mail is claimed."""


async def provider_entries(
    settings: Settings, environ: Mapping[str, str], *, keys: Keys = Keys.SENDING
) -> Sequence[ProviderEntry]:
    """Return the providers of the document that the settings name, enabled or not, as it is now."""
    reader = DocumentReader(settings, environ, keys=keys)
    try:
        return (await reader.read())[1]
    finally:
        await reader.aclose()


def open_failover(
    entries: Sequence[ProviderEntry], *, clock: Clock, rehome_after: float = 120.0, random: Random | None = None
) -> Failover:
    """Return the enabled providers, each behind a breaker of its own."""
    lineup = Assembly(clock).lineup("", entries)
    return Failover(lineup.routes, clock=clock, rehome_after=rehome_after, random=random, asked=lineup.asked)


async def check_providers(entries: Sequence[ProviderEntry]) -> None:
    """Return if each of *entries* can be opened, with its kind and options; raises `ConfigError`. Connects nowhere."""
    opened: list[Provider] = []
    try:
        for entry in entries:
            opened += [_open(entry)] if entry.enabled else []
    finally:
        await close_all(opened)


@dataclass(frozen=True, slots=True)
class _Part:
    """An entry and what was made of it."""

    entry: ProviderEntry
    provider: Provider
    route: Route | None
    """None where it is disabled."""


class Assembly:
    """Makes providers and routes of the document's entries, again and again; what did not change stays what it was."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._parts: Mapping[str, _Part] = {}

    def lineup(self, version: str, entries: Sequence[ProviderEntry]) -> Lineup:
        """Return what *entries* make. Raises `ConfigError` for one that cannot be opened, and then changed nothing."""
        before = self._parts
        parts = [self._part(entry, before.get(entry.spec.name)) for entry in entries if _can_be_opened(entry)]
        self._parts = {part.entry.spec.name: part for part in parts}
        return Lineup(
            version,
            routes=[part.route for part in parts if part.route is not None],
            asked=[part.provider for part in parts if part.route is None],
            has_other_keys=any(_has_other_keys(part.entry, before.get(part.entry.spec.name)) for part in parts),
        )

    def _part(self, entry: ProviderEntry, before: _Part | None) -> _Part:
        if before is not None and entry.is_like(before.entry):
            return before
        is_kept = before is not None and entry.spec == before.entry.spec
        provider = before.provider if before is not None and is_kept else _open(entry)
        return _Part(entry, provider, self._route(entry, provider, before if is_kept else None))

    def _route(self, entry: ProviderEntry, provider: Provider, before: _Part | None) -> Route | None:
        """Return a route with what was learnt *before* of the same provider."""
        if not entry.enabled:
            return None
        known = before.route if before is not None else None
        breaker = known.breaker if known else _breaker(provider, self._clock)
        route = Route(
            provider,
            breaker,
            weight=entry.weight,
            rate=entry.rate,
            concurrency=entry.concurrency,
            forced=None if entry.breaker == "auto" else entry.breaker,
        )
        if known is not None and before is not None:
            route.take_over(
                known,
                is_same_concurrency=entry.concurrency == before.entry.concurrency,
                is_same_rate=entry.rate == before.entry.rate,
            )
        return route


def event_sources(entries: Sequence[ProviderEntry]) -> Sequence[EventSource]:
    """Return a source for each of *entries* that has a key for its events, which were read with `Keys.EVENTS`."""
    sources = [_open_events(entry) for entry in entries if has("postman.events", entry.spec.kind)]
    return [source for source in sources if source is not None]


class ObservedProviders:
    """Those of a document that the proxy stands before, again and again; what did not change stays what it was."""

    def __init__(self) -> None:
        self._opened: Mapping[str, tuple[ProviderSpec, ObservedProvider]] = {}

    def of(self, entries: Sequence[ProviderEntry]) -> Sequence[ObservedProvider]:
        """Return them; no key is needed. Raises `ConfigError` for one that cannot be opened, and changed nothing."""
        self._opened = {each.spec.name: (each.spec, self._open(each)) for each in entries if _is_observed(each)}
        return [provider for _, provider in self._opened.values()]

    def _open(self, entry: ProviderEntry) -> ObservedProvider:
        known, provider = self._opened.get(entry.spec.name, (None, None))
        return provider if provider is not None and known == entry.spec else _open_observed(entry)


def behind_proxy(entries: Sequence[ProviderEntry], proxy: str) -> Sequence[ProviderEntry]:
    """Return *entries* so that their mails go through the proxy, where there is one and their kind can be observed."""
    if not proxy:
        return entries
    return [replace(each, spec=replace(each.spec, proxy=proxy)) if _is_observed(each) else each for each in entries]


def _is_observed(entry: ProviderEntry) -> bool:
    if has("postman.observed", entry.spec.kind):
        return True
    _LOG.warning("not_observed", provider=entry.spec.name, reason="the proxy does not know its kind: it goes past it")
    return False


def _can_be_opened(entry: ProviderEntry) -> bool:
    """A retired provider whose key is gone cannot be asked."""
    if entry.enabled or entry.spec.api_key.get_secret_value():
        return True
    _LOG.info("retired_not_asked", provider=entry.spec.name, reason="its key cannot be read")
    return False


def _has_other_keys(entry: ProviderEntry, before: _Part | None) -> bool:
    return before is not None and entry.spec.api_key != before.entry.spec.api_key


def _open(entry: ProviderEntry) -> Provider:
    with _at(entry) as kind:
        return cast("OpenProvider", load("postman.providers", entry.spec.kind, kind))(entry.spec)


def _open_events(entry: ProviderEntry) -> EventSource | None:
    with _at(entry) as kind:
        return cast("OpenEvents", load("postman.events", entry.spec.kind, kind))(entry.spec)


def _open_observed(entry: ProviderEntry) -> ObservedProvider:
    with _at(entry) as kind:
        return cast("OpenObserved", load("postman.observed", entry.spec.kind, kind))(entry.spec)


@contextmanager
def _at(entry: ProviderEntry) -> Iterator[str]:
    """Let what is wrong with *entry* begin with its place in the document, of which an adapter knows nothing."""
    whose = f"provider {entry.spec.name}: "
    try:
        yield f"{whose}kind"
    except ConfigError as error:
        raise ConfigError(f"{entry.place}: {str(error).removeprefix(whose)}") from error


def _breaker(provider: Provider, clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(
        provider.name,
        Trip(slow_after=provider.timeout / 2),
        Recovery(max_open=_LONGEST_OPEN, lease=provider.timeout + _CLAIMING),
        clock=clock.now,
    )
