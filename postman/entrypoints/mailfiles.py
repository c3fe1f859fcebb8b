"""Mails in files: `.jsonl`, `.json` and `.eml`.

A file is read twice: once to check all of it, once to publish. So a bad line in
the last file keeps the first from being published, and a file of any length
needs no more memory than its longest mail.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import orjson

from postman.core.eml import mail_from_eml
from postman.core.mail import MAX_ENCODED_BYTES, Mail
from postman.core.wire import digest, parse
from postman.errors import InvalidMailError

__all__ = ["Checked", "MailFile", "Problem", "check", "open_files"]

_LINE: Final = 2 * MAX_ENCODED_BYTES
_WHOLE: Final = 256 * 1024 * 1024
_KINDS: Final = (".jsonl", ".json", ".eml")
_IN_MEMORY: Final = 16 * 1024 * 1024
_BETWEEN: Final = re.compile(r"[ \t\r\n,]*")
_SCANNER: Final = json.JSONDecoder(parse_int=str, parse_float=str)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a file, and where."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Checked:
    """What a first reading found."""

    mails: int
    problems: Sequence[Problem]


class MailFile(AbstractContextManager["MailFile"]):
    """One file, or standard input, that can be read twice."""

    def __init__(self, name: str, kind: str, stream: IO[bytes]) -> None:
        self.name = name
        self._kind = kind
        self._stream = stream

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def read(self) -> Iterator[tuple[str, Mail | InvalidMailError]]:
        """Yield where each mail stands, and the mail or what is wrong with it."""
        self._stream.seek(0)
        match self._kind:
            case ".jsonl":
                yield from self._lines()
            case ".json":
                yield from self._document()
            case _:
                yield self.name, _tried(lambda: mail_from_eml(self._stream.read(_LINE + 1)))

    def _lines(self) -> Iterator[tuple[str, Mail | InvalidMailError]]:
        number = 0
        while line := self._stream.readline(_LINE + 1):
            number += 1
            if len(line) > _LINE:
                yield f"{self.name}:{number}", InvalidMailError("", f"the line is longer than {_LINE} bytes")
                return
            if line.strip():
                yield f"{self.name}:{number}", _tried(lambda line=line: parse(line.strip()))  # type: ignore[misc]

    def _document(self) -> Iterator[tuple[str, Mail | InvalidMailError]]:
        data = self._stream.read(_WHOLE + 1)
        if len(data) > _WHOLE:
            yield self.name, InvalidMailError("", f"the file is larger than {_WHOLE} bytes; use .jsonl")
        elif data.lstrip()[:1] != b"[":
            yield self.name, _tried(lambda: parse(data))
        else:
            yield from self._list(data)

    def _list(self, data: bytes) -> Iterator[tuple[str, Mail | InvalidMailError]]:
        try:
            orjson.loads(data)
        except orjson.JSONDecodeError as error:
            # Not chained: the error holds the whole text.
            problem = f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
            yield self.name, InvalidMailError("", problem)
            return
        for number, mail in enumerate(_pieces(data.decode()), 1):
            where = f"{self.name}: mail {number}"
            yield where, mail if isinstance(mail, InvalidMailError) else _tried(lambda mail=mail: parse(mail))  # type: ignore[misc]


def open_files(names: Sequence[str], stdin: IO[bytes]) -> tuple[list[MailFile], list[Problem]]:
    """Open each file; what cannot be opened is a problem."""
    files: list[MailFile] = []
    problems: list[Problem] = []
    for name in names:
        kind = ".jsonl" if name == "-" else Path(name).suffix.lower()
        if kind not in _KINDS:
            problems.append(Problem(name, f"must end in {', '.join(_KINDS)}, or be - for JSON lines"))
            continue
        try:
            files.append(MailFile(name, kind, _spooled(stdin) if name == "-" else _opened(name)))
        except OSError as error:
            problems.append(Problem(name, error.strerror or "cannot be read"))
    return files, problems


def check(files: Sequence[MailFile], *, now: float, most: int = 20, seen: Callable[[], None] = lambda: None) -> Checked:
    """Read every file to its end, and gather up to *most* problems; *seen* is called for each mail."""
    problems: list[Problem] = []
    places: dict[str, tuple[str, str]] = {}
    mails = 0
    for file in files:
        before = mails
        for where, mail in file.read():
            problem = mail if isinstance(mail, InvalidMailError) else _problem(mail, where, places, now)
            if problem is not None and len(problems) < most:
                problems.append(Problem(where, str(problem)))
            mails += 1
            seen()
        if mails == before:
            problems.append(Problem(file.name, "is empty: it holds no mail"))
    return Checked(mails, problems)


def _pieces(text: str) -> Iterator[bytes | InvalidMailError]:
    """Yield the text of each item of the list that *text*, valid JSON, is: as it stands, repeated keys and all."""
    place = _BETWEEN.match(text, text.index("[") + 1).end()  # type: ignore[union-attr]  # matches nothing too
    while text[place] != "]":
        try:
            _, end = _SCANNER.raw_decode(text, place)
        except RecursionError:
            yield InvalidMailError("", "has too many levels of lists and objects, as may the mails after it")
            return
        yield text[place:end].encode()
        place = _BETWEEN.match(text, end).end()  # type: ignore[union-attr]


def _problem(mail: Mail, where: str, places: dict[str, tuple[str, str]], now: float) -> InvalidMailError | None:
    try:
        mail.check_times(now)
    except InvalidMailError as error:
        return error
    content = digest(mail)
    first, known = places.setdefault(mail.id, (where, content))
    if first == where:
        return None
    same = "the same mail" if known == content else "another content"
    return InvalidMailError("id", f"stands twice, first at {first} with {same}")


def _tried(make: Callable[[], Mail]) -> Mail | InvalidMailError:
    try:
        return make()
    except InvalidMailError as error:
        return error


def _opened(name: str) -> IO[bytes]:
    stream = Path(name).open("rb")  # noqa: SIM115 — closed by MailFile
    if stream.seekable():
        return stream
    with stream:
        return _spooled(stream)


def _spooled(stream: IO[bytes]) -> IO[bytes]:
    spool = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 — closed by MailFile
    shutil.copyfileobj(stream, spool)
    return spool
