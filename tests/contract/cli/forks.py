"""Runs many commands from one interpreter that has imported everything: each in a process of its own, forked.

Importing takes half a second of a processor, a fork a hundredth. The child is the command in all else: its arguments,
environment, folder and files are its own, it leads its own session, and it ends as the interpreter ends.
"""

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Forks"]

_LIMIT = 30
_LATE = ("postman.adapters.mailgun", "postman.adapters.sendgrid", "postman.adapters.sqlite", "postman.sandbox")
"""Imported by the commands themselves only when they are needed."""


class Forks:
    """A context; within it `run` runs one command at a time."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        asking, self._questions = os.pipe()
        self._answers, answering = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(asking), str(answering)],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(asking, answering),
        )
        os.close(asking)
        os.close(answering)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._questions)
        os.close(self._answers)
        self._process.wait(_LIMIT)

    def run(self, arguments: Sequence[str], *, folder: Path, environ: Mapping[str, str], files: Sequence[Path]) -> int:
        """Run a command with *files* as standard input, output and error; return its exit status."""
        names = [str(file) for file in files]
        question = {"arguments": list(arguments), "folder": str(folder), "environ": dict(environ), "files": names}
        os.write(self._questions, json.dumps(question).encode() + b"\n")
        answer = os.read(self._answers, 100)
        assert answer, "the process that forks has died"
        return os.waitstatus_to_exitcode(int(answer))


def _serve(asking: int, answering: int) -> None:
    from postman.entrypoints.cli import commands
    from postman.entrypoints.cli.app import main

    for name in (
        *_LATE,
        *(f"{commands.__package__}.{place.partition(':')[0]}" for place in commands.COMMANDS.values()),
    ):
        import_module(name)
    gc.freeze()
    with os.fdopen(asking, "rb") as questions:
        for line in questions:
            child = os.fork()
            if child == 0:
                _become(json.loads(line))
                main()
                sys.exit(0)
            _, status = os.waitpid(child, 0)
            os.write(answering, str(status).encode())


def _become(question: dict[str, Any]) -> None:
    os.setsid()
    os.chdir(question["folder"])
    signal.alarm(_LIMIT)
    os.environ.clear()
    os.environ.update(question["environ"])
    for descriptor, (name, mode) in enumerate(
        zip(question["files"], (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY), strict=True)
    ):
        os.dup2(os.open(name, mode | os.O_CREAT | os.O_CLOEXEC), descriptor)
    sys.argv = ["postman", *question["arguments"]]


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]))
