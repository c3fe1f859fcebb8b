"""What lives and dies with this process: queues and all stores, for tests, demonstrations and simulations."""

from postman.adapters.memory.backlog import MemoryBacklogs, open_backlogs
from postman.adapters.memory.documents import MemoryDocuments, open_documents
from postman.adapters.memory.layouts import MemoryLayouts, open_layouts
from postman.adapters.memory.ledger import MemoryLedger, open_ledger
from postman.adapters.memory.queue import MemoryQueue, MemoryShards, open_shards
from postman.adapters.memory.records import MemoryRecords, open_records
from postman.adapters.memory.roster import MemoryRoster, open_roster
from postman.adapters.memory.suppressions import MemorySuppressions, open_suppressions

__all__ = [
    "MemoryBacklogs",
    "MemoryDocuments",
    "MemoryLayouts",
    "MemoryLedger",
    "MemoryQueue",
    "MemoryRecords",
    "MemoryRoster",
    "MemoryShards",
    "MemorySuppressions",
    "open_backlogs",
    "open_documents",
    "open_layouts",
    "open_ledger",
    "open_records",
    "open_roster",
    "open_shards",
    "open_suppressions",
]
