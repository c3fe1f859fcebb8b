"""The layout: looked at, and changed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from postman.config import Settings
from postman.core.layout import Layout
from postman.core.resharding import Patience
from postman.entrypoints.operating.places import without_password
from postman.errors import ConfigError
from postman.runtime.resharding import News, Resharder, look
from postman.wiring import open_layouts, open_roster, open_shards, system_clock

__all__ = ["PATIENCE", "latest_layout", "layout_lookout", "opened_resharder"]

PATIENCE: Final = Patience()


async def latest_layout(chosen: Settings) -> Layout:
    """Return the latest layout, or that of the settings where nobody ever changed one."""
    async with layout_lookout(chosen) as latest:
        return await latest()


@asynccontextmanager
async def layout_lookout(chosen: Settings) -> AsyncIterator[Callable[[], Awaitable[Layout]]]:
    """Open what is asked by `latest_layout`, for who asks again and again."""
    settled, layouts = _settled(chosen), open_layouts(chosen)

    async def latest() -> Layout:
        return settled if layouts is None else await look(layouts, settled)

    try:
        yield latest
    finally:
        if layouts is not None:
            await layouts.aclose()


@asynccontextmanager
async def opened_resharder(
    chosen: Settings, *, patience: Patience = PATIENCE, told: Callable[[News], None] = lambda _: None
) -> AsyncIterator[Resharder]:
    """Open what changes the layout; *told* hears what happens. `ConfigError` where the ledger keeps none."""
    layouts = None if chosen.ledger.startswith("memory:") else open_layouts(chosen)
    if layouts is None:
        where = without_password(chosen.ledger)
        raise ConfigError(f"POSTMAN_LEDGER: {where} keeps no layout that others could read, so POSTMAN_SHARDS counts")
    roster, shards = open_roster(chosen), open_shards(chosen)
    async with AsyncExitStack() as stack:
        for store in (layouts, roster, shards):
            if store is not None:
                stack.push_async_callback(store.aclose)
        yield Resharder(
            layouts=layouts,
            roster=roster,
            shards=shards,
            clock=system_clock(),
            settled=_settled(chosen),
            patience=patience,
            tell=told,
        )


def _settled(chosen: Settings) -> Layout:
    return Layout.of(chosen.shards, hand=chosen.shard_hand)
