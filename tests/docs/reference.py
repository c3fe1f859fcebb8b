"""The parts of pages that a program writes: `python -m tests.docs.reference --write`; without it they are compared."""

import sys
from collections.abc import Callable, Mapping
from typing import Final

from tests.benchmarks.pages import part, replace_part
from tests.docs.commands import commands
from tests.docs.configuration import schemes, settings
from tests.docs.decisions import decisions
from tests.docs.fields import fields
from tests.docs.hook import ROOT

__all__ = ["PARTS", "main", "outdated"]

PARTS: Final[Mapping[tuple[str, str], Callable[[], str]]] = {
    ("commands.md", "commands"): commands,
    ("configuration.md", "settings"): settings,
    ("configuration.md", "schemes"): schemes,
    ("decisions/index.md", "decisions"): decisions,
    ("provider-document.md", "fields"): fields,
}
"""Who writes each part, by its page below `docs/` and its name there."""


def outdated() -> list[tuple[str, str]]:
    """Return the parts that are not as the code has them."""
    return [
        (page, name)
        for (page, name), write in PARTS.items()
        if part((ROOT / "docs" / page).read_text(encoding="utf-8"), name) != write().strip()
    ]


def main(arguments: list[str]) -> int:
    """Write the parts that are outdated, or only name them; return the exit status."""
    found = outdated()
    for page, name in found:
        if "--write" in arguments:
            replace_part(ROOT / "docs" / page, name, PARTS[page, name]().strip())
        sys.stdout.write(f"docs/{page}: {name}\n")
    return 0 if "--write" in arguments else int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
