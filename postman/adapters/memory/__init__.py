"""Queues, a ledger and a roster that live and die with this process: for tests, demonstrations and simulations."""

from postman.adapters.memory.ledger import MemoryLedger, open_ledger
from postman.adapters.memory.queue import MemoryQueue, MemoryShards, open_shards
from postman.adapters.memory.roster import MemoryRoster, open_roster

__all__ = ["MemoryLedger", "MemoryQueue", "MemoryRoster", "MemoryShards", "open_ledger", "open_roster", "open_shards"]
