"""Commands, each imported when it is used."""

import gc
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final

import typer
from typer.core import TyperGroup

__all__ = ["COMMANDS", "CommandGroup"]

_ROOM: Final = "postman.entrypoints.cli"

COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "init": "init:init",
        "publish": "publish:publish",
        "worker": "worker:worker",
        "proxy": "proxy:proxy",
        "show": "show:show",
        "search": "search:search",
        "serve": "serve:serve",
        "functions": "functions:functions",
        "status": "status:status",
        "console": "console:console",
        "reshard": "reshard:reshard",
        "shards": "shards:app",
        "dead": "dead:app",
        "doubts": "doubts:app",
        "suppressions": "suppressions:app",
        "providers": "providers:app",
        "sandbox": "sandbox:app",
        "demo": "demo:demo",
    }
)
"""Where each command's function, or group of commands, stands in this room; in the order of the help."""


class CommandGroup(TyperGroup):
    """The group `postman`."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": None})
        self.commands = _Imported()  # type: ignore[assignment]  # never written to


class _Imported(Mapping[str, Any]):
    """Click's command by its name, made at its first use."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _command(name, COMMANDS[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _command(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    found = getattr(import_module(f"{_ROOM}.{module}"), attribute)
    gc.freeze()
    gc.enable()
    if not isinstance(found, typer.Typer):
        alone = typer.Typer(add_completion=False)
        alone.command(name)(found)
        found = alone
    found._add_completion = False  # noqa: SLF001 — the options of the completion are the outer group's
    command = typer.main.get_command(found)
    command.name = name
    return command
