"""`postman doubts`: the mails that may have been sent."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Final

import typer
from rich.table import Table

from postman.config import Settings
from postman.core.shelf import Shelf
from postman.entrypoints.cli.found import opened_records, print_records
from postman.entrypoints.cli.output import OUT
from postman.entrypoints.cli.setup import settings
from postman.ports.records import Record

__all__ = ["app"]

_PAGE: Final = 500

app = typer.Typer(name="doubts", help="Look at mails of which nobody knows whether they were sent.")


@app.callback()
def _group() -> None:
    """Look at mails of which nobody knows whether they were sent."""


@app.command("list")
def list_doubts(
    *,
    held: Annotated[bool, typer.Option("--held", help="Those that wait for a person, among the dead letters.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Show no more than so many.")] = 1_000,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line for each.")] = False,
) -> None:
    """List mails in doubt, the newest first: each is still asked for at its provider."""
    records = asyncio.run(_list(settings(), Shelf.HELD if held else Shelf.IN_DOUBT, limit))
    if not records and not json:
        OUT.print("no mail is held" if held else "no mail is in doubt")
        return
    table = Table("id", "provider", "since (UTC)", "why", box=None, pad_edge=False, header_style="dim")
    print_records(records, table, lambda entry: (entry.provider, entry.since, entry.reason), json=json)


async def _list(chosen: Settings, shelf: Shelf, limit: int) -> Sequence[Record]:
    found: list[Record] = []
    async with opened_records(chosen) as records:
        page = await records.page(shelf, limit=min(limit, _PAGE))
        found.extend(page.records)
        while page.after and len(found) < limit:
            page = await records.page(shelf, after=page.after, limit=min(limit - len(found), _PAGE))
            found.extend(page.records)
    return found
