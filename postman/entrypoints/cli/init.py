"""`postman init`: makes what is missing."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Annotated

import typer

from postman.config import Settings
from postman.core.layout import Layout
from postman.entrypoints.cli.layouts import latest_layout
from postman.entrypoints.cli.output import OUT, plain, print_json, without_password
from postman.entrypoints.cli.setup import opened, settings
from postman.wiring import open_layouts, open_roster, open_suppressions

__all__ = ["init"]


def init(*, json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False) -> None:
    """Make the topics, subscriptions, dead letters and tables that are missing. Run it as often as you like.

    It makes the shards that workers read: as many as the layout says, or the settings where nobody changed them.
    """
    chosen = settings()
    made, layout = asyncio.run(_ensure(chosen))
    if json:
        print_json({"made": list(made)})
        return
    for name in made:
        OUT.print(f"made {plain(name)}")
    queue, ledger = (plain(without_password(url)) for url in (chosen.queue, chosen.ledger))
    if layout.retired:
        OUT.print(f"not looked at: shards {layout.consume} to {layout.top - 1}, which were given up")
    OUT.print(f"ready: {layout.consume} shards at {queue}, ledger at {ledger}")


async def _ensure(chosen: Settings) -> tuple[Sequence[str], Layout]:
    """Return the names of the queues that were made, and the layout."""
    layout = await latest_layout(chosen)
    async with opened(chosen) as (shards, ledger):
        made = await shards.ensure(range(layout.consume))
        await ledger.ensure()
    for store in (open_layouts(chosen), open_roster(chosen), open_suppressions(chosen)):
        if store is not None:
            async with aclosing(store):
                await store.ensure()
    return made, layout
