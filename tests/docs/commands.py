"""The page about commands, as typer has them."""

import re
from collections.abc import Iterator
from enum import Enum
from functools import cache
from typing import Any, Literal, get_args, get_origin

import typer

from postman.entrypoints.cli.app import app

__all__ = ["commands", "tree"]


@cache
def tree() -> Any:
    """Return click's command `postman`."""
    return typer.main.get_command(app)


def commands() -> str:
    """Return the part of the page that the commands make."""
    return "\n".join(part for name in tree().commands for part in _section(tree().commands[name], ("postman", name)))


def _section(command: Any, path: tuple[str, ...]) -> Iterator[str]:
    yield f"{'#' * len(path)} {' '.join(path)}\n"
    yield f"{_sentence(command.help)}\n"
    shown = [
        parameter
        for parameter in command.params
        if not getattr(parameter, "hidden", False) and parameter.name != "help"
    ]
    if shown:
        yield "\n".join(["| argument or option | default | meaning |", "|---|---|---|", *map(_row, shown), ""])
    for name, below in getattr(command, "commands", {}).items():
        yield from _section(below, (*path, name))


def _row(parameter: Any) -> str:
    return f"| {_name(parameter)} | {_default(parameter)} | {_sentence(getattr(parameter, 'help', ''))} |"


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = (parameter.metavar or parameter.name).upper().strip("[]…").replace("|", " or ")
        name += "…" if parameter.nargs != 1 else ""
        return f"`{name}`" if parameter.required else f"`[{name}]`"
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    return names if parameter.is_flag else f"{names} {_value(parameter)}"


def _value(parameter: Any) -> str:
    """What follows the option: its metavar, its choices, or the kind of value."""
    annotation = parameter.type_descriptor.annotation
    if parameter.metavar:
        return f"*{parameter.metavar.lower()}*"
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(f"`{choice.value}`" for choice in annotation)
    if annotation in (int, float):
        return "*number*"
    return "*text, repeatable*" if get_origin(annotation) is list else "*text*"


def _default(parameter: Any) -> str:
    default = parameter.default
    if default is None or default is False or default == "" or callable(default) or default in ((), []):
        return ""
    return f"`{getattr(default, 'value', default)}`"


def _sentence(text: str | None) -> str:
    """One paragraph as Markdown has it, with nothing that would end a cell of a table."""
    words = " ".join((text or "").replace("\b", "").replace("\f", "").split())
    return re.sub(r"(?<!\\)\|", r"\\|", words)
