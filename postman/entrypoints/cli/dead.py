"""`postman dead`: dead letters, and what to do with them."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from rich.table import Table

from postman.config import Settings
from postman.entrypoints.cli.layouts import latest_layout
from postman.entrypoints.cli.output import ERR, OUT, complain, moment, plain, print_json, print_table
from postman.entrypoints.cli.setup import opened, settings
from postman.errors import ConfigError
from postman.runtime.deadletters import Choice, DeadLetter, DeadLetters

__all__ = ["app"]

_T = TypeVar("_T")

app = typer.Typer(help="Dead letters: mails that will not be sent unless you say so.", no_args_is_help=True)

_Ids = Annotated[list[str] | None, typer.Argument(metavar="ID…", help="Only these mails.")]
_Reason = Annotated[str, typer.Option(help="Only letters with this reason, like refused or expired.")]
_Shard = Annotated[int | None, typer.Option(help="Only this shard.", min=0)]
_Json = Annotated[bool, typer.Option("--json", help="Print a JSON line for each.")]
_All = Annotated[bool, typer.Option("--all", help="All of them: needed where nothing else is chosen.")]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command("list")
def list_letters(*, reason: _Reason = "", shard: _Shard = None, json: _Json = False) -> None:
    """List the dead letters, oldest first."""
    letters = _run(lambda dead: dead.find(Choice(reason=reason, shard=shard)), shard)
    if json:
        for letter in letters:
            print_json(_document(letter))
        return
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
    print_table(table)
    OUT.print(f"{len(letters)} dead letters")


@app.command("show")
def show_letter(
    mail_id: Annotated[str, typer.Argument(metavar="ID")],
    *,
    content: Annotated[bool, typer.Option("--content", help="Print the original bytes too: personal data.")] = False,
    json: _Json = False,
) -> None:
    """Show one dead letter. Exit status 1 if there is none with this id."""
    letters = _run(lambda dead: dead.find(Choice(ids=frozenset({mail_id}))))
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
    because: Annotated[str, typer.Option(help="Why, for the mail's history.")] = "replayed by an operator",
    json: _Json = False,
) -> None:
    """Send dead letters back to their shards. A mail that was sent after all is not sent again."""
    choice = _choice(ids, reason, shard, all_=all_)
    _confirm("Send these dead letters again?", yes=yes)
    with ERR.status("replaying") as status:
        count = 0

        def done() -> None:
            nonlocal count
            count += 1
            status.update(f"replaying: {count}")

        replayed = _run(lambda dead: dead.replay(choice, reason=because, done=done), shard)
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
) -> None:
    """Remove dead letters for good."""
    choice = _choice(ids, reason, shard, all_=all_)
    _confirm("Remove these dead letters for good?", yes=yes)
    count = _run(lambda dead: dead.drop(choice), shard)
    if json:
        print_json({"dropped": count})
    else:
        OUT.print(f"{count} removed")
    _end(ids, count)


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


def _run(work: Callable[[DeadLetters], Awaitable[_T]], shard: int | None = None) -> _T:
    return asyncio.run(_with_dead_letters(settings(), work, shard))


async def _with_dead_letters(chosen: Settings, work: Callable[[DeadLetters], Awaitable[_T]], shard: int | None) -> _T:
    layout = await latest_layout(chosen)
    if shard is not None and shard >= layout.top:
        raise ConfigError(f"--shard: there are {layout.top} shards, numbered from 0")
    async with opened(chosen) as (shards, ledger):
        return await work(DeadLetters(shards=shards, ledger=ledger, layout=layout))


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
