"""Names of secrets in Google's Secret Manager, as references give them.

| reference | which value |
|---|---|
| `secret:ID` | the latest version, in the process's own project |
| `secret:ID/versions/VERSION` | that version: a number, an alias, or `latest` |
| `secret:projects/PROJECT/secrets/ID` | the latest one, in another project |
| `secret:projects/PROJECT/secrets/ID/versions/VERSION` | that version, in another project |

A number is one version for good; an alias and `latest` may name another one tomorrow.
"""

import re
from dataclasses import dataclass
from typing import Final

from postman.ports.secrets import SecretRefusedError

__all__ = ["VersionName"]

_REFERENCE: Final = re.compile(
    r"secret:(?:projects/(?P<project>[a-z0-9][a-z0-9.:-]{0,98}[a-z0-9])/secrets/)?"
    r"(?P<secret>[A-Za-z0-9_-]{1,255})"
    r"(?:/versions/(?P<version>[1-9][0-9]{0,18}|[A-Za-z][A-Za-z0-9_-]{0,62}))?"
)
_FORMS: Final = (
    "is no name of a secret; it must be secret:ID, secret:ID/versions/N or secret:projects/PROJECT/secrets/ID, "
    "with or without a version"
)


@dataclass(frozen=True, slots=True)
class VersionName:
    """One version of one secret."""

    project: str
    """Empty: the process's own."""
    secret: str
    version: str

    @classmethod
    def of(cls, reference: str) -> "VersionName":
        """Read *reference*; raises `SecretRefusedError`, which does not repeat it."""
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            raise SecretRefusedError("", f"what follows secret: {_FORMS}")
        return cls(match["project"] or "", match["secret"], match["version"] or "latest")

    @property
    def is_pinned(self) -> bool:
        return self.version.isdigit()

    def path(self, project: str) -> str:
        """Return the resource name, in *project* where the reference names none."""
        return f"projects/{self.project or project}/secrets/{self.secret}/versions/{self.version}"
