"""The providers' document as a file that people edit and version control keeps.

Its number is made of its bytes, so that a change made from older bytes is
refused. Who changed it when is not kept in it. A change replaces the file as a
whole, with its mode; whoever reads sees the old bytes or the new ones.
"""

import asyncio
import os
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from postman.core.document import Document
from postman.errors import ConfigError, DocumentChangedError

__all__ = ["FileDocuments"]

_LARGEST: Final = 1 << 20


class FileDocuments:
    """See the module. Raises `ConfigError` for a file that cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> Document:
        return await asyncio.to_thread(self._read)

    async def change(self, document: Document) -> None:
        await asyncio.to_thread(self._change, document)

    async def ensure(self) -> None:
        """Nothing: what stands in it is its owner's to say."""

    async def aclose(self) -> None:
        """Nothing is open."""

    def _read(self) -> Document:
        try:
            with self._path.open("rb") as file:
                data = file.read(_LARGEST + 1)
            if len(data) > _LARGEST:
                raise ConfigError(f"{self._path}: is larger than {_LARGEST >> 20} MiB")
            return Document(data.decode("utf-8"), _number_of(data))
        except OSError as error:
            raise ConfigError(f"POSTMAN_PROVIDERS: cannot read {self._path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise ConfigError(f"{self._path}: {error}") from None

    def _change(self, document: Document) -> None:
        if self._read().number != document.number - 1:
            raise DocumentChangedError(f"{self._path} was changed meanwhile: look again")
        try:
            self._replace(document.text.encode())
        except OSError as error:
            raise ConfigError(f"POSTMAN_PROVIDERS: cannot write {self._path}: {error.strerror}") from None

    def _replace(self, data: bytes) -> None:
        target = self._path.resolve()
        with NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), target.stat().st_mode & 0o7777)
                Path(file.name).replace(target)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


def _number_of(data: bytes) -> int:
    return int.from_bytes(sha256(data).digest()[:4], "big")
