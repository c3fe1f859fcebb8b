"""Queues and a ledger that live and die with this process: for tests, demonstrations and simulations."""

from postman.adapters.memory.ledger import MemoryLedger, open_ledger
from postman.adapters.memory.queue import MemoryQueue, MemoryShards, open_shards

__all__ = ["MemoryLedger", "MemoryQueue", "MemoryShards", "open_ledger", "open_shards"]
