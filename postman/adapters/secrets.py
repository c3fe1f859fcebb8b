"""Keys in the environment (`env:NAME`) and in files (`file:PATH`).

A variable is read anew by each call, but nobody changes it from outside, so it
is pinned. A file is not: Kubernetes and Docker put new versions in its place.
Put a new one there by a rename; one that is written over may be read half done.
"""

import asyncio
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from postman.adapters._secret_values import LIMIT, secret_of
from postman.ports.secrets import SecretRefusedError, Surroundings

__all__ = ["EnvironmentSecrets", "FileSecrets", "open_environment", "open_files"]

_VARIABLE: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
_FILE: Final = re.compile(r"file:([^\0\r\n]+)")


def open_environment(surroundings: Surroundings) -> "EnvironmentSecrets":
    """Open the process's environment."""
    return EnvironmentSecrets(surroundings.environ)


def open_files(surroundings: Surroundings) -> "FileSecrets":
    """Open the files around the document."""
    return FileSecrets(surroundings.folder)


class EnvironmentSecrets:
    """See the module."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def is_pinned(self, reference: str) -> bool:
        _rest_of(reference, _VARIABLE, "what follows env: is no name of a variable")
        return True

    async def read(self, reference: str) -> SecretStr:
        name = _rest_of(reference, _VARIABLE, "what follows env: is no name of a variable")
        value = self._environ.get(name)
        if not value:
            raise SecretRefusedError(reference, f"the environment variable {name} is not set")
        return secret_of(reference, value.encode("utf-8", "surrogateescape"))

    async def aclose(self) -> None:
        """Do nothing: nothing is open."""


class FileSecrets:
    """See the module; relative paths begin in *folder*."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def is_pinned(self, reference: str) -> bool:
        _rest_of(reference, _FILE, "what follows file: is no path")
        return False

    async def read(self, reference: str) -> SecretStr:
        name = _rest_of(reference, _FILE, "what follows file: is no path")
        try:
            data = await asyncio.to_thread(_contents, self._folder / name)
        except OSError as error:
            raise SecretRefusedError(reference, f"cannot read the file: {error.strerror}") from error
        if data is None:
            raise SecretRefusedError(reference, "is no regular file")
        return secret_of(reference, data)

    async def aclose(self) -> None:
        """Do nothing: nothing is open."""


def _contents(path: Path) -> bytes | None:
    """Return one byte more than a value may have, at the most; None for what is no regular file, and could block."""
    if not stat.S_ISREG(path.stat().st_mode):
        return None
    with path.open("rb") as file:
        return file.read(LIMIT + 1)


def _rest_of(reference: str, pattern: re.Pattern[str], problem: str) -> str:
    match = pattern.fullmatch(reference)
    if match is None:
        raise SecretRefusedError("", problem)
    return match[1]
