"""Where keys lie: what a reference in the providers' document stands for.

A reference is a scheme and a rest, `env:NAME`, `file:PATH`, `secret:ID`; it is
no secret itself, and may be logged once `is_pinned` took it. What does not even
look like one may be a key that somebody pasted: no error repeats it. Adapters
are found by the scheme, through the entry points `postman.secrets`, each of
which names a function of the shape `OpenSecrets`. Opening makes no connection.

`SecretUnavailableError` means that the same read may succeed later;
`SecretRefusedError` means that it will not until somebody changes something.
Neither holds a value, nor is there one in what caused it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from postman.errors import ConfigError, PostmanError

__all__ = ["OpenSecrets", "SecretError", "SecretRefusedError", "SecretUnavailableError", "Secrets", "Surroundings"]


class SecretError(PostmanError):
    """A value cannot be had; *reference* is empty where it looked like none, *problem* says why."""

    def __init__(self, reference: str, problem: str) -> None:
        super().__init__(f"{reference}: {problem}" if reference else problem)
        self.reference = reference
        self.problem = problem


class SecretRefusedError(SecretError, ConfigError):
    """The reference is malformed, names nothing that may be read, or what it names cannot be a key."""


class SecretUnavailableError(SecretError):
    """Where the value lies cannot be reached now."""


class Secrets(Protocol):
    """The values of one scheme. Any number of reads may go on at once; nothing is kept, and nothing tried twice."""

    def is_pinned(self, reference: str) -> bool:
        """Whether the value can never change as long as this process runs; asks nobody.

        Raises `SecretRefusedError` for a malformed reference.
        """
        ...

    async def read(self, reference: str) -> SecretStr:
        """Return the value as it is now, without the white space around it; a network has ten seconds for it.

        It is text of one byte up to 64 KiB in UTF-8, without control characters but tabs and line ends. Raises
        `SecretRefusedError` for any other, and for a reference that names none; `SecretUnavailableError`.
        """
        ...

    async def aclose(self) -> None:
        """Close; every later call but this one may fail."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an adapter is told when it is opened: where the process finds itself."""

    folder: Path
    """Where the providers' document lies: relative paths begin here."""
    environ: Mapping[str, str] = field(repr=False)
    project: str = ""
    """The Google Cloud project; empty elsewhere."""


OpenSecrets = Callable[[Surroundings], Secrets]
