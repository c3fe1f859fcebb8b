"""`postman demo`: the whole system before your eyes."""

import asyncio
import sys
import time
from typing import Annotated

import typer
from rich.table import Table

from postman.entrypoints.cli.output import ERR, OUT, plain, print_json
from postman.entrypoints.demo import Story, play
from postman.entrypoints.demo.tally import Tally
from postman.entrypoints.logs import set_up_logs

__all__ = ["demo"]


def demo(
    *,
    mails: Annotated[int, typer.Option(min=500, help="How many mails to publish.")] = 600,
    shards: Annotated[int, typer.Option(min=1, max=64)] = 8,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON line.")] = False,
) -> None:
    """Play a bad day: mails flow, a provider goes down, a worker is killed. Exit status 0 only if all arrived once."""
    set_up_logs("error")
    began = time.monotonic()

    def say(what: str) -> None:
        ERR.print(f"[dim]{time.monotonic() - began:5.1f} s[/]  {plain(what)}")

    with ERR.status("playing") as status:
        story = Story(mails=mails, shards=shards)
        tally = asyncio.run(play(story, say=say, progress=lambda n: status.update(f"{n} mails accounted for")))
    if json:
        print_json(_document(tally))
    else:
        OUT.print(_table(tally))
    sys.exit(0 if tally.is_good else 1)


def _table(tally: Tally) -> Table:
    table = Table("what became of them", "mails", title="Counted from what the sandbox accepted", title_justify="left")
    table.columns[1].justify = "right"
    table.add_row("published", str(tally.published))
    for provider, mails in sorted(tally.delivered.items()):
        table.add_row(f"delivered by {provider}", str(mails))
    table.add_row("  of these failed over", str(tally.failed_over))
    for reason, mails in sorted(tally.dead.items()):
        table.add_row(f"dead-lettered: {reason}", str(mails))
    table.add_row("lost", _verdict(len(tally.lost)))
    table.add_row("duplicates", _verdict(len(tally.duplicates)))
    if tally.both:
        table.add_row("delivered and dead-lettered", _verdict(len(tally.both)))
    return table


def _verdict(count: int) -> str:
    return "[green]0[/]" if count == 0 else f"[bold red]{count}[/]"


def _document(tally: Tally) -> dict[str, object]:
    return {
        "published": tally.published,
        "delivered": dict(tally.delivered),
        "failed_over": tally.failed_over,
        "dead": dict(tally.dead),
        "lost": list(tally.lost),
        "duplicates": list(tally.duplicates),
        "delivered_and_dead": list(tally.both),
    }
