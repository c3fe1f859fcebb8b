"""`postman providers`: the providers' document, which all workers follow. Keys are never shown, only where they lie."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from postman.config import API_KEY, ProviderEntry
from postman.config.providers import Breaker
from postman.entrypoints.cli.completing import fields_of_providers, provider_names
from postman.entrypoints.cli.output import ERR, OUT, complain, moment, plain, print_json, print_table, without_password
from postman.entrypoints.cli.setup import settings
from postman.entrypoints.operating.providers import (
    Edit,
    adding,
    change_providers,
    checked_entries,
    enabling,
    forcing,
    read_document,
    removing,
    replacing,
    rereading,
    setting,
    weighing,
)
from postman.entrypoints.operating.words import this_user
from postman.errors import ConfigError

__all__ = ["app"]

_NUMBERS: Final = frozenset({"weight", "timeout", "rate", "look_up_after"})

app = typer.Typer(help="The providers and their share of the traffic.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print a JSON line, for each where there are several.")]
_NewName = Annotated[str, typer.Argument(metavar="NAME", help="The provider's name in the document.")]
_Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The provider's name in the document.", autocompletion=provider_names),
]
_Why = Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the change, where a store keeps the document.")]
_SameAccount = Annotated[
    bool, typer.Option("--same-account", help="Allow another address or domain: it is the same account all the same.")
]
_Fields = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FIELD=VALUE…",
        help="Fields of the document, like timeout=5; FIELD= takes one out.",
        autocompletion=fields_of_providers,
    ),
]


@app.callback()
def providers() -> None:
    """The providers and their share of the traffic."""


@app.command("list")
def list_providers(*, json: _Json = False) -> None:
    """List the providers of the document, after checking all of it. Keys are never shown.

    Where the document is a file the keys are looked for too; where it is in a store, they are the workers' to read.
    """
    entries = asyncio.run(checked_entries(settings()))
    if json:
        for entry in entries:
            print_json(_document(entry))
        return
    names = ("name", "kind", "enabled", "weight", "breaker", "timeout", "rate", "in flight", "key")
    table = Table(*names, box=None, pad_edge=False)
    for entry in entries:
        table.add_row(
            plain(entry.spec.name),
            plain(entry.spec.kind),
            "yes" if entry.enabled else "no",
            f"{entry.weight:g}",
            "auto" if entry.breaker == "auto" else f"[bold yellow]forced {entry.breaker}[/]",
            f"{entry.spec.timeout:g} s",
            f"{entry.rate:g}/s" if entry.rate else "-",
            str(entry.concurrency or "-"),
            plain(entry.references[API_KEY]),
        )
    print_table(table)


@app.command()
def show() -> None:
    """Print the document's text, to be edited and given to `replace`; its number stands on stderr, for `--from`."""
    document = asyncio.run(read_document(settings()))
    sys.stdout.write(document.text)
    ERR.print(f"this is number {document.number}: `postman providers replace FILE --from {document.number}`")


@app.command()
def history(*, json: _Json = False) -> None:
    """List who changed the document when, the latest last. A file has no history: version control keeps it."""
    changes = asyncio.run(read_document(settings())).changes
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
    name: _NewName,
    *,
    kind: Annotated[str, typer.Option(help="Which adapter: sendgrid, mailgun, or one that is installed.")],
    api_key: Annotated[str, typer.Option(metavar="REFERENCE", help="env:NAME, file:PATH or secret:NAME.")],
    weight: Annotated[float, typer.Option(help="Its share of the traffic, against those of the others.")] = 1.0,
    fields: _Fields = None,
    why: _Why = "",
    json: _Json = False,
) -> None:
    """Add a provider, to get mails within seconds."""
    given = {"name": name, "kind": kind, "weight": weight, "api_key": api_key, **_read_fields(fields or ())}
    _change(adding(given), why, json=json)


@app.command("set")
def set_fields(
    name: _Name, fields: _Fields = None, *, same_account: _SameAccount = False, why: _Why = "", json: _Json = False
) -> None:
    """Change fields of a provider, its key's reference among them."""
    changed = _read_fields(fields or ())
    if not changed:
        raise ConfigError("there is nothing to change: name fields, like timeout=5")
    _change(setting(name, changed), why, same_account=same_account, json=json)


@app.command()
def enable(name: _Name, *, why: _Why = "", json: _Json = False) -> None:
    """Let a provider get mails again."""
    _change(enabling(name, enabled=True), why, json=json)


@app.command()
def disable(name: _Name, *, why: _Why = "", json: _Json = False) -> None:
    """Retire a provider: it gets no more mails, finishes what it has, and is asked about those in doubt."""
    _change(enabling(name, enabled=False), why, json=json)


@app.command()
def weight(
    name: _Name, share: Annotated[float, typer.Argument(metavar="WEIGHT")], *, why: _Why = "", json: _Json = False
) -> None:
    """Change a provider's share of the traffic, against those of the others."""
    _change(weighing(name, share), why, json=json)


@app.command()
def breaker(
    name: _Name,
    to: Annotated[Breaker, typer.Argument(metavar="auto|open|closed", help="Who decides over it, or how it is held.")],
    *,
    why: _Why = "",
    json: _Json = False,
) -> None:
    """Force a provider's breaker in all workers, or leave it to itself again (auto).

    open: it gets no mail, but finishes what it has, and is asked about those in doubt. closed: it gets its mails
    whatever becomes of them.
    """
    _change(forcing(name, to), why, json=json)


@app.command()
def remove(name: _Name, *, why: _Why = "", json: _Json = False) -> None:
    """Take a provider out of the document. Better disable it first: a removed one can settle no doubt."""
    _change(removing(name), why, json=json)


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
    json: _Json = False,
) -> None:
    """Put a whole document in the place of the one that is there, or make the first one."""
    text = sys.stdin.read() if str(file) == "-" else _text_of(file)
    _change(replacing(text, str(file)), why, only=number, same_account=same_account, json=json)


@app.command()
def reread(*, why: _Why = "", json: _Json = False) -> None:
    """Let all workers read the keys anew at once: a new version of a secret is otherwise found within a minute."""
    chosen = settings()
    if not asyncio.run(read_document(chosen)).changes:
        raise ConfigError("the document is a file: touch nothing, its keys are read anew within a minute")
    _change(rereading(), why, json=json)


def _change(edit: Edit, why: str, *, json: bool, only: int | None = None, same_account: bool = False) -> None:
    chosen = settings()
    change = change_providers(chosen, edit, by=this_user(), why=why, only=only, same_account=same_account)
    changed = asyncio.run(change)
    if json:
        made = changed.after.number if changed.before.changes else None
        print_json({"number": made, "what": edit.what, "warning": changed.warning})
        return
    done = "changed" if changed.before.number else "made"
    number = f"; it is number {changed.after.number}" if changed.before.changes else ""
    where = plain(without_password(chosen.providers))
    OUT.print(f"{done} the providers' document in {where}{number}; workers follow within seconds (`postman status`)")
    if changed.warning:
        complain(changed.warning)


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
        "breaker": entry.breaker,
        "timeout": entry.spec.timeout,
        "rate": entry.rate,
        "concurrency": entry.concurrency,
        "look_up_after": entry.spec.look_up_after,
        "base_url": without_password(entry.spec.base_url),
        "api_key": entry.references[API_KEY],
    }
