"""`postman shards`: how each shard does; pauses, resumes and drains some, and sends back their dead letters."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Annotated, Final

import typer
from rich.table import Table

from postman.config import Settings
from postman.core.layout import Layout, ShardState
from postman.core.resharding import Patience, Sight
from postman.entrypoints.backlog import duration
from postman.entrypoints.cli import dead
from postman.entrypoints.cli.completing import dead_reasons, shard_numbers
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
from postman.entrypoints.cli.output import OUT, complain, moment, plain, print_json
from postman.entrypoints.cli.progress import ProgressOption, showing_progress
from postman.entrypoints.cli.setup import settings
from postman.entrypoints.cli.watching import Page, print_page, watch
from postman.entrypoints.operating.shards import (
    Followed,
    ShardAct,
    ShardLine,
    ShardsSeen,
    mark_shards,
    shards_lookout,
    tell_emptied,
)
from postman.runtime.resharding import Resharder

__all__ = ["app"]

app = typer.Typer(help="Shards: how they do, and what workers and producers do with them.", no_args_is_help=True)

_Numbers = Annotated[list[int], typer.Argument(metavar="I…", min=0, help="These shards.", autocompletion=shard_numbers)]
_Json = Annotated[bool, typer.Option("--json", help="Print a JSON line for each shard and each wait.")]
_NoWait = Annotated[bool, typer.Option("--no-wait", help="Change it, and do not wait until it is so everywhere.")]

_STYLES: Final = {
    ShardState.OPEN: "green",
    ShardState.PAUSED: "bold yellow",
    ShardState.DRAINING: "yellow",
    ShardState.NEW: "cyan",
    ShardState.GOING: "yellow",
    ShardState.RETIRED: "dim",
}


@app.command("list")
def list_shards(
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
    watched: Annotated[bool, typer.Option("--watch", help="Look every two seconds until Ctrl-C.")] = False,
) -> None:
    """List the shards, what they are there for, and how they do. Exit status 1 if the ledger cannot be reached."""
    asyncio.run(_show(settings(), json=json, watched=watched))


async def _show(chosen: Settings, *, json: bool, watched: bool) -> None:
    async with shards_lookout(chosen) as look:
        seen = await look()
        if seen.problem:
            complain(f"backlog: {seen.problem}")
        if watched:
            await watch(seen, look, page=_page, document=_document, json=json)
        elif json:
            print_json(_document(seen))
        else:
            print_page(_page(seen))


def _page(seen: ShardsSeen, problem: str = "") -> Page:
    names = ("shard", "state", "mails", "oldest", "held", "last mail (UTC)", "problems")
    table = Table(*names, box=None, pad_edge=False)
    for line in seen.lines:
        table.add_row(
            str(line.shard),
            f"[{_STYLES[line.state]}]{line.state}[/]",
            _mails(line),
            duration(line.backlog.oldest_age) if line.backlog and line.backlog.count else "",
            str(line.held),
            moment(line.pulled_at) if line.pulled_at else "",
            plain("; ".join(line.problems)),
        )
    alarm = [f"[bold red]out of date:[/] {plain(problem)}"] if problem else []
    return [*alarm, *_header(seen.layout, seen.sight), table]


@app.command()
def pause(shards: _Numbers, *, no_wait: _NoWait = False, json: _Json = False) -> None:
    """Let workers leave these shards alone until they are resumed; producers go on filling them."""
    _mark(ShardAct.PAUSE, shards, no_wait=no_wait, json=json)


@app.command()
def resume(shards: _Numbers, *, no_wait: _NoWait = False, json: _Json = False) -> None:
    """Let workers read these shards and producers fill them again, after `pause` or `drain`."""
    _mark(ShardAct.RESUME, shards, no_wait=no_wait, json=json)


@app.command()
def drain(
    shards: _Numbers,
    *,
    no_wait: _NoWait = False,
    quiet: QuietOption = PATIENCE.quiet,
    patience: PatienceOption = PATIENCE.published,
    json: _Json = False,
    progress: ProgressOption = False,
) -> None:
    """Let producers put nothing into these shards until they are resumed, and wait until they are empty."""
    waiting = patience_of(settings(), quiet=quiet, patience=patience)
    _mark(ShardAct.DRAIN, shards, no_wait=no_wait, json=json, patience=waiting, lines=progress)


@app.command()
def replay(
    shards: _Numbers,
    *,
    reason: Annotated[
        str,
        typer.Option(help="Only letters with this reason, like refused or expired.", autocompletion=dead_reasons),
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    because: Annotated[str, typer.Option(help="Why, for the mails' history.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print a JSON line for each shard.")] = False,
) -> None:
    """Send the dead letters of these shards back, as `postman dead replay --shard I` does for one."""
    for number, shard in enumerate(shards):
        dead.replay(reason=reason, shard=shard, yes=yes or number > 0, because=because, json=json)


def _mark(
    act: ShardAct,
    shards: Sequence[int],
    *,
    no_wait: bool,
    json: bool,
    patience: Patience = PATIENCE,
    lines: bool = False,
) -> None:
    """Change the layout, and wait until workers follow; to drain also until the shards are empty."""
    chosen = settings()

    def say(text: str, fields: Mapping[str, object]) -> None:
        print_json(fields) if json else OUT.print(text)

    def made(layout: Layout) -> None:
        for shard in shards:
            epoch, state = layout.epoch, layout.state_of(shard)
            say(f"epoch {epoch}: shard {shard} is {state}", {"epoch": epoch, "shard": shard, "state": state})

    def followed(it: Followed) -> None:
        text = f"{it.workers} workers follow" if it.workers else "no worker reports; who starts now follows at once"
        say(text, {"epoch": it.layout.epoch, "followers": it.workers})

    async def work(resharder: Resharder) -> None:
        with showing_progress("draining", json=json, lines=lines) as tell_progress:
            beside = partial(tell_emptied, chosen, shards, tell_progress) if act is ShardAct.DRAIN else None
            layout = await mark_shards(
                resharder, act, shards, made=made, followed=followed, no_wait=no_wait, emptied=beside
            )
        if act is ShardAct.DRAIN and not no_wait:
            say(f"empty: {', '.join(map(str, shards))}", {"epoch": layout.epoch, "empty": shards})

    try:
        change(chosen, work, patience=patience, told=tell_json if json else tell)
    except KeyboardInterrupt:
        complain(f"interrupted; what was changed stays, and `postman shards {act}` can be run again")
        raise typer.Exit(INTERRUPTED) from None


def _mails(line: ShardLine) -> str:
    """Return how many mails lie in a shard, and how old that number is where it is not of now."""
    if line.depth is not None:
        return str(line.depth)
    return f"{line.backlog.count} ({duration(time.time() - line.backlog.at)} ago)" if line.backlog else "?"


def _header(layout: Layout, sight: Sight) -> Sequence[str]:
    hand = f", {layout.hand} for the mails of one tenant or key" if layout.hand else ""
    since = f", since {moment(layout.changed_at)}" if layout.epoch else ": nobody changed the settings' number"
    lines = [
        f"epoch {layout.epoch}{since}; producers fill {layout.publish} shards{hand}, workers read {layout.consume}"
    ]
    if not layout.is_settled:
        again = f"`postman reshard {layout.target}` goes on"
        lines.append(f"[bold yellow]a change to {layout.target} shards is under way:[/] {again}")
    return [*lines, *_followers(layout, sight)]


def _followers(layout: Layout, sight: Sight) -> Sequence[str]:
    """Say who does not go by *layout*; where everybody does, how many they are."""
    others = sight.reading_otherwise(layout.consume) if not layout.epoch else ()
    troubles = [
        ("follow an older epoch", [f"{plain(each.worker)} (epoch {each.layout})" for each in sight.late(layout.epoch)]),
        (
            "follow a later epoch, so the layout was set back: restart them",
            [f"{plain(each.worker)} (epoch {each.layout})" for each in sight.ahead(layout.epoch)],
        ),
        (
            "read another number of shards than POSTMAN_SHARDS here",
            [f"{plain(each.worker)} ({each.reads})" for each in others],
        ),
    ]
    count = len(sight.living)
    lines = [
        f"[bold yellow]{len(named)} of {count} workers {what}:[/] {', '.join(named)}"
        for what, named in troubles
        if named
    ]
    return lines or [f"{count} workers report, and follow" if count else "no worker reports"]


def _document(seen: ShardsSeen, problem: str = "") -> dict[str, object]:
    layout, sight = seen.layout, seen.sight
    return {
        "epoch": layout.epoch,
        "publish": layout.publish,
        "consume": layout.consume,
        "target": layout.target,
        "top": layout.top,
        "hand": layout.hand,
        "changed_at": layout.changed_at,
        "workers": len(sight.living),
        "late": {report.worker: report.layout for report in sight.late(layout.epoch)},
        "shards": [asdict(line) for line in seen.lines],
    } | ({"problem": problem} if problem else {})
