"""`postman shards`: how each shard does; pauses, resumes and drains some, and sends back their dead letters."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Annotated, Final

import typer
from rich.table import Table

from postman.config import Settings
from postman.core.fleet.reports import ShardWork
from postman.core.layout import Layout, ShardState
from postman.core.resharding import Patience, Sight
from postman.entrypoints.backlog import Gauge, Waiting, duration
from postman.entrypoints.cli import dead
from postman.entrypoints.cli.layouts import (
    INTERRUPTED,
    PATIENCE,
    PatienceOption,
    QuietOption,
    change,
    latest_layout,
    patience_of,
    tell,
    tell_json,
)
from postman.entrypoints.cli.output import OUT, complain, moment, plain, print_json, print_table
from postman.entrypoints.cli.setup import settings
from postman.errors import QueueUnavailableError
from postman.ports.backlog import Backlog
from postman.ports.queue import ShardMap
from postman.runtime.resharding import Resharder
from postman.wiring import open_backlogs, open_roster, open_shards, system_clock

__all__ = ["app"]

app = typer.Typer(help="Shards: how they do, and what workers and producers do with them.", no_args_is_help=True)

_Numbers = Annotated[list[int], typer.Argument(metavar="I…", min=0, help="These shards.")]
_Json = Annotated[bool, typer.Option("--json", help="Print a JSON line for each shard and each wait.")]
_NoWait = Annotated[bool, typer.Option("--no-wait", help="Change it, and do not wait until it is so everywhere.")]

_LOOK_BACK: Final = 900.0
"""Seconds: three windows of the longest kind. Older reports are of workers that do not live."""
_STYLES: Final = {
    ShardState.OPEN: "green",
    ShardState.PAUSED: "bold yellow",
    ShardState.DRAINING: "yellow",
    ShardState.NEW: "cyan",
    ShardState.GOING: "yellow",
    ShardState.RETIRED: "dim",
}


@dataclass(frozen=True, slots=True)
class _Line:
    """One shard."""

    shard: int
    state: ShardState
    depth: int | None
    """How many messages lie in it, now and exactly; None: nobody can tell."""
    backlog: Backlog | None
    """How many, and for how long, maybe minutes ago; None: nobody can tell."""
    held: int
    """Of these, those in workers' hands."""
    pulled_at: float | None
    """When it last brought a mail, within the last hour; in seconds since 1970."""
    problems: Sequence[str]
    """What workers say who cannot read it, and the queue itself."""


@app.command("list")
def list_shards(*, json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False) -> None:
    """List the shards, what they are there for, and how they do. Exit status 1 if the ledger cannot be reached."""
    layout, sight, lines = asyncio.run(_look(settings()))
    if json:
        print_json(_document(layout, sight, lines))
        return
    for text in _header(layout, sight):
        OUT.print(text)
    names = ("shard", "state", "mails", "oldest", "held", "last mail (UTC)", "problems")
    table = Table(*names, box=None, pad_edge=False)
    for line in lines:
        table.add_row(
            str(line.shard),
            f"[{_STYLES[line.state]}]{line.state}[/]",
            _mails(line),
            duration(line.backlog.oldest_age) if line.backlog and line.backlog.count else "",
            str(line.held),
            moment(line.pulled_at) if line.pulled_at else "",
            plain("; ".join(line.problems)),
        )
    print_table(table)


@app.command()
def pause(shards: _Numbers, *, no_wait: _NoWait = False, json: _Json = False) -> None:
    """Let workers leave these shards alone until they are resumed; producers go on filling them."""
    _mark("pause", shards, lambda layout, now: layout.pause(*shards, now=now), no_wait=no_wait, json=json)


@app.command()
def resume(shards: _Numbers, *, no_wait: _NoWait = False, json: _Json = False) -> None:
    """Let workers read these shards and producers fill them again, after `pause` or `drain`."""
    _mark("resume", shards, lambda layout, now: layout.resume(*shards, now=now), no_wait=no_wait, json=json)


@app.command()
def drain(
    shards: _Numbers,
    *,
    no_wait: _NoWait = False,
    quiet: QuietOption = PATIENCE.quiet,
    patience: PatienceOption = PATIENCE.published,
    json: _Json = False,
) -> None:
    """Let producers put nothing into these shards until they are resumed, and wait until they are empty."""
    waiting = patience_of(settings(), quiet=quiet, patience=patience)
    _mark(
        "drain", shards, lambda layout, now: layout.close(*shards, now=now), no_wait=no_wait, json=json, empty=waiting
    )


@app.command()
def replay(
    shards: _Numbers,
    *,
    reason: Annotated[str, typer.Option(help="Only letters with this reason, like refused or expired.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    because: Annotated[str, typer.Option(help="Why, for the mails' history.")] = "replayed by an operator",
    json: Annotated[bool, typer.Option("--json", help="Print a JSON line for each shard.")] = False,
) -> None:
    """Send the dead letters of these shards back, as `postman dead replay --shard I` does for one."""
    for number, shard in enumerate(shards):
        dead.replay(reason=reason, shard=shard, yes=yes or number > 0, because=because, json=json)


def _mark(
    command: str,
    shards: Sequence[int],
    mark: Callable[[Layout, float], Layout],
    *,
    no_wait: bool,
    json: bool,
    empty: Patience | None = None,
) -> None:
    """Change the layout, and wait until workers follow; with *empty* also until the shards are."""

    def say(text: str, fields: Mapping[str, object]) -> None:
        print_json(fields) if json else OUT.print(text)

    async def work(resharder: Resharder) -> None:
        layout = await resharder.mark(mark)
        for shard in shards:
            epoch, state = layout.epoch, layout.state_of(shard)
            say(f"epoch {epoch}: shard {shard} is {state}", {"epoch": epoch, "shard": shard, "state": state})
        if no_wait:
            return
        count = await resharder.wait_until_followed(layout)
        text = f"{count} workers follow" if count else "no worker reports; who starts now follows at once"
        say(text, {"epoch": layout.epoch, "followers": count})
        if empty is not None:
            await resharder.wait_until_empty(shards)
            say(f"empty: {', '.join(map(str, shards))}", {"epoch": layout.epoch, "empty": shards})

    try:
        change(settings(), work, patience=empty or PATIENCE, told=tell_json if json else tell)
    except KeyboardInterrupt:
        complain(f"interrupted; what was changed stays, and `postman shards {command}` can be run again")
        raise typer.Exit(INTERRUPTED) from None


def _mails(line: _Line) -> str:
    """Return how many mails lie in a shard, and how old that number is where it is not of now."""
    if line.depth is not None:
        return str(line.depth)
    return f"{line.backlog.count} ({duration(time.time() - line.backlog.at)} ago)" if line.backlog else "?"


async def _look(chosen: Settings) -> tuple[Layout, Sight, Sequence[_Line]]:
    shards, roster, gauge = open_shards(chosen), open_roster(chosen), Gauge(open_backlogs(chosen), system_clock())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(shards.aclose)
        stack.push_async_callback(gauge.aclose)
        if roster is not None:
            stack.push_async_callback(roster.aclose)
        reports = await roster.reports(time.time() - _LOOK_BACK) if roster else ()
        layout = await latest_layout(chosen)
        counts = await asyncio.gather(*(_depth(shards, shard) for shard in range(layout.top)))
        waiting = await gauge.look(range(layout.top), reports)
    depths = {shard: depth for shard, (depth, _) in enumerate(counts)}
    sight = Sight(reports, depths, time.time())
    if waiting.problem:
        complain(f"backlog: {waiting.problem}")
    return layout, sight, [_line(layout, sight, waiting, shard, problem) for shard, (_, problem) in enumerate(counts)]


async def _depth(shards: ShardMap, shard: int) -> tuple[int | None, str]:
    """Return how many messages lie in *shard*, and why that cannot be told."""
    try:
        return await shards.depth(shard), ""
    except QueueUnavailableError as error:
        return None, str(error)


def _line(layout: Layout, sight: Sight, waiting: Waiting, shard: int, problem: str) -> _Line:
    living = [report.shards.get(str(shard), ShardWork()) for report in sight.living]
    pulled_at = max((report.shards.get(str(shard), ShardWork()).pulled_at for report in sight.reports), default=0.0)
    said = Counter(work.problem for work in living if work.problem)
    problems = [f"{count} of {len(living)} workers: {text}" for text, count in said.most_common()]
    return _Line(
        shard=shard,
        state=layout.state_of(shard),
        depth=sight.depths[shard],
        backlog=waiting.shards.get(shard),
        held=sum(work.held for work in living),
        pulled_at=pulled_at or None,
        problems=[*filter(None, [problem]), *problems],
    )


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


def _document(layout: Layout, sight: Sight, lines: Sequence[_Line]) -> dict[str, object]:
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
        "shards": [asdict(line) for line in lines],
    }
