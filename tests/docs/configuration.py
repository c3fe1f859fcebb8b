"""The tables of settings, as `postman/config/settings.py` has them; who reads each is said here."""

import ast
import inspect
import tomllib
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Final

from pydantic import BaseModel

from postman.config import settings as module
from postman.config.settings import Settings
from tests.docs.hook import ROOT

__all__ = ["GROUPS", "kind", "meanings", "schemes", "settings"]

GROUPS: Final[Mapping[str, Mapping[str, str]]] = {
    "Where everything is": {
        "queue": "all",
        "ledger": "all; a producer only to follow `postman reshard`",
        "project": "all",
        "prefix": "all",
        "log_level": "all that run on: worker, serve, functions, proxy, console",
    },
    "Providers": {
        "providers": "worker, serve, functions, proxy, commands, console",
        "providers_seed": "who starts first",
        "proxy": "worker, `functions deliver`",
        "rehome_after": "worker, `functions deliver`",
        "doubt_window": "worker, `functions deliver`",
        "suppress_for": "serve, `functions events`",
    },
    "Shards": {
        "shards": "producers, worker, serve, functions, commands",
        "shard_hand": "producers, serve, `functions ingress`",
        "only_shards": "worker",
        "shard_share": "worker",
        "shard_choices": "worker",
    },
    "Workers": {
        "concurrency": "worker, `functions deliver`",
        "memory": "worker, `functions deliver`",
        "ack_deadline": "worker, `functions deliver`, `init`",
        "grace": "worker, serve, functions",
        "health_window": "worker; the console tells by it what is late",
        "probe_port": "worker",
    },
    "Functions": {
        "push_account": "`functions deliver`",
        "push_audience": "`functions deliver`",
        "push_issuer": "`functions deliver`",
        "push_keys": "`functions deliver`",
        "ingress_keys": "`functions ingress`",
        "trust_callers": "`functions ingress`",
    },
    "The console": dict.fromkeys(
        ("console_port", "console_keys", "console_identity", "console_audience", "console_operators"), "console"
    ),
}
"""The settings in the order of the page, each with the processes that read it."""

_GROUPS: Final = {
    "POSTMAN_QUEUE": "postman.queues",
    "POSTMAN_LEDGER": "postman.ledgers",
    "POSTMAN_PROVIDERS": "postman.documents",
}
_RESTS: Final = {"sqlite": "PATH", "firestore": "DATABASE"}
"""What may follow a scheme; all of it may be left out."""


def settings() -> str:
    """Return the tables of settings."""
    says = meanings(module, Settings)
    parts = []
    for title, names in GROUPS.items():
        rows = [_row(name, _OWN.get(name) or says[name], who) for name, who in names.items()]
        parts.append("\n".join([f"## {title}\n", _COLUMNS, *rows, ""]))
    return "\n".join(parts).strip()


def schemes() -> str:
    """Return the table of what queues, ledgers and documents may be."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        found = tomllib.load(file)["project"]["entry-points"]
    rows = [f"| `{name}` | {_those(found[group])} |" for name, group in _GROUPS.items()]
    return "\n".join(["| of | schemes |\n|---|---|", *rows])


def _those(schemes: Iterable[str]) -> str:
    return ", ".join(f"`{scheme}:{_RESTS.get(scheme, '')}`" for scheme in sorted(schemes))


_COLUMNS: Final = "| variable | is | default | meaning | read by |\n|---|---|---|---|---|"
_OWN: Final = {
    "log_level": "From which level on is logged: `debug`, `info`, `warning`, `error` or `critical`.",
    "queue": "Where the queues are: a scheme (below) and what its adapter makes of the rest.",
    "ledger": "Where the ledger is, likewise, and with it reports of workers, suppressions and the layout of shards.",
}
"""Where the page says more than the docstring."""
_KINDS: Final = {"health_window": "number, 0 or 1 to 300"}
"""Limits that no schema can say; a test tries them."""


_WORDS: Final = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
_BOUNDS: Final = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "up to", "exclusiveMaximum": "below"}


def meanings(home: Any, model: type[BaseModel]) -> dict[str, str]:
    """Return what stands below each field of *model* in the module *home*, in one line."""
    [body] = [
        node.body
        for node in ast.parse(inspect.getsource(home)).body
        if isinstance(node, ast.ClassDef) and node.name == model.__name__
    ]
    return {
        field.target.id: " ".join(words.value.value.split())
        for field, words in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(words, ast.Expr)
        and isinstance(words.value, ast.Constant)
        and isinstance(words.value.value, str)
    }


def kind(model: type[BaseModel], name: str) -> str:
    """Return the type of the field *name* with its limits, as `number, 10 to 600`."""
    schema = model.model_json_schema()["properties"][name]
    choices = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    part = choices[0]
    if "enum" in part:
        return " or ".join(f"`{choice}`" for choice in part["enum"])
    word = _WORDS[part["type"]]
    return ", ".join([word, *_limits(part)])


def _limits(part: Mapping[str, Any]) -> list[str]:
    low, high = part.get("minimum"), part.get("maximum")
    if low is not None and high is not None:
        return [f"{_plain(low)} to {_plain(high)}"]
    return [f"{word} {_plain(part[key])}" for key, word in _BOUNDS.items() if key in part]


def _row(name: str, meaning: str, who: str) -> str:
    default = Settings.model_fields[name].default
    shown = "" if default == "" else f"`{_plain(default)}`"
    is_ = _KINDS.get(name) or kind(Settings, name)
    return f"| `POSTMAN_{name.upper()}` | {is_} | {shown} | {meaning} | {who} |"


def _plain(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:.15g}"
        case _:
            return str(value)
