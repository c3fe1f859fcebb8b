"""`postman show ID`: what became of a mail: its whole story, with evidence."""

import asyncio
import sys
from typing import Annotated

import typer
from rich.table import Table

from postman.config import Settings
from postman.core.entry import Entry
from postman.core.ids import check_mail_id
from postman.core.story import evidence_of, story_of
from postman.entrypoints.cli.output import OUT, complain, moment, plain, print_json, print_table
from postman.entrypoints.cli.setup import settings
from postman.entrypoints.documents import entry_document
from postman.wiring import open_ledger

__all__ = ["show"]


def show(
    mail_id: Annotated[str, typer.Argument(metavar="ID", help="The mail's id.")],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Show the ledger's entry of a mail and its history. Exit status 1 if it is not known."""
    entry = asyncio.run(_find(settings(), mail_id))
    if entry is None:
        complain(f"{mail_id}: the ledger does not know this mail (not published, or not yet pulled by a worker)")
        sys.exit(1)
    if json:
        print_json(entry_document(mail_id, entry))
    else:
        _print(mail_id, entry)


async def _find(chosen: Settings, mail_id: str) -> Entry | None:
    ledger = open_ledger(chosen)
    try:
        return await ledger.find(check_mail_id(mail_id))
    finally:
        await ledger.aclose()


def _print(mail_id: str, entry: Entry) -> None:
    OUT.print(f"[bold]{plain(mail_id)}[/] is [bold]{entry.state}[/] since {moment(entry.since)} UTC")
    for name, value in (
        ("provider", entry.provider),
        ("message id", entry.message_id),
        ("evidence", evidence_of(entry)),
        ("reason", entry.reason),
        ("claims", str(entry.attempts)),
        ("lapsed", f"{entry.lapses}: a worker ended, or stood still, while it had it" if entry.lapses else ""),
        ("dead-lettered", "yes" if entry.parked else ""),
    ):
        if value:
            OUT.print(f"  {name:14}{plain(value)}")
    lines = story_of(entry)
    has_recipients = any(line.recipient for line in lines)
    columns = ["when (UTC)", "what", "provider", "detail", *(["recipient"] if has_recipients else [])]
    table = Table(*columns, box=None, pad_edge=False, header_style="dim")
    for line in lines:
        cells = [line.what, line.provider, line.detail, *([line.recipient] if has_recipients else [])]
        table.add_row(moment(line.at), *map(plain, cells))
    print_table(table)
