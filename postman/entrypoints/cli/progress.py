"""How far a command has come, on stderr: a bar at a terminal, JSON lines where they are asked for, else nothing."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import orjson
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from postman.entrypoints.cli.output import ERR
from postman.entrypoints.operating.progress import Progress, Told

__all__ = ["ProgressOption", "showing_progress"]

_EVERY: Final = 1.0
"""Seconds between two JSON lines."""
_AVERAGED: Final = 10.0
"""Seconds over which the rate is taken."""

ProgressOption = Annotated[
    bool, typer.Option("--progress", help="With --json: tell how far it is, as JSON lines on stderr.")
]


@contextmanager
def showing_progress(what: str, *, json: bool = False, lines: bool = False) -> Iterator[Told]:
    """Have what is told be shown. *what* is done in one word; *json* is quiet, but for JSON *lines* on stderr."""
    if json:
        yield _lines(what) if lines else _nothing
        return
    with _bar() as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _nothing(_done: int, _total: int | None) -> None:
    """Show nothing."""


def _bar() -> Bar:
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=ERR,
        transient=True,
        expand=True,
        speed_estimate_period=_AVERAGED,
        disable=not ERR.is_terminal,
    )


class _Rate(TextColumn):
    """How many are done a second."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")


def _lines(what: str, now: Callable[[], float] = time.monotonic) -> Told:
    progress, told_at = Progress(now()), 0.0

    def tell(done: int, total: int | None) -> None:
        nonlocal told_at
        progress.tell(done, total)
        at = now()
        if done not in (0, total) and at - told_at < _EVERY:
            return
        told_at, left = at, progress.left(at)
        line = {
            "progress": what,
            "done": done,
            "total": total,
            "rate": round(progress.rate(at), 1),
            "left": None if left is None else round(left, 1),
        }
        ERR.file.write(orjson.dumps(line).decode() + "\n")
        ERR.file.flush()

    return tell
