"""Tastes messages in a child process, which may die of them.

There is one child at the most, made when it is first needed, used for one
message after the other, and let go of when nothing was tasted for a minute. It
ends when its pipe does, so none outlives its worker. It is started anew, not
forked: a fork of a process with threads (gRPC has some) may hang.

A child that ended may have been ended by others, say for want of memory. So the
message is given to another one before it is blamed.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from postman.adapters._tasting_child import FINE, HEADER, READING, READY
from postman.core.message import Message
from postman.ports.clock import Clock

__all__ = ["ChildTaster"]

_LOG = structlog.get_logger("postman.tasting")

_STARTING: Final = 20.0
_HOLIDAY: Final = 60.0
"""Seconds for which no child is started after one did not start."""
_SPARE: Final = 2.0
"""Seconds that a child is given to end by itself once its time is over."""
_TRIES: Final = 2
_KEPT: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "VIRTUAL_ENV")
"""What a child sees of the environment: not the keys."""


@dataclass(frozen=True, slots=True)
class _Fate:
    """What a child said of a message, or how it ended."""

    harm: str
    is_certain: bool = True


_HARMLESS: Final = _Fate("")


class ChildTaster:
    """A `Taster`; used from one event loop.

    A message may take *limit* seconds, *work* of them of a processor; who waits for his turn for longer than *patience*
    goes without. *reading* and *renderings* name (`module:function`) what is tried: the first makes a mail of a
    message, the others are given the mail and an empty name.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        reading: str = READING,
        renderings: Sequence[str] = (),
        limit: int = 10,
        work: int = 5,
        patience: float = 50.0,
        idle: float = 60.0,
    ) -> None:
        self._clock = clock
        self._names = (reading, *renderings)
        self._limit = limit
        self._work = work
        self._patience = patience
        self._idle = idle
        self._turn = asyncio.Lock()
        self._child: asyncio.subprocess.Process | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._not_before = 0.0

    @property
    def pid(self) -> int | None:
        """The child's, while there is one."""
        return self._child.pid if self._child else None

    async def taste(self, message: Message) -> str:
        try:
            async with asyncio.timeout(self._patience):
                await self._turn.acquire()
        except TimeoutError:
            return self._untasted(message, "the child is busy")
        try:
            return await self._taste(message)
        finally:
            self._turn.release()

    async def aclose(self) -> None:
        """End the child, also one that is tasting."""
        self._stay()
        await self._end()

    async def _taste(self, message: Message) -> str:
        self._stay()
        fate = _HARMLESS
        for _ in range(_TRIES):
            if (child := await self._started()) is None:
                return self._untasted(message, "no child could be started")
            fate = await self._ask(child, message)
            if fate.is_certain:
                break
        self._leaving = asyncio.ensure_future(self._leave())
        return fate.harm

    def _untasted(self, message: Message, reason: str) -> str:
        _LOG.warning("not_tasted", mail_id=message.attributes.get("mail_id"), reason=reason)
        return ""

    async def _started(self) -> asyncio.subprocess.Process | None:
        if self._child is not None or self._clock.now() < self._not_before:
            return self._child
        try:
            async with asyncio.timeout(_STARTING):
                await self._start()
        except (OSError, ValueError) as error:
            _LOG.error("taster_not_started", reason=type(error).__name__)
        if self._child is None:
            self._not_before = self._clock.now() + _HOLIDAY
        return self._child

    async def _start(self) -> None:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", "postman.adapters._tasting_child", *self._names),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,
        )
        try:
            if await _output(child).readline() == READY:
                self._child = child
        finally:
            if self._child is None:
                await _kill(child)

    async def _ask(self, child: asyncio.subprocess.Process, message: Message) -> _Fate:
        """Have *child* read *message*; whenever that does not go well, it is not used any more."""
        try:
            async with asyncio.timeout(self._limit + 2 * _SPARE):
                answer = await _exchange(child, message, self._limit, self._work)
        except TimeoutError:
            await self._end()
            return self._end_of(-signal.SIGALRM)
        except OSError:
            answer = b""
        except asyncio.CancelledError:
            await self._end()
            raise
        if answer == FINE:
            return _HARMLESS
        self._child = None
        await _bury(child)
        return _Fate(f"reading it fails ({answer.decode().strip()})") if answer else self._end_of(child.returncode or 0)

    def _end_of(self, status: int) -> _Fate:
        if status == -signal.SIGXCPU:
            return _Fate(f"reading it took more than {self._work} s of a processor")
        if status == -signal.SIGALRM:
            return _Fate(f"reading it took more than {self._limit} s", is_certain=False)
        how = f"signal {-status}" if status < 0 else f"exit {status}"
        return _Fate(f"reading it ended the process: {how}", is_certain=False)

    async def _leave(self) -> None:
        await self._clock.sleep(self._idle)
        await self._end()

    def _stay(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await _kill(child)


def _environment() -> dict[str, str]:
    """Let the child find the modules that this process finds, wherever it was started."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


async def _exchange(child: asyncio.subprocess.Process, message: Message, seconds: int, work: int) -> bytes:
    attributes = json.dumps(dict(message.attributes)).encode()
    questions = child.stdin
    if questions is None:
        raise OSError("it has no input")
    questions.write(HEADER.pack(seconds, work, len(attributes), len(message.data)) + attributes)
    questions.write(message.data)
    await questions.drain()
    return await _output(child).readline()


def _output(child: asyncio.subprocess.Process) -> asyncio.StreamReader:
    if child.stdout is None:
        raise OSError("it has no output")
    return child.stdout


async def _bury(child: asyncio.subprocess.Process) -> None:
    """Learn how *child* ended, where it does so by itself: to signal one that is dead loses its exit status."""
    try:
        async with asyncio.timeout(_SPARE):
            await child.wait()
    except TimeoutError:
        await _kill(child)
    except asyncio.CancelledError:
        await _kill(child)
        raise


async def _kill(child: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        child.kill()
    await child.wait()
