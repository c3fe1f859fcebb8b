"""Who is meant by a command: addresses or keys of them, given as an argument or on stdin; none is shown again.

An argument stands in the shell's history and in the list of processes; what is
read from stdin does not.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from postman.core.addresses import normal_email
from postman.core.events import address_key
from postman.errors import ConfigError
from postman.ports.suppressions import Suppressions

__all__ = ["SHOWN", "Addressee", "addressees", "whole"]

SHOWN: Final = 12
"""Digits of a key that are shown, and enough to name it; a mail's events show as many of its recipients' keys."""

_WHOLE: Final = 64
_KEY: Final = re.compile(rf"[0-9a-f]{{{SHOWN},{_WHOLE}}}")


@dataclass(frozen=True, slots=True)
class Addressee:
    """One of those that are meant, without the address."""

    key: str
    """Of the address; or the beginning of one, as it was given."""
    place: str = field(default="", compare=False)
    """Where it stood, with a space behind it; empty for an argument."""

    def __str__(self) -> str:
        return f"{self.place}{self.key[:SHOWN]}"


def addressees(text: str, *, keys: bool) -> Sequence[Addressee]:
    """Return who *text* names: an address or, with *keys*, the beginning of a key; `-` reads stdin, one on each line.

    `ConfigError` says which one is wrong, by its line.
    """
    if text != "-":
        return [Addressee(_key(text, "ADDRESS", keys=keys))]
    found = list(_lines(keys=keys))
    if not found:
        raise ConfigError("ADDRESS: nothing was read from stdin")
    return found


async def whole(named: Sequence[Addressee], store: Suppressions) -> Sequence[Addressee]:
    """Return them with whole keys; one that begins no key on the list stays as it is. That asks for the whole list."""
    if all(len(each.key) == _WHOLE for each in named):
        return named
    keys, cursor, has_more = set[str](), "", True
    while has_more:
        changes = await store.changes(cursor)
        keys |= {each.key for each in changes.suppressions}
        cursor, has_more = changes.cursor, changes.has_more
    return [each if len(each.key) == _WHOLE else _completed(each, keys) for each in named]


def _lines(*, keys: bool) -> Iterator[Addressee]:
    for number, line in enumerate(sys.stdin.buffer.read().splitlines(), 1):
        if text := line.decode(errors="replace").strip():
            yield Addressee(_key(text, f"line {number}", keys=keys), f"line {number}: ")


def _key(text: str, where: str, *, keys: bool) -> str:
    if keys and _KEY.fullmatch(text):
        return text
    try:
        return address_key(normal_email(text))
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _completed(addressee: Addressee, keys: set[str]) -> Addressee:
    matching = [key for key in keys if key.startswith(addressee.key)]
    if len(matching) > 1:
        raise ConfigError(f"{addressee} begins {len(matching)} keys of the list: give more of it")
    return replace(addressee, key=matching[0]) if matching else addressee
