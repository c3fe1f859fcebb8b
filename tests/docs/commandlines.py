"""What pages tell to type: each `postman …` in blocks and in running text, held against the commands that exist."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from markdown_it import MarkdownIt

from tests.docs.commands import tree

__all__ = ["complaint", "typed"]

_TYPED: Final = re.compile(r"^(?:.*[|&;(] |\$ )?(?:[A-Z_]+=\S+ )*postman ([a-z][^#\n]*)", re.MULTILINE)
_ENDS: Final = re.compile(r"\s(?:\||&|&&|>|2>|<)(?:\s|$)|;")
_PLACEHOLDERS: Final = str.maketrans("", "", "[]()\\")


def typed(page: Path) -> Iterator[Sequence[str]]:
    """Yield the words after `postman` of each command in the code of *page*."""
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        for part in (token, *(token.children or ())):
            if part.type in {"fence", "code_inline"}:
                for found in _TYPED.findall(part.content.replace("\\\n", " ")):
                    yield _ENDS.split(found.translate(_PLACEHOLDERS) + " ", maxsplit=1)[0].split()


def complaint(words: Sequence[str]) -> str:
    """Return what is wrong with the command *words*; empty: nothing."""
    command, path, is_value = tree(), "postman", False
    for word in words:
        below = getattr(command, "commands", {})
        if word.startswith("-"):
            options = _options(command)
            if word not in options:
                return f"{path} has no option {word}"
            is_value = options[word]
        elif is_value or not below or "…" in word:
            is_value = False
        elif unknown := [name for name in word.split("|") if name not in below]:
            return f"{path} has no command {unknown[0]}"
        else:
            name = word.split("|")[0]
            command, path = below[name], f"{path} {name}"
    return ""


def _options(command: Any) -> dict[str, bool]:
    """The options of *command*, and whether a value follows."""
    options = {"--help": False, "-h": False, "--": False, "-": False}
    for parameter in command.params:
        if parameter.param_type_name == "option":
            options |= dict.fromkeys((*parameter.opts, *parameter.secondary_opts), not parameter.is_flag)
    return options
