"""The file: where it is, what is in it, and how it is opened.

It is made on first use, so that a laptop needs no set-up; only `check` asks for
one that is there. A file of another program, or of a newer postman, is refused
before anything is written to it.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from postman.adapters.sqlite._columns import fill_columns
from postman.adapters.sqlite._errors import NOT_MADE
from postman.errors import ConfigError

__all__ = ["DEFAULT_PATH", "NotMadeError", "is_same_file", "open_file", "path_of"]

DEFAULT_PATH: Final = Path(".postman/postman.db")

_APPLICATION_ID: Final = 0x706F7374
"""`post`, in the file's header: by it our own files are known."""

_VERSION: Final = 2

_SETTINGS: Final = (
    "PRAGMA synchronous = FULL",  # a commit that returned survives a power cut, not only a crash of ours
    "PRAGMA fullfsync = ON",  # macOS says "written" of what its disk has only cached; no effect elsewhere
    "PRAGMA journal_size_limit = 67108864",  # a burst of large mails does not leave its log behind for ever
    "PRAGMA temp_store = MEMORY",
    "PRAGMA journal_mode = WAL",  # readers and one writer at a time; what is committed is appended, not copied twice
)

_INDEXES_OF_RECORDS: Final = (
    # Of mails on a shelf alone, with when they came there: those that are sent without trouble never enter it.
    "CREATE INDEX entries_shelf ON entries (prefix, shelf, since, mail_id) WHERE shelf IS NOT NULL",
    "CREATE INDEX entries_message_id ON entries (prefix, message_id) WHERE message_id IS NOT NULL",
    """CREATE TABLE recipients (
        prefix TEXT NOT NULL,
        tag TEXT NOT NULL,
        mail_id TEXT NOT NULL,
        PRIMARY KEY (prefix, tag, mail_id)
    ) WITHOUT ROWID""",
)

_TO_VERSION_2: Final = (
    "ALTER TABLE entries ADD COLUMN shelf TEXT",
    "ALTER TABLE entries ADD COLUMN since REAL",
    "ALTER TABLE entries ADD COLUMN message_id TEXT",
    *_INDEXES_OF_RECORDS,
)

_TABLES: Final = (
    # AUTOINCREMENT: an id is never given again, so that an old receipt cannot meet a new message.
    # A message's data lie apart: a lease that changes does not write a large mail anew.
    """CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        queue TEXT NOT NULL,
        due REAL NOT NULL,
        attempt INTEGER NOT NULL,
        held INTEGER NOT NULL,
        published_at REAL NOT NULL
    )""",
    "CREATE TABLE contents (id INTEGER PRIMARY KEY, attributes TEXT NOT NULL, data BLOB NOT NULL)",
    # Ends with the id, as every index: with due = 0 for all that are free, they stand in order of age.
    "CREATE INDEX messages_due ON messages (queue, due)",
    """CREATE TABLE entries (
        prefix TEXT NOT NULL,
        mail_id TEXT NOT NULL,
        state TEXT NOT NULL,
        expire_at REAL,
        entry BLOB NOT NULL,
        shelf TEXT,
        since REAL,
        message_id TEXT,
        PRIMARY KEY (prefix, mail_id)
    ) WITHOUT ROWID""",
    "CREATE INDEX entries_expire_at ON entries (expire_at) WHERE expire_at IS NOT NULL",
    *_INDEXES_OF_RECORDS,
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_VERSION}",
)


class NotMadeError(ConfigError):
    """There is no file, or none with our tables, and it was not to be made."""


def path_of(text: str) -> Path:
    """Return the file that *text*, the rest of a URL, names; absolute, so that a later `chdir` changes nothing."""
    if text.startswith(":"):
        raise ConfigError(f"sqlite:{text} is not a file: give a path, or use memory:")
    path = Path(text).expanduser().absolute() if text else DEFAULT_PATH.absolute()
    if path.is_dir():
        raise ConfigError(f"{path} is a folder: give the path of a file in it")
    return path


def open_file(path: Path, *, make: bool) -> tuple[sqlite3.Connection, bool]:
    """Return a connection, and whether its tables were made just now.

    Raises `ConfigError` for what is not ours and, unless *make*, `NotMadeError` for what is not there; `OSError`;
    `sqlite3.Error`. The connection waits for no lock: whoever uses it tries again.
    """
    if make:
        _make_file(path)
    elif not path.exists():
        raise NotMadeError(f"{path} {NOT_MADE}")
    connection = sqlite3.connect(path, timeout=0.0, isolation_level=None)
    try:
        _inspect(connection, path, make=make)
        _prepare(connection)
        return connection, _make_tables(connection, path)
    except BaseException:
        connection.close()
        raise


def is_same_file(path: Path, identity: os.stat_result) -> bool:
    """Whether *path* is still the file it was: one that was removed would swallow what is written to it."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (identity.st_dev, identity.st_ino)


def _make_file(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _inspect(connection: sqlite3.Connection, path: Path, *, make: bool) -> None:
    """Refuse what is not ours before anything is written to it, and what is not made unless it will be."""
    if not _has_tables(connection, path) and not make:
        raise NotMadeError(f"{path} {NOT_MADE}")


def _make_tables(connection: sqlite3.Connection, path: Path) -> bool:
    """Make the tables unless they are there, also while other processes try the same; return whether they were made."""
    if _has_tables(connection, path):
        _upgrade(connection)
        return False
    connection.execute("BEGIN IMMEDIATE")
    missing = not _has_tables(connection, path)
    for statement in _TABLES if missing else ():
        connection.execute(statement)
    connection.execute("COMMIT")
    return missing


def _upgrade(connection: sqlite3.Connection) -> None:
    """Bring the tables of an older postman up to date, unless another process did; nothing that is there is lost."""
    if _number(connection, "user_version") >= _VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    if _number(connection, "user_version") < _VERSION:
        for statement in _TO_VERSION_2:
            connection.execute(statement)
        fill_columns(connection)
        connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.execute("COMMIT")


def _has_tables(connection: sqlite3.Connection, path: Path) -> bool:
    # In this order: another process that makes them meanwhile, all at once, is not mistaken for another program.
    version, schema = _number(connection, "user_version"), _number(connection, "schema_version")
    application = _number(connection, "application_id")
    if application == _APPLICATION_ID and version > _VERSION:
        raise ConfigError(f"{path} was made by a newer postman (version {version} of its tables): update this one")
    if application != _APPLICATION_ID and (application or version or schema):
        raise ConfigError(f"{path} belongs to another program")
    return application == _APPLICATION_ID


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    with closing(connection.execute(f"PRAGMA {pragma}")) as cursor:
        number: int = cursor.fetchone()[0]
    return number


def _prepare(connection: sqlite3.Connection) -> None:
    """Set what belongs to a connection, and the write-ahead log, which belongs to the file."""
    for setting in _SETTINGS:
        connection.execute(setting).close()
