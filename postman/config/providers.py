"""The providers' document.

TOML with one `[[provider]]` table for each. Keys are references, never values:
`env:NAME`, `file:PATH` or `secret:NAME`. The document is read as a whole: one
mistake refuses it, naming the line, the provider and the field.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from postman.config.lines import line_of
from postman.errors import ConfigError
from postman.ports.opening import ProviderSpec

__all__ = ["API_KEY", "BREAKERS", "Breaker", "ProviderEntry", "parse_providers"]

API_KEY: Final = "api_key"
"""The field of the key that a provider's mails are sent with."""

Breaker = Literal["auto", "open", "closed"]
"""Who decides over a provider's breaker: what becomes of its mails, or a person, who holds it open or closed."""

BREAKERS: Final[tuple[str, ...]] = get_args(Breaker)

_Seconds = Annotated[float, Field(gt=0, le=240, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class ProviderEntry:
    """One provider and its place in the traffic."""

    spec: ProviderSpec
    """Without keys, until they were read: see `with_keys`."""
    references: Mapping[str, str] = field(repr=False)
    """Where its keys lie, by the field that names each: `api_key`, and options that end in `_key`."""
    place: str
    """The document, the line and the provider, to begin a complaint with."""
    key_places: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The same with the line of each key's field."""
    weight: float = 1.0
    enabled: bool = True
    rate: float | None = None
    concurrency: int | None = None
    breaker: Breaker = "auto"
    """`open`: it gets no mails, but finishes what it has, and is asked about doubts; `closed`: it gets them whatever
    becomes of them."""

    def with_keys(self, keys: Mapping[str, SecretStr]) -> "ProviderEntry":
        """Return the same with *keys* in the places of their fields."""
        options = {name: value.get_secret_value() for name, value in keys.items() if name != API_KEY}
        spec = replace(
            self.spec,
            api_key=keys.get(API_KEY, self.spec.api_key),
            options={**self.spec.options, **options},
        )
        return replace(self, spec=spec)

    def is_like(self, other: "ProviderEntry") -> bool:
        """Whether nothing differs but the lines on which they stand."""
        return replace(self, place=other.place, key_places=other.key_places) == other


class _Table(BaseModel):
    model_config = ConfigDict(extra="allow", hide_input_in_errors=True, strict=False)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    kind: str = Field(min_length=1)
    api_key: str
    weight: float = Field(default=1.0, ge=0, le=1e6, allow_inf_nan=False)
    enabled: bool = True
    base_url: str = ""
    timeout: _Seconds = 10.0
    rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    concurrency: int | None = Field(default=None, ge=1)
    breaker: Breaker = "auto"
    look_up_after: float | None = Field(default=None, ge=0, allow_inf_nan=False)


_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KINDS_OF_KEYS: Final = frozenset({"env", "file", "secret"})
_REFERENCE: Final = "must be a reference, env:NAME, file:PATH or secret:NAME, never the key itself"


def parse_providers(text: str, place: str) -> Sequence[ProviderEntry]:
    """Return the providers in *text*, enabled or not, without their keys.

    Raises `ConfigError` for the first mistake, which names *place*.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{place}: {error}") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{place}: has a number of thousands of digits, or is nested too deeply") from None
    tables = document.pop("provider", [])
    if document:
        raise ConfigError(f"{place}: {next(iter(document))}: only [[provider]] tables are known here")
    if not isinstance(tables, list) or not tables:
        raise ConfigError(f"{place}: names no provider; it needs at least one [[provider]] table")
    entries = [_entry(table, number, text, place) for number, table in enumerate(tables)]
    _check_together(entries, place)
    return entries


def _entry(table: object, number: int, text: str, place: str) -> ProviderEntry:
    name = table.get("name") if isinstance(table, dict) else None
    whose = f"provider {name if isinstance(name, str) else number + 1}"

    def where(fault: str) -> str:
        line = line_of(text, number, fault)
        return f"{place}: line {line}: {whose}" if line else f"{place}: {whose}"

    try:
        read = _Table.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        fault = ".".join(map(str, first["loc"])) or "table"
        raise ConfigError(f"{where(fault)}: {fault}: {first['msg']}") from None
    options = _options(read)
    references = {API_KEY: read.api_key, **{name: options.pop(name) for name in list(options) if name.endswith("_key")}}
    for fault, value in {**references, **options}.items():
        if problem := _problem(value, is_key=fault in references):
            raise ConfigError(f"{where(fault)}: {fault}: {problem}")
    spec = ProviderSpec(
        name=read.name,
        kind=read.kind,
        api_key=SecretStr(""),
        base_url=read.base_url,
        timeout=read.timeout,
        look_up_after=read.look_up_after,
        options=options,
    )
    return ProviderEntry(
        spec=spec,
        references=references,
        place=where("name"),
        key_places={name: where(name) for name in references},
        weight=read.weight,
        enabled=read.enabled,
        rate=read.rate,
        concurrency=read.concurrency,
        breaker=read.breaker,
    )


def _options(read: _Table) -> dict[str, Any]:
    return dict(read.model_extra or {})


def _problem(value: object, *, is_key: bool) -> str:
    """Return what is wrong with the option or reference; nothing of a value that may be a key is shown."""
    if not isinstance(value, str):
        return "must be a string"
    if not is_key:
        return ""
    kind, colon, rest = value.partition(":")
    if not colon or not rest or kind not in _KINDS_OF_KEYS:
        return _REFERENCE
    if kind == "env" and not _VARIABLE.fullmatch(rest):
        return f"what follows env: is no name of a variable; {_REFERENCE}"
    return ""


def _check_together(entries: Sequence[ProviderEntry], place: str) -> None:
    names = [entry.spec.name for entry in entries]
    if twice := next((entry for entry in reversed(entries) if names.count(entry.spec.name) > 1), None):
        raise ConfigError(f"{twice.place}: the name stands twice")
    if not any(entry.enabled for entry in entries):
        raise ConfigError(f"{place}: no provider is enabled")
