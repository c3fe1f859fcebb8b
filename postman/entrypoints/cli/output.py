"""What all commands print with: results on stdout, everything else on stderr."""

import json
import os
import sys
from datetime import UTC, datetime
from typing import Final

import orjson
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Column, Table

from postman.entrypoints.operating.places import without_password

__all__ = [
    "ERR",
    "OUT",
    "complain",
    "fitting",
    "give_up_stdout",
    "moment",
    "plain",
    "print_json",
    "print_table",
    "without_password",
]

OUT = Console(emoji=False, highlight=False, soft_wrap=True)
ERR = Console(emoji=False, stderr=True, highlight=False, soft_wrap=True)

_WIDE: Final = 100_000
_GAP: Final = 2
_LAST: Final = 20
"""Characters of a last column that are enough, however long its cells are: these are folded."""


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
    console = OUT if OUT.is_terminal else Console(emoji=False, highlight=False, width=_WIDE)
    console.print(fitting(table, console), soft_wrap=False)


def fitting(part: Table | str, console: Console = OUT) -> RenderableType:
    """Return *part* as it fits *console*: a table that is too wide by more than its last column, row below row."""
    if not isinstance(part, Table):
        return part
    for column in part.columns:
        column.overflow = "fold"
    *others, last = (_width(column, console) for column in part.columns)
    needed = sum(width + _GAP for width in others) + min(last, _LAST)
    return _stacked(part) if needed > console.width else part


def _width(column: Column, console: Console) -> int:
    return max(Measurement.get(console, console.options, cell).maximum for cell in (column.header, *column.cells))


def _stacked(table: Table) -> Group:
    """Return the rows of *table* below each other, each field with its name; what is empty is left out."""
    first, *others = table.columns
    parts: list[RenderableType] = []
    for head, *cells in zip(first.cells, *(column.cells for column in others), strict=True):
        lines = Table.grid(padding=(0, _GAP, 0, 0))
        lines.add_column(style="dim", no_wrap=True)
        lines.add_column(overflow="fold")
        for column, cell in zip(others, cells, strict=True):
            if cell:
                lines.add_row(column.header, cell)
        parts += [Padding(head, style="bold", expand=False), Padding(lines, (0, 0, 0, _GAP), expand=False)]
    return Group(*parts)


def plain(text: str, *, lines: bool = False) -> str:
    """Return foreign text as it may be shown: no markup, no control characters that a terminal would obey.

    With *lines* it may have several; elsewhere a line break could feign a line of ours.
    """
    allowed = "\n" if lines else ""
    return escape("".join(c if c.isprintable() or c in allowed else "\N{REPLACEMENT CHARACTER}" for c in text))


def moment(seconds: float) -> str:
    """Return a moment since 1970 for reading, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def give_up_stdout() -> None:
    """Send the rest to nowhere, also what Python writes when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
