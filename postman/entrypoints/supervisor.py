"""Several workers on one machine: processes of their own, started again when they end before they were told to.

Nothing is shared and no interpreter is forked: each process is a command that
could run alone, with its own event loop, connections and breakers. Each leads a
session of its own, so that a Ctrl-C at the terminal comes to it from here, and
once. Each has a pipe for its standard input that nobody writes to: the pipe ends
when this process does, however it ended, and then the others know that they
are alone.
"""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Final

import structlog

from postman.core.backoff import Backoff
from postman.entrypoints.probes import Hearing
from postman.ports.clock import Clock
from postman.runtime.tasks import first_of

__all__ = ["Restarts", "Supervisor", "usable_processors"]

_LOG = structlog.get_logger("postman.supervisor")

_FAILED: Final = 1
_WRONG_SETTINGS: Final = 2
_UNFIT: Final = 3
_ENDED_WELL: Final = (0, _UNFIT, -signal.SIGTERM)
"""Statuses of a process that was told to end and left nothing behind.

SIGTERM itself ends only one that handles no signals yet, or no more: it has begun nothing, or closed everything.
"""

_SETTLED: Final = 60.0
"""Seconds after which a process that ends was not hindered by what hindered the one before."""


class Restarts:
    """How long a process that ended is left alone: each time longer, up to 30 s, unless it had lived for a minute."""

    def __init__(self, *, random: Callable[[], float] | None = None) -> None:
        self._waits = Backoff(0.5, longest=30.0, random=random)

    def wait_after(self, lived: float) -> float:
        """Return the seconds until the next start, after a process that *lived* for so many."""
        if lived >= _SETTLED:
            self._waits.reset()
        return self._waits.next()


class Supervisor:
    """Keeps as many *processes* running until `stop`; *command* gives the arguments of each by its number, from 1 on.

    SIGTERM tells a process to end; one that takes longer than *patience* seconds for it is killed. With *hearing* the
    standard output of each goes there.
    """

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        *,
        processes: int,
        patience: float,
        clock: Clock,
        hearing: Hearing | None = None,
    ) -> None:
        self._command = command
        self._processes = processes
        self._patience = patience
        self._clock = clock
        self._hearing = hearing
        self._running: dict[int, Process] = {}
        self._stopping = asyncio.Event()
        self._was_told = False
        self._status = 0

    def stop(self) -> None:
        """Let all drain and start none any more; called again: tell them again. May be called at any time."""
        if self._was_told:
            self._status = max(self._status, _FAILED)
            self._tell_all()
        self._was_told = True
        self._drain()

    async def run(self) -> int:
        """Return once all have ended, after `stop` or because one found its settings wrong (exit status 2).

        The answer is an exit status: 0 where all drained, 2 for wrong settings, else 1.
        """
        _LOG.info("supervisor_started", processes=self._processes)
        with _silent_pipe() as pipe:
            await asyncio.gather(*(self._keep(number, pipe) for number in range(1, self._processes + 1)))
        _LOG.info("supervisor_stopped", status=self._status)
        return self._status

    async def _keep(self, number: int, pipe: int) -> None:
        restarts = Restarts()
        while not self._stopping.is_set():
            began = self._clock.now()
            status = await self._run(number, pipe)
            self._judge(status)
            if self._stopping.is_set():
                _LOG.info("process_ended", process=number, status=status)
                return
            wait = restarts.wait_after(self._clock.now() - began)
            _LOG.warning("process_ended", process=number, status=status, restart_in=round(wait, 1))
            await first_of(self._clock.sleep(wait), self._stopping.wait())

    async def _run(self, number: int, pipe: int) -> int | None:
        """Run one process to its end; return its exit status, which is negative for a signal."""
        heard: AbstractContextManager[int | None] = self._hearing.process(number) if self._hearing else nullcontext()
        with heard as stdout:
            return await self._run_with(number, pipe, stdout)

    async def _run_with(self, number: int, pipe: int, stdout: int | None) -> int | None:
        try:
            process = await self._start(number, pipe, stdout)
        except OSError as error:
            _LOG.error("process_not_started", process=number, reason=type(error).__name__)
            return None
        self._running[number] = process
        if self._stopping.is_set():
            _signal(process, signal.SIGTERM)
        await first_of(process.wait(), self._lose_patience(number, process))
        del self._running[number]
        return process.returncode

    async def _start(self, number: int, pipe: int, stdout: int | None) -> Process:
        process = await asyncio.create_subprocess_exec(
            *self._command(number), stdin=pipe, stdout=stdout, start_new_session=True
        )
        _LOG.info("process_started", process=number, pid=process.pid)
        return process

    async def _lose_patience(self, number: int, process: Process) -> None:
        await self._stopping.wait()
        await self._clock.sleep(self._patience)
        _LOG.error("process_killed", process=number, pid=process.pid, after=self._patience)
        _signal(process, signal.SIGKILL)
        await process.wait()

    def _judge(self, status: int | None) -> None:
        if status == _WRONG_SETTINGS:
            self._status = _WRONG_SETTINGS
            self._drain()
        elif self._stopping.is_set() and status not in _ENDED_WELL:
            self._status = max(self._status, _FAILED)

    def _drain(self) -> None:
        if not self._stopping.is_set():
            self._stopping.set()
            if self._hearing:
                self._hearing.is_draining = True
            self._tell_all()

    def _tell_all(self) -> None:
        for process in self._running.values():
            _signal(process, signal.SIGTERM)


def usable_processors() -> int:
    """Return how many processors this process may use; a quota of their time is not looked at."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _signal(process: Process, number: int) -> None:
    """Send a signal by the process's id: `Process.send_signal` may take its exit status from whoever waits for it."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


@contextmanager
def _silent_pipe() -> Iterator[int]:
    """Yield the reading end of a pipe whose other end nobody inherits."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)
