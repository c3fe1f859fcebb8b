"""`postman dead`: dead letters, and what to do with them."""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Final

import typer
from rich.table import Table

from postman.config import Settings
from postman.entrypoints.cli.completing import dead_reasons, shard_numbers
from postman.entrypoints.cli.output import OUT, complain, moment, plain, print_json, print_table
from postman.entrypoints.cli.progress import ProgressOption, showing_progress
from postman.entrypoints.cli.setup import settings
from postman.entrypoints.cli.watching import Page, watch
from postman.entrypoints.logs import set_up_logs
from postman.entrypoints.operating.deadletters import drop_letters, opened_letters, replay_letters
from postman.entrypoints.operating.words import this_user
from postman.errors import ConfigError
from postman.runtime.deadletters import Choice, DeadLetter

__all__ = ["app"]

_EVERY: Final = 5.0
"""Seconds between two looks: each takes every letter into its hands for a moment."""
_LATEST: Final = 20

app = typer.Typer(help="Dead letters: mails that will not be sent unless you say so.", no_args_is_help=True)

_Ids = Annotated[list[str] | None, typer.Argument(metavar="ID…", help="Only these mails.")]
_Reason = Annotated[
    str, typer.Option(help="Only letters with this reason, like refused or expired.", autocompletion=dead_reasons)
]
_Shard = Annotated[int | None, typer.Option(help="Only this shard.", min=0, autocompletion=shard_numbers)]
_Json = Annotated[bool, typer.Option("--json", help="Print a JSON line for each.")]
_All = Annotated[bool, typer.Option("--all", help="All of them: needed where nothing else is chosen.")]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command("list")
def list_letters(
    *,
    reason: _Reason = "",
    shard: _Shard = None,
    json: _Json = False,
    watched: Annotated[
        bool, typer.Option("--watch", help="Count them by reason every five seconds until Ctrl-C.")
    ] = False,
) -> None:
    """List the dead letters, oldest first."""
    chosen, choice = _settings(), Choice(reason=reason, shard=shard)
    if watched:
        asyncio.run(_watch(chosen, choice, json=json))
        return
    letters = asyncio.run(_find(chosen, choice))
    if json:
        for letter in letters:
            print_json(_document(letter))
        return
    print_table(_table(letters))
    OUT.print(f"{len(letters)} dead letters")


@app.command("show")
def show_letter(
    mail_id: Annotated[str, typer.Argument(metavar="ID")],
    *,
    content: Annotated[bool, typer.Option("--content", help="Print the original bytes too: personal data.")] = False,
    json: _Json = False,
) -> None:
    """Show one dead letter. Exit status 1 if there is none with this id."""
    letters = asyncio.run(_find(_settings(), Choice(ids=frozenset({mail_id}))))
    if not letters:
        complain(f"{mail_id}: no dead letter has this id")
        sys.exit(1)
    for letter in letters:
        body = letter.message.data.decode(errors="replace")
        if json:
            print_json(_document(letter) | ({"content": body} if content else {}))
            continue
        for name, value in _document(letter).items():
            OUT.print(f"{name:10}{plain(str(value))}")
        if content:
            OUT.print(plain(body, lines=True))


@app.command()
def replay(
    ids: _Ids = None,
    *,
    reason: _Reason = "",
    shard: _Shard = None,
    all_: _All = False,
    yes: _Yes = False,
    because: Annotated[str, typer.Option(help="Why, for the mail's history.")] = "",
    json: _Json = False,
    progress: ProgressOption = False,
) -> None:
    """Send dead letters back to their shards. A mail that was sent after all is not sent again."""
    choice = _choice(ids, reason, shard, all_=all_)
    _confirm("Send these dead letters again?", yes=yes)
    with showing_progress("replaying", json=json, lines=progress) as told:
        replayed = asyncio.run(replay_letters(_settings(), choice, by=this_user(), why=because, told=told))
    if json:
        print_json({"published": replayed.published, "already_sent": replayed.already_sent, "held": replayed.held})
    else:
        OUT.print(f"{replayed.published} sent back to their shards, {replayed.already_sent} had been sent already")
        if replayed.held:
            OUT.print(f"{replayed.held} are being dead-lettered at this moment: try again in a minute")
    _end(ids, replayed.published + replayed.already_sent + replayed.held)


@app.command()
def drop(
    ids: _Ids = None,
    *,
    reason: _Reason = "",
    shard: _Shard = None,
    all_: _All = False,
    yes: _Yes = False,
    json: _Json = False,
    progress: ProgressOption = False,
    because: Annotated[str, typer.Option(help="Why, for the mail's history.")] = "",
) -> None:
    """Remove dead letters for good."""
    choice = _choice(ids, reason, shard, all_=all_)
    _confirm("Remove these dead letters for good?", yes=yes)
    with showing_progress("dropping", json=json, lines=progress) as told:
        count = asyncio.run(drop_letters(_settings(), choice, by=this_user(), why=because, told=told))
    if json:
        print_json({"dropped": count})
    else:
        OUT.print(f"{count} removed")
    _end(ids, count)


def _settings() -> Settings:
    chosen = settings()
    set_up_logs(chosen.log_level)
    return chosen


async def _find(chosen: Settings, choice: Choice) -> Sequence[DeadLetter]:
    async with opened_letters(chosen, choice.shard) as letters:
        return await letters.find(choice)


async def _watch(chosen: Settings, choice: Choice, *, json: bool) -> None:
    async with opened_letters(chosen, choice.shard) as letters:
        look = partial(letters.find, choice)
        await watch(await look(), look, page=_page, document=_counted, json=json, every=_EVERY)


def _page(letters: Sequence[DeadLetter], problem: str) -> Page:
    """Return the reasons with their numbers, and the latest letters."""
    alarm = [f"[bold red]out of date:[/] {plain(problem)}"] if problem else []
    reasons = ", ".join(f"{plain(reason)} {count}" for reason, count in _reasons(letters).items())
    latest = [_table(letters[-_LATEST:])] if letters else []
    return [*alarm, f"{len(letters)} dead letters{f': {reasons}' if reasons else ''}", *latest]


def _table(letters: Sequence[DeadLetter]) -> Table:
    table = Table("id", "shard", "reason", "since (UTC)", "bytes", "detail", box=None, pad_edge=False)
    for letter in letters:
        table.add_row(
            plain(letter.mail_id or "(none)"),
            str(letter.shard),
            plain(letter.reason),
            moment(letter.dead_at),
            str(letter.size),
            plain(letter.detail),
        )
    return table


def _counted(letters: Sequence[DeadLetter], problem: str) -> dict[str, object]:
    return {"total": len(letters), "reasons": _reasons(letters), "problem": problem}


def _reasons(letters: Sequence[DeadLetter]) -> dict[str, int]:
    return dict(Counter(letter.reason for letter in letters).most_common())


def _choice(ids: list[str] | None, reason: str, shard: int | None, *, all_: bool) -> Choice:
    if not (ids or reason or shard is not None or all_):
        raise ConfigError("say which dead letters: ids, --reason, --shard, or --all")
    return Choice(frozenset(ids or ()), reason, shard)


def _confirm(question: str, *, yes: bool) -> None:
    if yes:
        return
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:
        complain("nobody answered; --yes goes on without asking")
        raise typer.Exit(1) from None
    if not agreed:
        raise typer.Exit(1)


def _end(ids: list[str] | None, found: int) -> None:
    """Fail where not all that were named were there."""
    missing = len(set(ids or ())) - found
    if missing > 0:
        complain(f"{missing} of these ids have no dead letter" if found else "no dead letter has any of these ids")
        raise typer.Exit(1)


def _document(letter: DeadLetter) -> dict[str, object]:
    return {
        "id": letter.mail_id,
        "shard": letter.shard,
        "reason": letter.reason,
        "detail": letter.detail,
        "dead_at": letter.dead_at,
        "attempt": letter.attempt,
        "bytes": letter.size,
        "copies": len(letter.copies),
    }
