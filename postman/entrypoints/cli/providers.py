"""`postman providers`: the providers' document, which all workers follow. Keys are never shown, only where they lie."""

import asyncio
import getpass
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import SecretStr
from rich.table import Table

from postman.config import API_KEY, ProviderEntry, Settings, parse_providers
from postman.config.editing import add_provider, change_provider, check_accounts, remove_provider
from postman.core.document import Document
from postman.entrypoints.cli.output import ERR, OUT, moment, plain, print_json, print_table, without_password
from postman.entrypoints.cli.setup import checked_why, settings
from postman.errors import ConfigError, DocumentChangedError
from postman.wiring import Keys, check_providers, open_documents, place_of, provider_entries

__all__ = ["app"]

_TRIES: Final = 5
_NUMBERS: Final = frozenset({"weight", "timeout", "rate", "look_up_after"})
_UNREAD: Final = SecretStr("unread")

app = typer.Typer(help="The providers and their share of the traffic.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print a JSON line for each.")]
_Name = Annotated[str, typer.Argument(metavar="NAME", help="The provider's name in the document.")]
_Why = Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the change, where a store keeps the document.")]
_SameAccount = Annotated[
    bool, typer.Option("--same-account", help="Allow another address or domain: it is the same account all the same.")
]
_Fields = Annotated[
    list[str] | None,
    typer.Argument(metavar="FIELD=VALUE…", help="Fields of the document, like timeout=5; FIELD= takes one out."),
]


@app.callback()
def providers() -> None:
    """The providers and their share of the traffic."""


@app.command("list")
def list_providers(*, json: _Json = False) -> None:
    """List the providers of the document, after checking all of it. Keys are never shown.

    Where the document is a file the keys are looked for too; where it is in a store, they are the workers' to read.
    """
    entries = asyncio.run(_checked_entries(settings()))
    if json:
        for entry in entries:
            print_json(_document(entry))
        return
    table = Table("name", "kind", "enabled", "weight", "timeout", "rate", "in flight", "key", box=None, pad_edge=False)
    for entry in entries:
        table.add_row(
            plain(entry.spec.name),
            plain(entry.spec.kind),
            "yes" if entry.enabled else "no",
            f"{entry.weight:g}",
            f"{entry.spec.timeout:g} s",
            f"{entry.rate:g}/s" if entry.rate else "-",
            str(entry.concurrency or "-"),
            plain(entry.references[API_KEY]),
        )
    print_table(table)


@app.command()
def show() -> None:
    """Print the document's text, to be edited and given to `replace`; its number stands on stderr, for `--from`."""
    document = asyncio.run(_read(settings()))
    sys.stdout.write(document.text)
    ERR.print(f"this is number {document.number}: `postman providers replace FILE --from {document.number}`")


@app.command()
def history(*, json: _Json = False) -> None:
    """List who changed the document when, the latest last. A file has no history: version control keeps it."""
    changes = asyncio.run(_read(settings())).changes
    if json:
        for change in changes:
            print_json({"number": change.number, "by": change.by, "at": change.at, "what": change.what})
        return
    table = Table("number", "when (UTC)", "who", "what", box=None, pad_edge=False)
    for change in changes:
        table.add_row(str(change.number), moment(change.at), plain(change.by), plain(change.what))
    print_table(table)


@app.command()
def add(
    name: _Name,
    *,
    kind: Annotated[str, typer.Option(help="Which adapter: sendgrid, mailgun, or one that is installed.")],
    api_key: Annotated[str, typer.Option(metavar="REFERENCE", help="env:NAME, file:PATH or secret:NAME.")],
    weight: Annotated[float, typer.Option(help="Its share of the traffic, against those of the others.")] = 1.0,
    fields: _Fields = None,
    why: _Why = "",
) -> None:
    """Add a provider, to get mails within seconds."""
    given = {"name": name, "kind": kind, "weight": weight, "api_key": api_key, **_read_fields(fields or ())}
    kept = {field: value for field, value in given.items() if value is not None}
    _change(f"add {name}", why, lambda text: add_provider(text, kept))


@app.command("set")
def set_fields(name: _Name, fields: _Fields = None, *, same_account: _SameAccount = False, why: _Why = "") -> None:
    """Change fields of a provider, its key's reference among them."""
    changed = _read_fields(fields or ())
    if not changed:
        raise ConfigError("there is nothing to change: name fields, like timeout=5")
    told = ", ".join(changed)
    _change(f"set {told} of {name}", why, lambda text: change_provider(text, name, changed), same_account=same_account)


@app.command()
def enable(name: _Name, *, why: _Why = "") -> None:
    """Let a provider get mails again."""
    _change(f"enable {name}", why, lambda text: change_provider(text, name, {"enabled": True}))


@app.command()
def disable(name: _Name, *, why: _Why = "") -> None:
    """Retire a provider: it gets no more mails, finishes what it has, and is asked about those in doubt."""
    _change(f"disable {name}", why, lambda text: change_provider(text, name, {"enabled": False}))


@app.command()
def weight(name: _Name, share: Annotated[float, typer.Argument(metavar="WEIGHT")], *, why: _Why = "") -> None:
    """Change a provider's share of the traffic, against those of the others."""
    _change(f"weight {share:g} for {name}", why, lambda text: change_provider(text, name, {"weight": share}))


@app.command()
def remove(name: _Name, *, why: _Why = "") -> None:
    """Take a provider out of the document. Better disable it first: a removed one can settle no doubt."""
    _change(f"remove {name}", why, lambda text: remove_provider(text, name))


@app.command("replace")
def replace_document(
    file: Annotated[Path, typer.Argument(metavar="FILE", allow_dash=True, help="The document; -: standard input.")],
    *,
    number: Annotated[
        int | None,
        typer.Option("--from", metavar="NUMBER", help="Only in the place of this one, as `show` told its number."),
    ] = None,
    same_account: _SameAccount = False,
    why: _Why = "",
) -> None:
    """Put a whole document in the place of the one that is there, or make the first one."""
    text = sys.stdin.read() if str(file) == "-" else _text_of(file)
    parse_providers(text, str(file))
    _change(f"replace by {file.name}", why, lambda _: text, only=number, same_account=same_account)


@app.command()
def reread(*, why: _Why = "") -> None:
    """Let all workers read the keys anew at once: a new version of a secret is otherwise found within a minute."""
    chosen = settings()
    if not asyncio.run(_read(chosen)).changes:
        raise ConfigError("the document is a file: touch nothing, its keys are read anew within a minute")
    _change("read the keys anew", why, lambda text: text)


def _change(
    what: str, why: str, edit: Callable[[str], str], *, only: int | None = None, same_account: bool = False
) -> None:
    chosen = settings()
    told = f"{what}: {checked_why(why)}" if why else what
    latest, changed = asyncio.run(_apply(chosen, told, edit, only=only, same_account=same_account))
    done = "changed" if latest.number else "made"
    number = f"; it is number {changed.number}" if latest.changes else ""
    where = plain(without_password(chosen.providers))
    OUT.print(f"{done} the providers' document in {where}{number}; workers follow within seconds (`postman status`)")


async def _apply(
    chosen: Settings, what: str, edit: Callable[[str], str], *, only: int | None, same_account: bool
) -> tuple[Document, Document]:
    """Change the document, and again where somebody else came before; nothing is put there that is wrong anywhere.

    Returns the one before and the one that was made. Where the one before is not number *only*, nothing is changed.
    """
    async with aclosing(open_documents(chosen)) as documents:
        await documents.ensure()
        for _ in range(_TRIES):
            latest = await documents.read() or Document()
            if only not in (None, latest.number):
                raise DocumentChangedError(
                    f"--from {only}: the document is number {latest.number} by now: look at it again, by "
                    "`postman providers show`, and make your change in that one"
                )
            text = await _checked(edit(latest.text), latest, place_of(chosen), same_account=same_account)
            changed = latest.change(text, by=_who(), at=time.time(), what=what)
            try:
                await documents.change(changed)
            except DocumentChangedError as error:
                problem = error
            else:
                return latest, changed
        raise problem


async def _checked(text: str, latest: Document, place: str, *, same_account: bool) -> str:
    entries = parse_providers(text, place)
    await check_providers([_as_if_keyed(entry) for entry in entries])
    try:
        before = parse_providers(latest.text, place)
    except ConfigError:
        before = ()
    if not same_account:
        check_accounts(before, entries)
    return text


async def _checked_entries(chosen: Settings) -> Sequence[ProviderEntry]:
    async with aclosing(open_documents(chosen)) as documents:
        in_store = bool((await documents.read() or Document()).changes)
    entries = await provider_entries(chosen, os.environ, keys=Keys.NONE if in_store else Keys.SENDING)
    await check_providers([_as_if_keyed(entry) if in_store else entry for entry in entries])
    return entries


async def _read(chosen: Settings) -> Document:
    async with aclosing(open_documents(chosen)) as documents:
        document = await documents.read()
    if document is None:
        raise ConfigError(
            f"there is no document of providers in {place_of(chosen)} yet: `postman providers replace FILE`"
        )
    return document


def _as_if_keyed(entry: ProviderEntry) -> ProviderEntry:
    """A change is made from a machine that need not reach the keys: workers keep what they have if one is missing."""
    return replace(entry.with_keys(dict.fromkeys(entry.references, _UNREAD)), enabled=True)


def _read_fields(given: Sequence[str]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for position, each in enumerate(given, 1):
        name, sign, value = each.partition("=")
        if not sign or not name:
            raise ConfigError(f"field {position}: is not given as FIELD=VALUE")
        if name == "name":
            raise ConfigError("name: stays what it is; add another provider and disable this one")
        fields[name] = _value_of(name, value)
    return fields


def _value_of(name: str, value: str) -> object:
    if not value:
        return None
    try:
        if name in _NUMBERS:
            return float(value)
        if name == "concurrency":
            return int(value)
    except ValueError:
        raise ConfigError(f"{name}: must be a number") from None
    if name == "enabled":
        return {"true": True, "false": False}.get(value, value)
    return value


def _who() -> str:
    """Name the one who makes a change as this machine knows him; on the platform that is its account."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"cannot read {file}: {problem}") from None


def _document(entry: ProviderEntry) -> dict[str, object]:
    return {
        "name": entry.spec.name,
        "kind": entry.spec.kind,
        "enabled": entry.enabled,
        "weight": entry.weight,
        "timeout": entry.spec.timeout,
        "rate": entry.rate,
        "concurrency": entry.concurrency,
        "look_up_after": entry.spec.look_up_after,
        "base_url": without_password(entry.spec.base_url),
        "api_key": entry.references[API_KEY],
    }
