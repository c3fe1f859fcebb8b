"""The providers: as the document has them, as the workers see them, and who changed what."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from postman.config import ProviderEntry, Settings, parse_providers
from postman.core.document import Document
from postman.entrypoints.console.knowledge import Known
from postman.entrypoints.console.parts import Values, View
from postman.entrypoints.console.stores import Stores
from postman.entrypoints.console.views.fleets import fleet_in
from postman.entrypoints.fleet import Fleet, ProviderLine
from postman.errors import ConfigError
from postman.wiring import place_of

__all__ = ["PROVIDERS", "ProviderRow"]


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """One provider."""

    name: str
    entry: ProviderEntry | None
    """None where the document does not have it, or not any more."""
    line: ProviderLine | None
    """None where no worker reports of it."""


async def _values(stores: Stores, _ask: Mapping[str, str]) -> Values:
    now = stores.clock.time()
    reports, known = await asyncio.gather(stores.reports(), stores.document())
    fleet = fleet_in(reports, now)
    document = known.value if known is not None else None
    entries, problem = _entries(document, stores.settings)
    return {
        "now": now,
        "has_roster": reports is not None,
        "reports": reports or Known(),
        "fleet": fleet,
        "has_document": known is not None,
        "document_known": known or Known(),
        "document": document,
        "place": place_of(stores.settings) if stores.settings.providers else "",
        "problem": problem,
        "rows": _rows(entries, fleet),
        "changes": list(reversed(document.changes)) if document else [],
    }


def _entries(document: Document | None, settings: Settings) -> tuple[Sequence[ProviderEntry], str]:
    if document is None:
        return (), ""
    try:
        return parse_providers(document.text, place_of(settings)), ""
    except ConfigError as error:
        return (), str(error)


def _rows(entries: Sequence[ProviderEntry], fleet: Fleet | None) -> Sequence[ProviderRow]:
    listed = {entry.spec.name: entry for entry in entries}
    seen = {line.provider: line for line in fleet.providers} if fleet else {}
    return [ProviderRow(name, listed.get(name), seen.get(name)) for name in dict.fromkeys([*listed, *sorted(seen)])]


PROVIDERS = View("providers", "providers.html", _values)
