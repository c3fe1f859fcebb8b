"""What several mails of the ledger look like in a terminal."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from rich.table import Table

from postman.config import Settings
from postman.core.entry import Entry
from postman.entrypoints.cli.output import moment, plain, print_json, print_table, without_password
from postman.entrypoints.documents import entry_document
from postman.errors import ConfigError
from postman.ports.records import Record, Records
from postman.wiring import open_records

__all__ = ["opened_records", "print_records"]


@asynccontextmanager
async def opened_records(chosen: Settings) -> AsyncIterator[Records]:
    """Open who reads the ledger over many mails; raises `ConfigError` where its kind cannot be read so."""
    records = open_records(chosen)
    if records is None:
        raise ConfigError(f"POSTMAN_LEDGER: {without_password(chosen.ledger)} can only be asked for one mail at a time")
    try:
        yield records
    finally:
        await records.aclose()


def print_records(
    records: Sequence[Record], table: Table, cells: Callable[[Entry], tuple[str | float, ...]], *, json: bool
) -> None:
    """Print a line for each: its id, then the *cells*; numbers are moments."""
    for record in records:
        if json:
            print_json(entry_document(record.mail_id, record.entry))
        else:
            shown = (moment(cell) if isinstance(cell, float) else plain(cell) for cell in cells(record.entry))
            table.add_row(plain(record.mail_id), *shown)
    if not json:
        print_table(table)
