"""Which errors a caller may try to cure by trying again."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from postman.adapters.sqlite._errors import translate
from postman.errors import ConfigError, LedgerUnavailableError, QueueUnavailableError

_PATH = Path("/somewhere/postman.db")


def _error(name: str) -> sqlite3.Error:
    """As SQLite raises it, with a text that may hold anything."""
    error = sqlite3.OperationalError("near 'somebody@example.com'")
    error.sqlite_errorcode = getattr(sqlite3, name)
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    "name",
    [
        "SQLITE_BUSY",
        "SQLITE_BUSY_SNAPSHOT",
        "SQLITE_LOCKED",
        "SQLITE_FULL",
        "SQLITE_IOERR",
        "SQLITE_IOERR_FSYNC",
        "SQLITE_NOMEM",
        "SQLITE_PROTOCOL",
        "SQLITE_ERROR",
    ],
)
def test_what_may_pass_is_unavailable_for_now(name: str) -> None:
    assert type(translate(_error(name), _PATH, QueueUnavailableError)) is QueueUnavailableError
    assert type(translate(_error(name), _PATH, LedgerUnavailableError)) is LedgerUnavailableError


@pytest.mark.parametrize(
    "name",
    [
        "SQLITE_READONLY",
        "SQLITE_READONLY_DIRECTORY",
        "SQLITE_PERM",
        "SQLITE_AUTH",
        "SQLITE_CANTOPEN",
        "SQLITE_CANTOPEN_ISDIR",
        "SQLITE_NOTADB",
        "SQLITE_CORRUPT",
        "SQLITE_CORRUPT_VTAB",
    ],
)
def test_what_needs_a_human_is_a_wrong_setting(name: str) -> None:
    assert type(translate(_error(name), _PATH, QueueUnavailableError)) is ConfigError


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, QueueUnavailableError),
        (errno.EMFILE, QueueUnavailableError),
        (errno.EACCES, ConfigError),
        (errno.ENOTDIR, ConfigError),
        (errno.EROFS, ConfigError),
    ],
)
def test_a_file_that_cannot_be_made_may_be_made_later_or_not(number: int, kind: type[Exception]) -> None:
    assert type(translate(OSError(number, os.strerror(number)), _PATH, QueueUnavailableError)) is kind


@pytest.mark.parametrize("name", ["SQLITE_FULL", "SQLITE_CORRUPT", "SQLITE_ERROR"])
def test_the_message_names_the_file_and_repeats_nothing_of_the_statement(name: str) -> None:
    text = str(translate(_error(name), _PATH, QueueUnavailableError))

    assert str(_PATH) in text
    assert "somebody" not in text
