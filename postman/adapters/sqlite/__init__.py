"""Queues, ledger and roster in one SQLite file: durable, and shared by the processes of one machine."""

from postman.adapters.sqlite.ledger import open_ledger
from postman.adapters.sqlite.queue import open_shards
from postman.adapters.sqlite.roster import open_roster

__all__ = ["open_ledger", "open_roster", "open_shards"]
