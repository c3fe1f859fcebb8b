"""Where the lines of a log go: a descriptor that may be full, stuck or gone.

Nobody's mail may wait for whoever reads the log, nor fail because it cannot be
written. A line is written at once where that cannot block, so that the last
words of a process that dies are there; else a thread writes it, and what does
not fit into the room before it is lost, counted, and told of by the next line.
"""

import os
import select
import threading
from collections import deque
from typing import Final

__all__ = ["LogSink"]

_ROOM: Final = 4 << 20
_NOTICE: Final = '{"event": "log_lines_lost", "level": "warning", "count": %d}\n'
_AT_ONCE: Final = select.PIPE_BUF - 128
"""A pipe that is ready takes so many bytes without blocking, and a notice besides."""


class LogSink:
    """A text file as far as loggers need one; at the most *room* bytes wait while the *descriptor* is full."""

    def __init__(self, descriptor: int, *, room: int = _ROOM) -> None:
        self._descriptor = descriptor
        self._room = room
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._held = 0
        self._lost = 0
        self._writer: threading.Thread | None = None

    def write(self, text: str) -> int:
        """Take *text*, which is one line or several; never blocks, never raises."""
        line = text.encode(errors="backslashreplace")
        with self._changed:
            if self._writer is None and len(line) <= _AT_ONCE and self._poll.poll(0):
                self._put(line)
            elif self._held + len(line) <= self._room:
                self._hold(line)
            else:
                self._lost += 1
        return len(text)

    def flush(self) -> None:
        """Nothing: what could be written is written."""

    def close(self, within: float) -> None:
        """Wait up to *within* seconds for what is still held."""
        with self._changed:
            self._changed.wait_for(lambda: self._writer is None, within)

    def _hold(self, line: bytes) -> None:
        self._waiting.append(line)
        self._held += len(line)
        if self._writer is None:
            self._writer = threading.Thread(target=self._drain, name="log", daemon=True)
            self._writer.start()

    def _drain(self) -> None:
        while (line := self._next()) is not None:
            self._put(line)

    def _next(self) -> bytes | None:
        with self._changed:
            if self._waiting:
                line = self._waiting.popleft()
                self._held -= len(line)
                return line
            self._writer = None
            self._changed.notify_all()
            return None

    def _put(self, line: bytes) -> None:
        lost = self._lost
        rest = memoryview((_NOTICE % lost).encode() + line if lost else line)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            lost = -1
        with self._changed:
            self._lost -= lost
