"""The providers' document.

A TOML file with one `[[provider]]` table for each. Keys are references, never
values: `env:NAME` or `file:PATH`. The document is read as a whole: one mistake
refuses it, naming the provider and the field.
"""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from postman.errors import ConfigError
from postman.ports.opening import ProviderSpec

__all__ = ["Keys", "ProviderEntry", "read_providers"]

_Seconds = Annotated[float, Field(gt=0, le=240, allow_inf_nan=False)]


class Keys(Enum):
    """Whose keys are read: nobody should hold what it does not need."""

    SENDING = "sending"
    """All of the providers that are enabled."""
    EVENTS = "events"
    """Those that prove events (options that end in `_key`); also of retired providers, whose events still come."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ProviderEntry:
    """One provider and its place in the traffic."""

    spec: ProviderSpec
    key_reference: str = field(repr=False)
    weight: float = 1.0
    enabled: bool = True
    rate: float | None = None
    concurrency: int | None = None


class _Table(BaseModel):
    model_config = ConfigDict(extra="allow", hide_input_in_errors=True, strict=False)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    kind: str = Field(min_length=1)
    api_key: str
    weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    enabled: bool = True
    base_url: str = ""
    timeout: _Seconds = 10.0
    rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    concurrency: int | None = Field(default=None, ge=1)
    look_up_after: float | None = Field(default=None, ge=0, allow_inf_nan=False)


_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE: Final = "must be a reference, env:NAME or file:PATH, never the key itself"


def read_providers(
    path: Path, environ: Mapping[str, str] = os.environ, *, keys: Keys = Keys.SENDING
) -> Sequence[ProviderEntry]:
    """Read the document at *path*, and of its keys what is needed; raises `ConfigError`."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"POSTMAN_PROVIDERS: cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    tables = document.pop("provider", [])
    if document:
        raise ConfigError(f"{path}: {next(iter(document))}: only [[provider]] tables are known here")
    if not isinstance(tables, list) or not tables:
        raise ConfigError(f"{path}: names no provider; it needs at least one [[provider]] table")
    entries = [_entry(table, number, path, environ, keys=keys) for number, table in enumerate(tables, 1)]
    _check_together(entries, path)
    return entries


def _entry(table: object, number: int, path: Path, environ: Mapping[str, str], *, keys: Keys) -> ProviderEntry:
    name = table.get("name") if isinstance(table, dict) else None
    where = f"{path}: provider {name if isinstance(name, str) else number}"
    try:
        read = _Table.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "table"
        raise ConfigError(f"{where}: {place}: {first['msg']}") from None
    sends = read.enabled and keys is Keys.SENDING
    spec = ProviderSpec(
        name=read.name,
        kind=read.kind,
        api_key=_secret(read.api_key, f"{where}: api_key", path, environ, is_needed=sends),
        base_url=read.base_url,
        timeout=read.timeout,
        look_up_after=read.look_up_after,
        options=_options(read, where, path, environ, is_needed=sends or keys is Keys.EVENTS),
    )
    return ProviderEntry(spec, read.api_key, read.weight, read.enabled, read.rate, read.concurrency)


def _options(read: _Table, where: str, path: Path, environ: Mapping[str, str], *, is_needed: bool) -> Mapping[str, str]:
    options: dict[str, str] = {}
    extra: Mapping[str, Any] = read.model_extra or {}
    for name, value in extra.items():
        if not isinstance(value, str):
            raise ConfigError(f"{where}: {name}: must be a string")
        is_key = name.endswith("_key")
        place = f"{where}: {name}"
        options[name] = (
            _secret(value, place, path, environ, is_needed=is_needed).get_secret_value() if is_key else value
        )
    return options


def _secret(reference: str, where: str, path: Path, environ: Mapping[str, str], *, is_needed: bool) -> SecretStr:
    kind, colon, rest = reference.partition(":")
    if not colon or not rest or kind not in ("env", "file", "secret"):
        raise ConfigError(f"{where}: {_REFERENCE}")
    if kind == "env" and not _VARIABLE.fullmatch(rest):
        raise ConfigError(f"{where}: what follows env: is no name of a variable; {_REFERENCE}")
    if not is_needed:
        return SecretStr("")
    if kind == "secret":
        raise ConfigError(f"{where}: secret: references are read on Google Cloud only; use env: or file: here")
    value = environ.get(rest, "") if kind == "env" else _file(rest, where, path)
    if not value.strip():
        missing = f"the environment variable {rest} is not set" if kind == "env" else f"the file {rest} is empty"
        raise ConfigError(f"{where}: {missing}")
    return SecretStr(value.strip())


def _file(name: str, where: str, path: Path) -> str:
    try:
        return (path.parent / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: cannot read the file {name}: {error.__class__.__name__}") from None


def _check_together(entries: Sequence[ProviderEntry], path: Path) -> None:
    names = [entry.spec.name for entry in entries]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{path}: provider {twice}: the name stands twice")
    if not any(entry.enabled for entry in entries):
        raise ConfigError(f"{path}: no provider is enabled")
