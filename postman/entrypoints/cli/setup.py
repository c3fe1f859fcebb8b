"""What the commands open, and close again."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from postman.config import Settings
from postman.core.text import check_line
from postman.errors import ConfigError
from postman.ports.ledger import Ledger
from postman.ports.queue import ShardMap
from postman.wiring import open_ledger, open_shards

__all__ = ["checked_why", "opened", "settings"]

_LONGEST_WHY: Final = 200


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


def checked_why(why: str) -> str:
    try:
        check_line(why)
    except ValueError as error:
        raise ConfigError(f"--why: {error}") from None
    if "@" in why or len(why) > _LONGEST_WHY:
        raise ConfigError(f"--why: must have no address in it, and at most {_LONGEST_WHY} characters")
    return why
