"""Dead letters: found, sent back, dropped."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from postman.config import Settings
from postman.entrypoints.operating.layouts import latest_layout
from postman.entrypoints.operating.progress import Told
from postman.entrypoints.operating.words import tagged
from postman.errors import ConfigError
from postman.runtime.deadletters import Choice, DeadLetters, Replayed
from postman.wiring import open_ledger, open_shards

__all__ = ["drop_letters", "opened_letters", "replay_letters"]


@asynccontextmanager
async def opened_letters(chosen: Settings, shard: int | None = None) -> AsyncIterator[DeadLetters]:
    """Open the dead letters of all shards; raises `ConfigError` where there is no such *shard*."""
    layout = await latest_layout(chosen)
    if shard is not None and shard >= layout.top:
        raise ConfigError(f"--shard: there are {layout.top} shards, numbered from 0")
    shards, ledger = open_shards(chosen), open_ledger(chosen)
    try:
        yield DeadLetters(shards=shards, ledger=ledger, layout=layout)
    finally:
        await shards.aclose()
        await ledger.aclose()


async def replay_letters(
    chosen: Settings, choice: Choice, *, by: str, why: str = "", told: Told = lambda *_: None
) -> Replayed:
    """Send the chosen letters back to their shards; the mails' history says who did it, and *why*."""
    async with opened_letters(chosen, choice.shard) as letters:
        return await letters.replay(
            choice, reason=f"{why} (by {tagged(by)})" if why else f"replayed by {tagged(by)}", told=told
        )


async def drop_letters(
    chosen: Settings, choice: Choice, *, by: str, why: str = "", told: Told = lambda *_: None
) -> int:
    """Remove the chosen letters for good; return how many. The ledger keeps what it knows of them, who did it, why."""
    async with opened_letters(chosen, choice.shard) as letters:
        return await letters.drop(choice, reason=f"{why} (by {tagged(by)})" if why else f"by {tagged(by)}", told=told)
