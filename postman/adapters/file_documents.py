"""The providers' document as a file that people edit and version control keeps.

Its number is made of its bytes, so that a change made from older bytes is
refused. Who changed it when is not kept in it. A change replaces the file as a
whole, with its owner and mode; whoever reads sees the old bytes or the new ones.
Changes wait for each other at the folder's lock (`flock`, which some network
file systems do not have for folders); an editor knows nothing of it.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Final

from postman.core.document import Document
from postman.errors import ConfigError, DocumentChangedError, LedgerUnavailableError

__all__ = ["FileDocuments"]

_LARGEST: Final = 1 << 20
_PAUSE: Final = 0.05


class FileDocuments:
    """See the module. Raises `ConfigError` for a file that cannot be read or written.

    A file that is missing is such a one until `ensure` was called; from then on the first change makes it. A change
    waits *patience* seconds at most for others, and raises `LedgerUnavailableError` after them.
    """

    def __init__(self, path: Path, *, patience: float = 10.0) -> None:
        self._path = path
        self._patience = patience
        self._may_be_missing = False

    async def read(self) -> Document | None:
        return await asyncio.to_thread(self._read, may_be_missing=self._may_be_missing)

    async def change(self, document: Document) -> None:
        await asyncio.to_thread(self._change, document)

    async def ensure(self) -> None:
        """Make nothing: what stands in the file is its owner's to say, also that there is none yet."""
        self._may_be_missing = True

    async def aclose(self) -> None:
        """Nothing is open."""

    def _read(self, *, may_be_missing: bool) -> Document | None:
        try:
            with self._path.open("rb") as file:
                data = file.read(_LARGEST + 1)
            if len(data) > _LARGEST:
                raise ConfigError(f"{self._path}: is larger than {_LARGEST >> 20} MiB")
            return Document(data.decode("utf-8"), _number_of(data))
        except OSError as error:
            if may_be_missing and isinstance(error, FileNotFoundError):
                return None
            raise ConfigError(f"POSTMAN_PROVIDERS: cannot read {self._path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise ConfigError(f"{self._path}: {error}") from None

    def _change(self, document: Document) -> None:
        target = self._path.resolve()
        try:
            with self._locked(target.parent) as folder:
                latest = self._read(may_be_missing=True) or Document()
                if latest.number != document.number - 1:
                    raise DocumentChangedError(f"{self._path} was changed meanwhile: look again")
                self._replace(target, document.text.encode())
                os.fsync(folder)
        except OSError as error:
            raise ConfigError(f"POSTMAN_PROVIDERS: cannot write {self._path}: {error.strerror}") from None

    @contextmanager
    def _locked(self, folder: Path) -> Iterator[int]:
        """Keep all other changes in *folder* away; whoever dies gives its lock back."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._wait_for_lock(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def _wait_for_lock(self, folder: int) -> None:
        ends = time.monotonic() + self._patience
        while not _has_locked(folder):
            if time.monotonic() >= ends:
                raise LedgerUnavailableError(
                    f"{self._path}: another change of it, or beside it, does not end: try again"
                )
            time.sleep(_PAUSE)

    def _replace(self, target: Path, data: bytes) -> None:
        old = target.stat() if target.exists() else None
        new = target.with_name(f".{target.name}.{token_hex(8)}")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if old is None else 0o600)
            with os.fdopen(descriptor, "wb") as file:
                if old is not None:
                    self._inherit(file.fileno(), old)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            new.replace(target)
        except BaseException:
            new.unlink(missing_ok=True)
            raise

    def _inherit(self, new: int, old: os.stat_result) -> None:
        """Give the file *new* the owner, group and mode of *old*, in this order: the first takes bits of the last."""
        try:
            os.fchown(new, old.st_uid, old.st_gid)
        except PermissionError:
            raise ConfigError(
                f"POSTMAN_PROVIDERS: cannot write {self._path}: it would not keep its owner and group; "
                "change it as its owner"
            ) from None
        os.fchmod(new, old.st_mode & 0o7777)


def _has_locked(folder: int) -> bool:
    try:
        flock(folder, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _number_of(data: bytes) -> int:
    return int.from_bytes(sha256(data).digest()[:4], "big")
