"""What the commands share that look at the layout, or change it."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, TypeVar

import typer

from postman.config import Settings
from postman.core.resharding import FOLLOWED, Patience
from postman.entrypoints.cli.output import ERR, OUT, complain, plain, print_json
from postman.entrypoints.operating.layouts import PATIENCE, latest_layout, opened_resharder
from postman.errors import ConfigError
from postman.runtime.resharding import News, NewsKind, Resharder

__all__ = [
    "INTERRUPTED",
    "PATIENCE",
    "PatienceOption",
    "QuietOption",
    "change",
    "latest_layout",
    "patience_of",
    "tell",
    "tell_json",
]

_T = TypeVar("_T")

INTERRUPTED: Final = 130
"""Exit status after Ctrl-C."""

QuietOption = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=0,
        help="For how long a shard must bring no mail before it is taken for empty, where the queue cannot count.",
    ),
]
PatienceOption = Annotated[
    float,
    typer.Option(metavar="SECONDS", min=0, help="Within which every producer has put its last mail by the old layout."),
]


def change(
    chosen: Settings,
    work: Callable[[Resharder], Awaitable[_T]],
    *,
    patience: Patience = PATIENCE,
    told: Callable[[News], None] | None = None,
) -> _T:
    """Do *work* with what changes the layout. Raises `ConfigError` where the ledger keeps none."""

    async def run() -> _T:
        async with opened_resharder(chosen, patience=patience, told=told or tell) as resharder:
            return await work(resharder)

    return asyncio.run(run())


def patience_of(chosen: Settings, *, quiet: float, patience: float) -> Patience:
    """Return how long is waited. Raises `ConfigError` for a *quiet* within which mails may still come back.

    Neither may be infinite: a change would wait for ever.
    """
    for name, seconds in (("--quiet", quiet), ("--patience", patience)):
        if not math.isfinite(seconds):
            raise ConfigError(f"{name}: {seconds} is no number of seconds")
    if quiet < chosen.ack_deadline:
        raise ConfigError(
            f"--quiet: a worker that died may still hold mails for {chosen.ack_deadline:g} s (POSTMAN_ACK_DEADLINE), "
            f"so {quiet:g} s are too few"
        )
    return Patience(followed=min(FOLLOWED, patience), published=patience, quiet=quiet)


def tell(news: News) -> None:
    """Print a step on stdout, and what is waited for on stderr."""
    match news.kind:
        case NewsKind.STEP:
            OUT.print(f"epoch {news.epoch}: {plain(news.text)}")
        case NewsKind.OTHER:
            OUT.print(f"epoch {news.epoch}, changed by somebody else: {plain(news.text)}")
        case NewsKind.WAITS:
            ERR.print(f"waiting: {plain(news.text)}{f' ({news.seconds} s)' if news.seconds else ''}")
        case NewsKind.TROUBLE:
            complain(f"{news.text}; trying again")


def tell_json(news: News) -> None:
    """Print *news* as a line of JSON."""
    print_json({"epoch": news.epoch, str(news.kind): news.text} | ({"seconds": news.seconds} if news.seconds else {}))
