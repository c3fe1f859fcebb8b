"""The providers of the document: to send through, to hear from, to stand before."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final, cast

import structlog

from postman.breaker import CircuitBreaker, Recovery, Trip
from postman.config import Keys, ProviderEntry, Settings, read_providers
from postman.errors import ConfigError
from postman.ports.clock import Clock
from postman.ports.events import EventSource
from postman.ports.observing import ObservedProvider
from postman.ports.opening import OpenEvents, OpenObserved, OpenProvider, ProviderSpec
from postman.runtime.failover import Failover, Route
from postman.wiring.loading import has, load

__all__ = ["behind_proxy", "observed_providers", "open_event_sources", "open_failover", "provider_entries"]

_LOG = structlog.get_logger("postman.wiring")

_LONGEST_OPEN: Final = 60.0
"""A minute after a provider came back it is used again, however long it was away: a probe costs one short attempt."""
_CLAIMING: Final = 5.0
"""Seconds between the leave for a probe and its attempt, in which its mail is claimed."""


def provider_entries(
    settings: Settings, environ: Mapping[str, str], *, keys: Keys = Keys.SENDING
) -> Sequence[ProviderEntry]:
    """Return the providers of the document that the settings name, enabled or not."""
    if not settings.providers:
        raise ConfigError("POSTMAN_PROVIDERS: is not set; it names the TOML file of the providers")
    if settings.providers.startswith("firestore:"):
        raise ConfigError("POSTMAN_PROVIDERS: only the path of a TOML file is supported")
    entries = read_providers(Path(settings.providers).expanduser(), environ, keys=keys)
    return [replace(each, spec=replace(each.spec, cluster=settings.prefix)) for each in entries]


def open_failover(
    entries: Sequence[ProviderEntry], *, clock: Clock, rehome_after: float = 120.0, random: Random | None = None
) -> Failover:
    """Return the enabled providers, each behind a breaker of its own."""
    routes = [_route(entry, clock) for entry in entries if entry.enabled]
    return Failover(routes, clock=clock, rehome_after=rehome_after, random=random)


def open_event_sources(settings: Settings, environ: Mapping[str, str]) -> Sequence[EventSource]:
    """Return a source for each provider of the document that has a key for its events; no sending key is read."""
    entries = provider_entries(settings, environ, keys=Keys.EVENTS)
    sources = [_open_events(entry.spec) for entry in entries if has("postman.events", entry.spec.kind)]
    return [source for source in sources if source is not None]


def observed_providers(settings: Settings, environ: Mapping[str, str]) -> Sequence[ObservedProvider]:
    """Return the providers that the proxy stands before; no key is read."""
    entries = provider_entries(settings, environ, keys=Keys.NONE)
    return [_open_observed(entry.spec) for entry in entries if _is_observed(entry)]


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


def _open_events(spec: ProviderSpec) -> EventSource | None:
    return cast("OpenEvents", load("postman.events", spec.kind, f"provider {spec.name}: kind"))(spec)


def _open_observed(spec: ProviderSpec) -> ObservedProvider:
    return cast("OpenObserved", load("postman.observed", spec.kind, f"provider {spec.name}: kind"))(spec)


def _route(entry: ProviderEntry, clock: Clock) -> Route:
    opening = cast("OpenProvider", load("postman.providers", entry.spec.kind, f"provider {entry.spec.name}: kind"))
    provider = opening(entry.spec)
    breaker = CircuitBreaker(
        entry.spec.name,
        Trip(slow_after=provider.timeout / 2),
        Recovery(max_open=_LONGEST_OPEN, lease=provider.timeout + _CLAIMING),
        clock=clock.now,
    )
    return Route(provider, breaker, weight=entry.weight, rate=entry.rate, concurrency=entry.concurrency)
