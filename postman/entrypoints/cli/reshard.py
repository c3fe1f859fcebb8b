"""`postman reshard N`: leads from one number of shards to another, while mails flow."""

from typing import Annotated

import typer

from postman.config import Settings
from postman.core.layout import MOST_SHARDS, Layout
from postman.entrypoints.cli.layouts import (
    INTERRUPTED,
    PATIENCE,
    PatienceOption,
    QuietOption,
    change,
    patience_of,
    tell,
    tell_json,
)
from postman.entrypoints.cli.output import OUT, complain, print_json
from postman.entrypoints.cli.setup import settings

__all__ = ["reshard"]


def reshard(
    count: Annotated[int, typer.Argument(metavar="N", min=1, max=MOST_SHARDS, help="How many shards there shall be.")],
    *,
    hand: Annotated[
        int | None,
        typer.Option(min=0, max=MOST_SHARDS, help="To how many shards the mails of one tenant or key go; 0: to all."),
    ] = None,
    quiet: QuietOption = PATIENCE.quiet,
    patience: PatienceOption = PATIENCE.published,
    instead: Annotated[
        bool, typer.Option("--instead", help="Turn a change to another number that is under way to this one.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON line for each step and each wait.")] = False,
) -> None:
    """Change the number of shards, while mails flow. Stopped at any point, it goes on when it is run again.

    Exit status 1 where a step is refused: what was changed before it stays, and all of it is safe. The first change is
    made with the workers' own POSTMAN_SHARDS; afterwards it counts no more.
    """
    chosen = settings()
    waiting = patience_of(chosen, quiet=quiet, patience=patience)
    try:
        layout = change(
            chosen,
            lambda resharder: resharder.reshard(count, hand=hand, instead=instead),
            patience=waiting,
            told=tell_json if json else tell,
        )
    except KeyboardInterrupt:
        complain(f"interrupted; what was changed stays, and `postman reshard {count}` goes on from here")
        raise typer.Exit(INTERRUPTED) from None
    _conclude(chosen, layout, json=json)


def _conclude(chosen: Settings, layout: Layout, *, json: bool) -> None:
    wanted = {"POSTMAN_SHARDS": (chosen.shards, layout.publish), "POSTMAN_SHARD_HAND": (chosen.shard_hand, layout.hand)}
    differing = {name: after for name, (before, after) in wanted.items() if before != after}
    if json:
        print_json({"epoch": layout.epoch, "done": layout.publish, "settings": differing})
        return
    OUT.print(f"{layout.publish} shards are in use, epoch {layout.epoch}")
    if differing:
        listed = " ".join(f"{name}={value}" for name, value in differing.items())
        OUT.print(f"this layout counts now, whatever the settings say; for services that cannot read it, set {listed}")
