"""What all commands print with: results on stdout, everything else on stderr."""

import json
import os
import sys
from datetime import UTC, datetime
from typing import Final

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = [
    "ERR",
    "OUT",
    "complain",
    "give_up_stdout",
    "moment",
    "plain",
    "print_json",
    "print_table",
    "without_password",
]

OUT = Console(emoji=False, highlight=False, soft_wrap=True)
ERR = Console(emoji=False, stderr=True, highlight=False, soft_wrap=True)

_HIDDEN: Final = "***"
_WIDE: Final = 100_000


def complain(problem: str) -> None:
    """Say on stderr what is wrong."""
    ERR.print(f"[bold red]postman:[/] {plain(problem)}")


def print_json(document: object) -> None:
    """Print *document* as one line of JSON on stdout; what a terminal would obey is escaped.

    Where nobody reads stdout any more (a closed pipe), the line goes nowhere and the command goes on.
    """
    line = orjson.dumps(document).decode()
    if not line.isprintable():
        line = "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in line)
    try:
        sys.stdout.buffer.write(line.encode() + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        give_up_stdout()


def print_table(table: Table) -> None:
    """Print *table* with every cell whole: an id is there to be copied. Piped, no line is folded either."""
    for column in table.columns:
        column.overflow = "fold"
    console = OUT if OUT.is_terminal else Console(emoji=False, highlight=False, width=_WIDE)
    console.print(table, soft_wrap=False)


def plain(text: str, *, lines: bool = False) -> str:
    """Return foreign text as it may be shown: no markup, no control characters that a terminal would obey.

    With *lines* it may have several; elsewhere a line break could feign a line of ours.
    """
    allowed = "\n" if lines else ""
    return escape("".join(c if c.isprintable() or c in allowed else "\N{REPLACEMENT CHARACTER}" for c in text))


def without_password(url: str) -> str:
    """Return the URL of a queue or ledger as it may be shown: no user, password or query in it."""
    scheme, slashes, rest = url.partition("://")
    if not slashes:
        return url
    address, question, _ = rest.partition("?")
    account, at, place = address.rpartition("@")
    return f"{scheme}://{_HIDDEN if account else ''}{at}{place}{question and f'?{_HIDDEN}'}"


def moment(seconds: float) -> str:
    """Return a moment since 1970 for reading, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def give_up_stdout() -> None:
    """Send the rest to nowhere, also what Python writes when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
