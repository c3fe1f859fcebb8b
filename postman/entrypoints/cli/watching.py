"""`--watch`: what is seen now, again and again, until a signal."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final, TypeVar

from rich.console import Group
from rich.live import Live
from rich.table import Table

from postman.entrypoints.cli.output import OUT, fitting, print_json, print_table
from postman.errors import LedgerUnavailableError, QueueUnavailableError

__all__ = ["EVERY", "Page", "print_page", "watch"]

_T = TypeVar("_T")

Page = Sequence[Table | str]

EVERY: Final = 2.0
"""Seconds between two looks."""
_TROUBLES: Final = (LedgerUnavailableError, QueueUnavailableError)


async def watch(
    seen: _T,
    look: Callable[[], Awaitable[_T]],
    *,
    page: Callable[[_T, str], Page],
    document: Callable[[_T, str], Mapping[str, object]],
    json: bool,
    every: float = EVERY,
) -> None:
    """Show what was *seen*, then what *look* sees, until a signal; an outage is shown, and waited for.

    *page* and *document* are given what was seen last, and why nothing newer is known: empty where it is.
    """
    stopped, problem = _stop_signal(), ""
    with _live(json=json) as live:
        while True:
            if json:
                print_json(document(seen, problem))
            elif live is None:
                print_page(page(seen, problem))
            else:
                live.update(Group(*map(fitting, page(seen, problem))), refresh=True)
            if await _within(stopped, every):
                return
            try:
                seen, problem = await look(), ""
            except _TROUBLES as error:
                problem = str(error)


def print_page(page: Page) -> None:
    """Print each part below the other."""
    for part in page:
        if isinstance(part, Table):
            print_table(part)
        else:
            OUT.print(part)


def _live(*, json: bool) -> AbstractContextManager[Live | None]:
    """Where stdout is no terminal, nothing can be drawn over: each look is printed below the last."""
    return Live(console=OUT, auto_refresh=False) if OUT.is_terminal and not json else nullcontext()


def _stop_signal() -> asyncio.Event:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
