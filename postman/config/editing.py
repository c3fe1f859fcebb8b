"""Changes of the providers' document, made in its text so that comments and order stay as its owner wrote them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import ParseError, TOMLKitError
from tomlkit.items import AoT, Table

from postman.config.providers import ProviderEntry
from postman.errors import ConfigError

__all__ = ["add_provider", "change_provider", "check_accounts", "remove_provider", "text_of_seed"]

_TABLES: Final = "provider"


def add_provider(text: str, fields: Mapping[str, object]) -> str:
    """Return *text* with one more provider at its end, in the order of *fields*."""
    document, tables = _read(text if text.endswith("\n") else f"{text}\n" if text else "")
    if any(table.get("name") == fields["name"] for table in tables):
        raise ConfigError(f"provider {fields['name']}: is there already; `postman providers set` changes it")
    table = tomlkit.table()
    table.update(fields)
    tables.append(table)
    document[_TABLES] = tables
    return tomlkit.dumps(document)


def change_provider(text: str, name: str, fields: Mapping[str, object]) -> str:
    """Return *text* with *fields* of the provider called *name* changed; a field that is None is taken out."""
    document, tables = _read(text)
    table = _find(tables, name)
    for field, value in fields.items():
        if value is None:
            table.pop(field, None)
        else:
            table[field] = value
    return tomlkit.dumps(document)


def remove_provider(text: str, name: str) -> str:
    """Return *text* without the provider called *name*."""
    document, tables = _read(text)
    tables.remove(_find(tables, name))
    return tomlkit.dumps(document)


def check_accounts(before: Sequence[ProviderEntry], after: Sequence[ProviderEntry]) -> None:
    """Return if each provider that stays keeps its account: nothing differs but keys and how it is used.

    Mails in doubt are asked for by their provider's name. Another account knows nothing of them, which would be taken
    for evidence, and they would be sent a second time. `ConfigError` names the first field that differs.
    """
    accounts = {entry.spec.name: _account(entry) for entry in before}
    for entry in after:
        was, now = accounts.get(entry.spec.name), _account(entry)
        if was is None or was == now:
            continue
        field = next(field for field in {**now, **was} if now.get(field) != was.get(field))
        raise ConfigError(
            f"{entry.place}: {field}: is another account: mails that are in doubt would be asked for there; "
            "add it under another name and disable this one (or, where it is the same account, --same-account)"
        )


def text_of_seed(seed: str, place: str) -> str:
    """Return as TOML the JSON object *seed*, as Terraform's `jsonencode` writes it; `ConfigError` names *place*."""
    try:
        found = json.loads(seed)
    except ValueError as error:
        raise ConfigError(f"{place}: is no JSON: {error}") from None
    tables = found.get(_TABLES) if isinstance(found, dict) else None
    if not isinstance(tables, list) or not tables or not all(isinstance(each, dict) for each in tables):
        raise ConfigError(f'{place}: must be an object like {{"provider": [{{"name": …, "kind": …}}]}}')
    given = [{name: value for name, value in each.items() if value is not None} for each in tables]
    try:
        return tomlkit.dumps({**found, _TABLES: given})
    except TOMLKitError:
        raise ConfigError(f"{place}: null may stand only for a field of a provider that is left out") from None


def _account(entry: ProviderEntry) -> dict[str, str]:
    return {"kind": entry.spec.kind, "base_url": entry.spec.base_url, **entry.spec.options}


def _read(text: str) -> tuple[tomlkit.TOMLDocument, AoT]:
    """Return what *text* holds. What is wrong is told by its place alone: the words of the reader may show a key."""
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        where = f"line {error.line}, column {error.col}" if isinstance(error, ParseError) else "it is no TOML"
        raise ConfigError(f"the providers' document cannot be read: {where}") from None
    tables = document.get(_TABLES, tomlkit.aot())
    if not isinstance(tables, AoT):
        raise ConfigError(
            "the providers' document cannot be changed in its text: its providers are not written as "
            "[[provider]] tables; write them so, by `postman providers replace`"
        )
    return document, tables


def _find(tables: AoT, name: str) -> Any:
    table: Table | None = next((table for table in tables if table.get("name") == name), None)
    if table is None:
        known = ", ".join(str(table.get("name")) for table in tables) or "none"
        raise ConfigError(f"there is no provider {name!r}; the document has {known}")
    return table
