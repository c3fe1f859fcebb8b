"""On which line of the providers' document a field stands: readers of TOML do not say, once it is read."""

import re
from typing import Final

__all__ = ["line_of"]

_TABLE: Final = re.compile(r"\s*\[\[\s*(\"provider\"|'provider'|provider)\s*\]\]")
_FIELD: Final = re.compile(r"""\s*["']?([A-Za-z0-9_-]+)["']?\s*[.=]""")


def line_of(text: str, number: int, field: str) -> int:
    """Return the line of *field* in the provider of this *number*, both counted from 0 and 1; 0 where it is not found.

    That of the provider's own line where the field is missing. Only documents with a `[[provider]]` line for each
    are looked into. Lines end as in TOML, and not where Unicode has other ends of lines.
    """
    table, found, name = -1, 0, field.partition(".")[0]
    for line, content in enumerate(text.split("\n"), 1):
        if _TABLE.match(content):
            table += 1
            found = line if table == number else found
        elif table == number and (match := _FIELD.match(content)) and match[1] == name:
            return line
    return found
