"""`postman show ID`: what became of a mail."""

import asyncio
import sys
from typing import Annotated

import typer
from rich.table import Table

from postman.config import Settings
from postman.core.ids import check_mail_id
from postman.core.protocol import Entry
from postman.entrypoints.cli.output import OUT, complain, moment, plain, print_json, print_table
from postman.entrypoints.cli.setup import settings
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
        print_json(_document(mail_id, entry))
    else:
        _print(mail_id, entry)


async def _find(chosen: Settings, mail_id: str) -> Entry | None:
    ledger = open_ledger(chosen)
    try:
        return await ledger.find(check_mail_id(mail_id))
    finally:
        await ledger.aclose()


def _document(mail_id: str, entry: Entry) -> dict[str, object]:
    return {
        "id": mail_id,
        "state": str(entry.state),
        "provider": entry.provider,
        "message_id": entry.message_id,
        "reason": entry.reason,
        "since": entry.since,
        "attempts": entry.attempts,
        "token": entry.token,
        "dead_lettered": entry.parked,
        "history": [
            {"at": note.at, "event": note.event, "provider": note.provider, "detail": note.detail}
            for note in entry.history
        ],
    }


def _print(mail_id: str, entry: Entry) -> None:
    OUT.print(f"[bold]{plain(mail_id)}[/] is [bold]{entry.state}[/] since {moment(entry.since)} UTC")
    for name, value in (
        ("provider", entry.provider),
        ("message id", entry.message_id),
        ("reason", entry.reason),
        ("claims", str(entry.attempts)),
        ("dead-lettered", "yes" if entry.parked else ""),
    ):
        if value:
            OUT.print(f"  {name:14}{plain(value)}")
    table = Table("when (UTC)", "what", "provider", "detail", box=None, pad_edge=False, header_style="dim")
    for note in entry.history:
        table.add_row(moment(note.at), plain(note.event), plain(note.provider), plain(note.detail))
    print_table(table)
