"""The tokens that may act: those that `POSTMAN_CONSOLE_KEYS` refers to, or one that is made at the start."""

import re
from collections.abc import Sequence
from typing import Final

from postman.entrypoints.console.sessions import Key, fresh_secret
from postman.errors import ConfigError
from postman.ports.secrets import SecretError
from postman.runtime.keys import Keyring

__all__ = ["ConsoleKeys", "check_length", "read_references"]

_VARIABLE: Final = "POSTMAN_CONSOLE_KEYS"
_SHORTEST: Final = 16
_NAMED: Final = re.compile(r"(?:([A-Za-z0-9@._+ -]{1,64})=)?([a-z]+:.+)")


class ConsoleKeys:
    """Reads the tokens, and again while they may change. Without references it makes one, for *maker*."""

    def __init__(self, references: Sequence[tuple[str, str]], keyring: Keyring, *, maker: str) -> None:
        self._references = references
        self._keyring = keyring
        self.is_made = not references
        """Whether the token is of this process alone."""
        self.token = fresh_secret() if self.is_made else ""
        """The token that was made; empty where there are others."""
        self._made = [Key.of(maker, self.token)] if self.is_made else []

    async def check(self) -> None:
        """Raise `ConfigError` where a token cannot be read, or is too short to be one."""
        for name, reference in self._references:
            try:
                check_length((await self._keyring.read(reference)).get_secret_value())
            except SecretError as error:
                raise ConfigError(f"{_VARIABLE}: {name}: {error}") from None

    async def read(self) -> Sequence[Key]:
        """Return the keys as they are now; one that cannot be read fits nobody."""
        if self.is_made:
            return self._made
        await self._keyring.refresh()
        keys = []
        for name, reference in self._references:
            try:
                token = (await self._keyring.read(reference)).get_secret_value()
            except SecretError:
                continue
            if len(token) >= _SHORTEST:
                keys.append(Key.of(name, token))
        return keys


def read_references(text: str) -> Sequence[tuple[str, str]]:
    """Return the names and references in *text*; `ConfigError` tells which is none, and not what it says."""
    found = []
    for number, each in enumerate((each.strip() for each in text.split(",")), 1):
        if not each:
            continue
        match = _NAMED.fullmatch(each)
        if match is None:
            raise ConfigError(f"{_VARIABLE}: number {number} is no reference: write env:NAME, or who=env:NAME")
        found.append((match[1] or f"key {number}", match[2]))
    names = [name for name, _ in found]
    if len(set(names)) < len(names):
        raise ConfigError(f"{_VARIABLE}: a name stands twice")
    return found


def check_length(token: str) -> None:
    """Raise `ConfigError` for a token that could be guessed."""
    if len(token) < _SHORTEST or not token.isascii() or not token.isprintable():
        raise ConfigError(f"{_VARIABLE}: what a reference stands for must be at least {_SHORTEST} ASCII characters")
