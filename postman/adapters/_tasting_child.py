"""The process that reads messages in a worker's stead: `python -m postman.adapters._tasting_child READING RENDERING…`.

It reads one message after the other from its standard input, tells on its
standard output how each went, and ends when its input ends. Whatever a message
does to it, it lasts for a few seconds and takes a bounded share of memory: a
time that is over and a limit that is reached end it, also where the interpreter
does not come to its senses any more.
"""

import json
import math
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, Final

from postman.core.mail import Mail
from postman.core.message import Message
from postman.core.wire import decode_message, digest
from postman.errors import PostmanError

__all__ = ["FINE", "HEADER", "READING", "READY", "main", "read"]

READY: Final = b"ready\n"
FINE: Final = b"fine\n"
HEADER: Final = struct.Struct(">IIII")
"""Before each message: the seconds that it may take, those of them of a processor, the bytes of its
attributes (JSON) and data."""
READING: Final = "postman.adapters._tasting_child:read"

_MEMORY: Final = 1 << 30
"""Bytes that reading a message may take, beyond what the process has when it begins."""
_FAILED: Final = 3

_Reading = Callable[[Message], Mail]
_Rendering = Callable[[Mail, str], object]


@dataclass(frozen=True, slots=True)
class _Question:
    seconds: int
    work: int
    message: Message


def read(message: Message) -> Mail:
    """Do with *message* what a worker does before it claims the mail."""
    mail = decode_message(message)
    digest(mail)
    return mail


def main(reading: str, renderings: Sequence[str]) -> None:
    """Taste until the input ends, by the functions of these names (`module:function`)."""
    answers = _take_output()
    reads, renders = _named(reading), [_named(name) for name in renderings]
    _bound_memory()
    answers.write(READY)
    while (question := _question(sys.stdin.buffer)) is not None:
        _bound_time(question.seconds, question.work)
        answer = _taste(question.message, reads, renders)
        signal.alarm(0)
        answers.write(answer)
        if answer != FINE:
            sys.exit(_FAILED)


def _taste(message: Message, reads: _Reading, renders: Sequence[_Rendering]) -> bytes:
    try:
        mail = reads(message)
        for render in renders:
            with suppress(Exception):  # a provider that cannot take it is no harm, as long as this process lives
                render(mail, "")
    except PostmanError:
        return FINE
    except Exception as error:  # noqa: BLE001 — whatever it is: the worker would meet it as well
        return f"{type(error).__name__}\n".encode()
    return FINE


def _question(questions: BinaryIO) -> _Question | None:
    header = questions.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    seconds, work, of_attributes, of_data = HEADER.unpack(header)
    attributes, data = questions.read(of_attributes), questions.read(of_data)
    return _Question(seconds, work, Message(data, json.loads(attributes))) if len(data) == of_data else None


def _take_output() -> FileIO:
    """Keep standard output for answers: whatever else is printed goes nowhere, since it may be of a mail."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return answers


def _named(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(import_module(module), function)


def _bound_memory() -> None:
    """Set the limit, and be the first to go where the machine itself runs out."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + _MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _bound_time(seconds: int, work: int) -> None:
    """End this process after so many *seconds*, or *work* of a processor's: by signals that nothing here handles."""
    signal.alarm(seconds)
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime) + work
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):  # it ends with its worker, not before it
        signal.signal(number, signal.SIG_IGN)
    main(sys.argv[1], sys.argv[2:])
