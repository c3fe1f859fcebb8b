"""`postman providers`: the providers' document."""

import os
from typing import Annotated

import typer
from rich.table import Table

from postman.adapters.clock import SystemClock
from postman.config import ProviderEntry
from postman.entrypoints.cli.output import plain, print_json, print_table, without_password
from postman.entrypoints.cli.setup import settings
from postman.wiring import open_failover, provider_entries

__all__ = ["app"]

app = typer.Typer(help="The providers and their share of the traffic.", no_args_is_help=True)


@app.callback()
def providers() -> None:
    """The providers and their share of the traffic."""


@app.command("list")
def list_providers(
    *, json: Annotated[bool, typer.Option("--json", help="Print a JSON line for each.")] = False
) -> None:
    """List the providers of the document, after checking all of it. Keys are never shown."""
    entries = provider_entries(settings(), os.environ)
    open_failover(entries, clock=SystemClock())
    if json:
        for entry in entries:
            print_json(_document(entry))
        return
    table = Table("name", "kind", "enabled", "weight", "timeout", "rate", "in flight", "key", box=None, pad_edge=False)
    for entry in entries:
        table.add_row(
            plain(entry.spec.name),
            plain(entry.spec.kind),
            "yes" if entry.enabled else "no",
            f"{entry.weight:g}",
            f"{entry.spec.timeout:g} s",
            f"{entry.rate:g}/s" if entry.rate else "-",
            str(entry.concurrency or "-"),
            plain(entry.key_reference),
        )
    print_table(table)


def _document(entry: ProviderEntry) -> dict[str, object]:
    return {
        "name": entry.spec.name,
        "kind": entry.spec.kind,
        "enabled": entry.enabled,
        "weight": entry.weight,
        "timeout": entry.spec.timeout,
        "rate": entry.rate,
        "concurrency": entry.concurrency,
        "look_up_after": entry.spec.look_up_after,
        "base_url": without_password(entry.spec.base_url),
        "api_key": entry.key_reference,
    }
