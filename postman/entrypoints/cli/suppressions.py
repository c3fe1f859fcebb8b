"""`postman suppressions`: addresses that get no more mail. The list knows no address, only keys of them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer
from rich.table import Table

from postman.core.suppression import Suppression, SuppressionReason
from postman.entrypoints.cli.addressees import SHOWN, Addressee, addressees, whole
from postman.entrypoints.cli.output import OUT, complain, moment, plain, print_json, print_table
from postman.entrypoints.cli.setup import settings
from postman.entrypoints.operating.suppressions import (
    AT_ONCE,
    opened_suppressions,
    standing_suppressions,
    suppress,
)
from postman.ports.suppressions import Suppressions

__all__ = ["app"]

_T = TypeVar("_T")

app = typer.Typer(
    help="Addresses that get no more mail: they bounced for good, complained, or were added here.", no_args_is_help=True
)

_Who = Annotated[
    str,
    typer.Argument(
        metavar="ADDRESS", help="An address, or its key as `list` shows it; -: read them, one on each line."
    ),
]
_Address = Annotated[str, typer.Argument(metavar="ADDRESS", help="An address; -: read them, one on each line.")]
_Json = Annotated[bool, typer.Option("--json", help="Print a JSON line for each.")]
_Reason = Annotated[SuppressionReason | None, typer.Option(help="Only those with this reason.")]
_Since = Annotated[
    datetime | None,
    typer.Option(help="Only those that are there since this moment (UTC).", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
]
_Days = Annotated[float | None, typer.Option("--for", metavar="DAYS", help="For how long; otherwise for good.")]
_Why = Annotated[str, typer.Option(metavar="TEXT", help="Why; without addresses.")]


@app.command("list")
def list_suppressions(*, reason: _Reason = None, since: _Since = None, json: _Json = False) -> None:
    """List who gets no mail at present, oldest first; by their keys, since nobody knows the addresses."""
    earliest = since.replace(tzinfo=UTC).timestamp() if since else 0.0
    found = [
        each
        for each in _run(lambda store: standing_suppressions(store, time.time()))
        if each.since >= earliest and (reason is None or each.reason is reason)
    ]
    if json:
        for each in found:
            print_json(_document(each))
        return
    table = Table("key", "reason", "provider", "since (UTC)", "until (UTC)", "mail", "why", box=None, pad_edge=False)
    for each in found:
        times = moment(each.since), _end(each)
        texts = (each.key[:SHOWN], str(each.reason), each.provider, *times, each.mail_id, each.detail)
        table.add_row(*map(plain, texts))
    print_table(table)
    OUT.print(f"{len(found)} addresses")


@app.command()
def show(who: _Who, *, json: _Json = False) -> None:
    """Show what the list has of an address. Exit status 1 if it gets mail: not there, expired or lifted."""
    found = _for_each(who, _find)
    now = time.time()
    for addressee, suppression in found:
        if json:
            print_json(_document(suppression, now) if suppression else {"key": addressee.key, "suppressed": False})
        elif suppression is None:
            complain(f"{addressee} is not on the list")
        else:
            _print(suppression, now)
    _fail_unless(is_done=all(each is not None and each.holds_at(now) for _, each in found))


@app.command()
def add(address: _Address, *, days: _Days = None, why: _Why = "", json: _Json = False) -> None:
    """Send no more mail to an address. One that is there for longer already stays as it is."""
    now = time.time()
    named = addressees(address, keys=False)
    standing = _run(lambda store: suppress(store, [each.key for each in named], now=now, days=days, why=why))
    for addressee, stands in zip(named, standing, strict=True):
        if json:
            print_json(_document(stands))
        elif stands.since == now:
            OUT.print(f"{addressee} gets no mail until {_end(stands)}" if days else f"{addressee} gets no mail")
        else:
            OUT.print(f"{addressee} is there already: {plain(_told(stands))}")


@app.command()
def lift(who: _Who, *, json: _Json = False) -> None:
    """Take an address off the list, so that it gets mail again. Exit status 1 if it is not there.

    Workers hear of it within five seconds. `postman dead replay --reason suppressed` sends what was refused meanwhile.
    """
    lifted = _for_each(who, lambda store, addressee: store.lift(addressee.key))
    for addressee, stood in lifted:
        if json:
            print_json((_document(stood) if stood else {"key": addressee.key}) | {"lifted": stood is not None})
        elif stood is None:
            complain(f"{addressee} is not on the list")
        else:
            OUT.print(f"{addressee} gets mail again; it was there {plain(_told(stood))}")
    _fail_unless(is_done=all(stood is not None for _, stood in lifted))


def _for_each(text: str, action: Callable[[Suppressions, Addressee], Awaitable[_T]]) -> Sequence[tuple[Addressee, _T]]:
    """Return what *action* says of each addressee that *text* names, in order."""
    named = addressees(text, keys=True)

    async def work(store: Suppressions) -> Sequence[tuple[Addressee, _T]]:
        known = await whole(named, store)
        places = asyncio.Semaphore(AT_ONCE)

        async def act(addressee: Addressee) -> _T:
            async with places:
                return await action(store, addressee)

        return list(zip(known, await asyncio.gather(*map(act, known)), strict=True))

    return _run(work)


async def _find(store: Suppressions, addressee: Addressee) -> Suppression | None:
    return await store.find(addressee.key)


def _run(work: Callable[[Suppressions], Awaitable[_T]]) -> _T:
    chosen = settings()

    async def within() -> _T:
        async with opened_suppressions(chosen) as store:
            return await work(store)

    return asyncio.run(within())


def _end(suppression: Suppression) -> str:
    return "for good" if suppression.expires_at is None else moment(suppression.expires_at)


def _told(suppression: Suppression) -> str:
    """Return in words why and since when it is there."""
    at = f" at {suppression.provider}" if suppression.provider else ""
    until = "for good" if suppression.expires_at is None else f"until {moment(suppression.expires_at)}"
    return f"since {moment(suppression.since)}, {until} (UTC): {suppression.reason}{at}"


def _state(suppression: Suppression, now: float) -> str:
    if suppression.is_lifted:
        return "gets mail: it was lifted"
    return "gets no mail" if suppression.holds_at(now) else "gets mail: it expired"


def _print(suppression: Suppression, now: float) -> None:
    OUT.print(f"[bold]{suppression.key}[/] {_state(suppression, now)}")
    for name, value in (
        ("lifted" if suppression.is_lifted else "since", f"{moment(suppression.since)} UTC"),
        ("until", "" if suppression.is_lifted else _end(suppression)),
        ("reason", str(suppression.reason)),
        ("provider", suppression.provider),
        ("mail", suppression.mail_id),
        ("why", suppression.detail),
    ):
        if value:
            OUT.print(f"  {name:10}{plain(value)}")


def _document(suppression: Suppression, now: float | None = None) -> dict[str, object]:
    """Return what is there, and with *now* whether it holds then."""
    document: dict[str, object] = {
        "key": suppression.key,
        "reason": str(suppression.reason),
        "provider": suppression.provider,
        "since": suppression.since,
        "expires_at": suppression.expires_at,
        "mail_id": suppression.mail_id,
        "detail": suppression.detail,
    }
    if now is not None:
        document |= {"suppressed": suppression.holds_at(now), "lifted": suppression.is_lifted}
    return document


def _fail_unless(*, is_done: bool) -> None:
    if not is_done:
        raise typer.Exit(1)
