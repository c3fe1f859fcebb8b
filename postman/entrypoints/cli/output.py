"""What all commands print with: results on stdout, everything else on stderr."""

import sys
from datetime import UTC, datetime

import orjson
from rich.console import Console
from rich.markup import escape

__all__ = ["ERR", "OUT", "complain", "moment", "plain", "print_json"]

OUT = Console(highlight=False, soft_wrap=True)
ERR = Console(stderr=True, highlight=False, soft_wrap=True)


def complain(problem: str) -> None:
    """Say on stderr what is wrong."""
    ERR.print(f"[bold red]postman:[/] {plain(problem)}")


def print_json(document: object) -> None:
    """Print *document* as one line of JSON on stdout."""
    sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


def plain(text: str) -> str:
    """Return foreign text as it may be shown: no markup, no control characters that a terminal would obey."""
    return escape("".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text))


def moment(seconds: float) -> str:
    """Return a moment since 1970 for reading, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
