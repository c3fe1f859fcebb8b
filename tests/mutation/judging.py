"""Runs tests against mutants, each in a child that was forked after the heavy libraries were loaded.

A mutant is written into a copy of the tree, never into the tree itself; each of the copies serves one child at a time.
"""

import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.mutation.mutants import Mutant

__all__ = ["Bench", "Fate", "copies", "preload", "start_afresh", "start_forked"]

_HEAVY: Final = ("pytest", "pytest_asyncio", "pydantic", "structlog", "hypothesis", "orjson", "httpx", "httpx_aiohttp")
_LEFT_OUT: Final = shutil.ignore_patterns(
    ".*", "__pycache__", "terraform", "*.egg-info", "build", "dist", "node_modules"
)
_OPTIONS: Final = (
    *("-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=line"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # plugins were loaded before
)
_POLL: Final = 0.01
_PASSED, _FAILED = 0, 1


class Fate(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    TIMED_OUT = "timed out"
    """A test did not end any more, which is a way of failing."""


def preload() -> None:
    """Load what is the same for every mutant; children inherit it."""
    for name in _HEAVY:
        with suppress(ImportError):
            import_module(name)


@contextmanager
def copies(tree: Path, count: int) -> Iterator[list[Path]]:
    """Make *count* copies of *tree*, which are removed afterwards."""
    with TemporaryDirectory(prefix="mutation-") as directory:
        made = [Path(directory) / str(number) / tree.name for number in range(count)]
        for copy in made:
            shutil.copytree(tree, copy, ignore=_LEFT_OUT)
        yield made


@dataclass(slots=True)
class _Run:
    copy: Path
    pid: int
    deadline: float
    mutant: Mutant
    fate: Fate | None = None


@dataclass(slots=True)
class Bench:
    """Judges the mutants of one *module* (a path in the tree) by *tests* in *copies* of the tree."""

    module: str
    tests: Sequence[str]
    copies: Sequence[Path]
    patience: float = 120.0
    start: Callable[[Path, Sequence[str]], int] = field(default_factory=lambda: start_forked)
    """What runs the tests in a child process, and returns its id."""
    _running: list[_Run] = field(default_factory=list)

    def try_unmutated(self) -> tuple[bool, str]:
        """Return whether the tests pass as they are, and what they said; sets the patience by how long they took."""
        begun = time.monotonic()
        pid = self.start(self.copies[0], self.tests)
        fate = _wait(pid, begun + self.patience)
        self.patience = 10.0 + 5.0 * (time.monotonic() - begun)
        return fate is Fate.SURVIVED, (self.copies[0].parent / "output").read_text(errors="replace")

    def judge(self, source: str, mutants: Sequence[Mutant], tell: Callable[[Mutant, Fate], None]) -> None:
        """Run every mutant of *source*, as many at a time as there are copies; *tell* hears each fate."""
        free = list(self.copies)
        waiting = list(reversed(mutants))
        try:
            while waiting or self._running:
                while waiting and free:
                    self._begin(free.pop(), source, waiting.pop())
                for run in self._ended():
                    free.append(run.copy)
                    tell(run.mutant, run.fate or Fate.KILLED)
                time.sleep(_POLL)
        finally:
            self._restore(source)

    def _begin(self, copy: Path, source: str, mutant: Mutant) -> None:
        (copy / self.module).write_text(mutant.applied_to(source))
        pid = self.start(copy, self.tests)
        self._running.append(_Run(copy, pid, time.monotonic() + self.patience, mutant))

    def _ended(self) -> list[_Run]:
        for run in self._running:
            run.fate = _look(run.pid, run.deadline)
        ended = [run for run in self._running if run.fate is not None]
        self._running = [run for run in self._running if run.fate is None]
        return ended

    def _restore(self, source: str) -> None:
        for run in self._running:
            _end(run.pid)
        self._running.clear()
        for copy in self.copies:
            (copy / self.module).write_text(source)


def start_afresh(copy: Path, tests: Sequence[str]) -> int:
    """As `start_forked`, by a new interpreter: a second slower, and safe where this process has threads."""
    run = "import os, sys; os.chdir(sys.argv[1]); import pytest; sys.exit(pytest.main(sys.argv[2:]))"
    output = (os.POSIX_SPAWN_OPEN, 1, copy.parent / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-B", "-c", run, str(copy), *_OPTIONS, *tests],
        {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        file_actions=[output, (os.POSIX_SPAWN_DUP2, 1, 2)],
        setsid=True,
    )


def start_forked(copy: Path, tests: Sequence[str]) -> int:
    """Fork a child that runs *tests* in *copy*; its exit code is pytest's. Only where this process has no threads."""
    pid = os.fork()
    if pid:
        return pid
    code = _FAILED
    try:
        os.setsid()
        output = os.open(copy.parent / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = sys.stderr = os.fdopen(output, "w", buffering=1)
        code = _pytest(copy, tests)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        os._exit(code)


def _pytest(copy: Path, tests: Sequence[str]) -> int:
    """Run in the child, in which nothing of the tree was imported yet but this package."""
    import pytest

    os.chdir(copy)
    sys.dont_write_bytecode = True
    sys.path[:] = [str(copy), *(each for each in sys.path if each not in ("", os.environ.get("PWD", "")))]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "postman")]:
        del sys.modules[name]
    return int(pytest.main([*_OPTIONS, *tests]))


def _look(pid: int, deadline: float) -> Fate | None:
    """Return the fate of the mutant in child *pid*; None while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    if ended:
        return Fate.SURVIVED if os.waitstatus_to_exitcode(status) == _PASSED else Fate.KILLED
    if time.monotonic() < deadline:
        return None
    _end(pid)
    return Fate.TIMED_OUT


def _wait(pid: int, deadline: float) -> Fate:
    while (fate := _look(pid, deadline)) is None:
        time.sleep(_POLL)
    return fate


def _end(pid: int) -> None:
    """End a child that we forked, with what it started: it leads a group of its own."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
