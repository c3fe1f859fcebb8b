"""The only room that knows both sides: it finds adapters by URL or kind and joins them to the runtime."""

from postman.wiring.documents import DocumentReader, Keys, open_documents, open_keyring, place_of
from postman.wiring.processes import Opened, open_observer, open_worker
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
    open_producer,
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
    "open_roster",
    "open_shards",
    "open_suppressions",
    "open_worker",
    "place_of",
    "provider_entries",
    "system_clock",
]
