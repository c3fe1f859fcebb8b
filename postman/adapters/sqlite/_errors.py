"""What SQLite's errors mean to us, by their primary result code.

An error that another try may cure (a lock, a full disk) is the port's own
"unavailable"; one that needs a human (a wrong file, missing rights) is a
`ConfigError`. Messages name the file and never what was to be written.
"""

import errno
import sqlite3
from pathlib import Path
from typing import Final

from postman.errors import ConfigError, LedgerUnavailableError, QueueUnavailableError

__all__ = ["NOT_MADE", "Unavailable", "is_busy", "translate"]

Unavailable = type[QueueUnavailableError] | type[LedgerUnavailableError]

NOT_MADE: Final = "is not made yet: run `postman init`"

_PRIMARY: Final = 0xFF
"""The lower byte of an extended result code."""

_TEMPORARY: Final = {
    sqlite3.SQLITE_BUSY: "is locked by another process",
    sqlite3.SQLITE_LOCKED: "is locked by another process",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk reports an error, or is full",
    sqlite3.SQLITE_PROTOCOL: "is locked by another process",
    sqlite3.SQLITE_NOMEM: "needs more memory than there is",
}

_TEMPORARY_OF_SYSTEM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM}
"""Of the errors of the system's own calls, which make the file and its folder."""

_LASTING: Final = {
    sqlite3.SQLITE_READONLY: "is read-only",
    sqlite3.SQLITE_PERM: "may not be used by this user",
    sqlite3.SQLITE_AUTH: "may not be used by this user",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: check the path and its permissions",
    sqlite3.SQLITE_NOTADB: "is not a SQLite database",
    sqlite3.SQLITE_CORRUPT: "is damaged: restore it from a backup, or move it away",
}


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection holds the lock that was needed."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def translate(
    error: sqlite3.Error | OSError, path: Path, unavailable: Unavailable
) -> QueueUnavailableError | LedgerUnavailableError | ConfigError:
    """Return the error to raise in place of *error*, from the making or the use of *path*."""
    if isinstance(error, OSError):
        kind = unavailable if error.errno in _TEMPORARY_OF_SYSTEM else ConfigError
        return kind(f"{path} cannot be made: {error.strerror or type(error).__name__}")
    code = _code(error)
    if code in _LASTING:
        return ConfigError(f"{path} {_LASTING[code]}")
    return unavailable(f"{path} {_TEMPORARY.get(code, f'failed: {_name(error)}')}")


def _code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & _PRIMARY


def _name(error: sqlite3.Error) -> str:
    name: str = getattr(error, "sqlite_errorname", type(error).__name__)
    return name
