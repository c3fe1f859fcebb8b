"""Queues and all stores in one SQLite file: durable, and shared by the processes of one machine."""

from postman.adapters.sqlite.backlog import SqliteBacklogs, open_backlogs
from postman.adapters.sqlite.documents import SqliteDocuments, open_documents
from postman.adapters.sqlite.layouts import open_layouts
from postman.adapters.sqlite.ledger import open_ledger
from postman.adapters.sqlite.queue import open_shards
from postman.adapters.sqlite.records import SqliteRecords, open_records
from postman.adapters.sqlite.roster import open_roster
from postman.adapters.sqlite.suppressions import open_suppressions

__all__ = [
    "SqliteBacklogs",
    "SqliteDocuments",
    "SqliteRecords",
    "open_backlogs",
    "open_documents",
    "open_layouts",
    "open_ledger",
    "open_records",
    "open_roster",
    "open_shards",
    "open_suppressions",
]
