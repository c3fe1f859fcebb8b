"""Queues and ledger in one SQLite file: durable, and shared by the processes of one machine."""

from postman.adapters.sqlite.ledger import open_ledger
from postman.adapters.sqlite.queue import open_shards

__all__ = ["open_ledger", "open_shards"]
