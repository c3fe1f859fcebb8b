"""What the commands open, and close again."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from postman.config import Settings
from postman.ports.ledger import Ledger
from postman.ports.queue import ShardMap
from postman.wiring import open_ledger, open_shards

__all__ = ["opened", "settings"]


def settings() -> Settings:
    """Return the settings of the environment; raises `ConfigError`."""
    return Settings.from_env(os.environ)


@asynccontextmanager
async def opened(chosen: Settings) -> AsyncIterator[tuple[ShardMap, Ledger]]:
    """Open the queues and the ledger for one command."""
    shards, ledger = open_shards(chosen), open_ledger(chosen)
    try:
        yield shards, ledger
    finally:
        await shards.aclose()
        await ledger.aclose()
