"""Changes of the providers' document, made in its text so that comments and order stay as its owner wrote them."""

import json
from collections.abc import Mapping
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Table

from postman.errors import ConfigError

__all__ = ["add_provider", "change_provider", "remove_provider", "text_of_seed"]

_TABLES: Final = "provider"


def add_provider(text: str, fields: Mapping[str, object]) -> str:
    """Return *text* with one more provider at its end, in the order of *fields*."""
    document, tables = _read(text)
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
    return tomlkit.dumps({**found, _TABLES: given})


def _read(text: str) -> tuple[tomlkit.TOMLDocument, AoT]:
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise ConfigError(f"the providers' document cannot be read: {error}") from None
    tables = document.get(_TABLES)
    return document, tables if isinstance(tables, AoT) else tomlkit.aot()


def _find(tables: AoT, name: str) -> Any:
    table: Table | None = next((table for table in tables if table.get("name") == name), None)
    if table is None:
        known = ", ".join(str(table.get("name")) for table in tables) or "none"
        raise ConfigError(f"there is no provider {name!r}; the document has {known}")
    return table
