"""The only room that knows both sides: it finds adapters by URL or kind and joins them to the runtime.

Its names are loaded when they are first asked for: a command that only looks needs no courier.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from postman.wiring.documents import DocumentReader, Keys, open_documents, open_keyring, place_of
    from postman.wiring.processes import Opened, open_observer, open_worker
    from postman.wiring.producers import open_producer
    from postman.wiring.providers import (
        ObservedProviders,
        behind_proxy,
        check_providers,
        event_sources,
        open_failover,
        provider_entries,
    )
    from postman.wiring.stores import (
        cluster_of,
        open_backlogs,
        open_layouts,
        open_ledger,
        open_records,
        open_roster,
        open_shards,
        open_suppressions,
        system_clock,
    )

__all__ = [
    "DocumentReader",
    "Keys",
    "ObservedProviders",
    "Opened",
    "behind_proxy",
    "check_providers",
    "cluster_of",
    "event_sources",
    "open_backlogs",
    "open_documents",
    "open_failover",
    "open_keyring",
    "open_layouts",
    "open_ledger",
    "open_observer",
    "open_producer",
    "open_records",
    "open_roster",
    "open_shards",
    "open_suppressions",
    "open_worker",
    "place_of",
    "provider_entries",
    "system_clock",
]

_HOMES = {
    "DocumentReader": "postman.wiring.documents",
    "Keys": "postman.wiring.documents",
    "ObservedProviders": "postman.wiring.providers",
    "Opened": "postman.wiring.processes",
    "behind_proxy": "postman.wiring.providers",
    "check_providers": "postman.wiring.providers",
    "cluster_of": "postman.wiring.stores",
    "event_sources": "postman.wiring.providers",
    "open_backlogs": "postman.wiring.stores",
    "open_documents": "postman.wiring.documents",
    "open_failover": "postman.wiring.providers",
    "open_keyring": "postman.wiring.documents",
    "open_layouts": "postman.wiring.stores",
    "open_ledger": "postman.wiring.stores",
    "open_observer": "postman.wiring.processes",
    "open_producer": "postman.wiring.producers",
    "open_records": "postman.wiring.stores",
    "open_roster": "postman.wiring.stores",
    "open_shards": "postman.wiring.stores",
    "open_suppressions": "postman.wiring.stores",
    "open_worker": "postman.wiring.processes",
    "place_of": "postman.wiring.documents",
    "provider_entries": "postman.wiring.providers",
    "system_clock": "postman.wiring.stores",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
