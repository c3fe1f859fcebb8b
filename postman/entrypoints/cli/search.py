"""`postman search TEXT`: mails by an id, a provider's id, or a recipient."""

import asyncio
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer
from rich.table import Table

from postman.config import Settings
from postman.core.events import address_tag
from postman.core.ids import MailId, is_mail_id
from postman.entrypoints.cli.found import opened_records, print_records
from postman.entrypoints.cli.output import complain
from postman.entrypoints.cli.setup import settings
from postman.ports.records import Record, Records
from postman.wiring import open_ledger

__all__ = ["search"]

_TAG: Final = re.compile(r"#?([0-9a-f]{12})")


def search(
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="A mail's id, a provider's id, or a recipient's address or tag.")
    ],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line for each.")] = False,
) -> None:
    """Find mails, the newest first. An address is hashed at once, and printed nowhere. Exit status 1 if there is none.

    A shell keeps what is typed: `--` and the tag that `postman show` prints tell less than an address.
    """
    found = asyncio.run(_search(settings(), text.strip()))
    if not found:
        complain("nothing was found: the ledger knows mails that a worker had, for 90 days")
        sys.exit(1)
    table = Table("id", "state", "since (UTC)", "provider", "provider's id", box=None, pad_edge=False)
    print_records(
        found, table, lambda entry: (entry.state.value, entry.since, entry.provider, entry.message_id), json=json
    )


async def _search(chosen: Settings, text: str) -> Sequence[Record]:
    async with opened_records(chosen) as records:
        return await _by_recipient(records, text) or await _by_id(chosen, text) or await records.by_message_id(text)


async def _by_recipient(records: Records, text: str) -> Sequence[Record]:
    if match := _TAG.fullmatch(text):
        return await records.by_recipient(match[1])
    if "@" in text and not text.startswith("<"):
        return await records.by_recipient(address_tag(text))
    return ()


async def _by_id(chosen: Settings, text: str) -> Sequence[Record]:
    if not is_mail_id(text):
        return ()
    ledger = open_ledger(chosen)
    try:
        entry = await ledger.find(MailId(text))
    finally:
        await ledger.aclose()
    return () if entry is None else (Record(MailId(text), entry),)
