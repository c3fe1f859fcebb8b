"""`postman init`: makes what is missing."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Annotated

import typer

from postman.config import Settings
from postman.entrypoints.cli.output import OUT, plain, print_json, without_password
from postman.entrypoints.cli.setup import opened, settings
from postman.wiring import open_roster

__all__ = ["init"]


def init(*, json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False) -> None:
    """Make the topics, subscriptions, dead letters and tables that are missing. Run it as often as you like."""
    chosen = settings()
    made = asyncio.run(_ensure(chosen))
    if json:
        print_json({"made": list(made)})
        return
    for name in made:
        OUT.print(f"made {plain(name)}")
    queue, ledger = (plain(without_password(url)) for url in (chosen.queue, chosen.ledger))
    OUT.print(f"ready: {chosen.shards} shards at {queue}, ledger at {ledger}")


async def _ensure(chosen: Settings) -> Sequence[str]:
    async with opened(chosen) as (shards, ledger):
        made = await shards.ensure()
        await ledger.ensure()
    if (roster := open_roster(chosen)) is not None:
        async with aclosing(roster):
            await roster.ensure()
    return made
