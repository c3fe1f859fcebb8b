"""Log events on stderr: readable at a terminal, JSON lines elsewhere.

An event has a fixed name and fields (`mail_id`, `shard`, `attempt`,
`provider`); never an address, a body or a key. An id or a reason may come from
a stranger's message, so no control character of theirs reaches a terminal, and
a traceback shows no values of variables. Whoever reads the log, or does not,
keeps no mail waiting (`LogSink`).
"""

import atexit
import io
import logging
import sys
import time
from typing import Final, TextIO, cast

import structlog

from postman.entrypoints.logsink import LogSink

__all__ = ["set_up_logs"]

_LIBRARIES: Final = ("aiohttp", "asyncio")
"""Whose complaints would go to stderr past us, with all that a stranger sent."""
_QUIET: Final = 1.0
_LAST_LINES: Final = 0.5
"""Seconds that a process which ends waits for the reader of its log."""


def set_up_logs(level: str) -> None:
    """Let everything that postman logs go to stderr, from *level* (a name, any case) on."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(_for_reading() if sys.stderr.isatty() else _for_machines()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(_sink()),
        cache_logger_on_first_use=True,
    )
    _quiet_libraries()


class _Quiet(logging.Handler):
    """Tells that a library complained, and of what kind: its own words may hold a header with a key, or an address."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._tell_again_at = 0.0
        self._untold = 0

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now < self._tell_again_at:
            self._untold += 1
            return
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        structlog.get_logger("postman").warning("library_complained", by=record.name, error=error, besides=self._untold)
        self._tell_again_at, self._untold = now + _QUIET, 0


def _quiet_libraries() -> None:
    for name in _LIBRARIES:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [_Quiet()], False


def _for_reading() -> list[structlog.typing.Processor]:
    """Values with control characters are quoted by the renderer itself; only the traceback must be tamed."""
    return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]


def _for_machines() -> list[structlog.typing.Processor]:
    return [_add_severity, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _add_severity(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Name the level as Cloud Logging reads it (https://cloud.google.com/logging/docs/structured-logging)."""
    event["severity"] = str(event.get("level", "")).upper()
    return event


def _sink() -> TextIO:
    try:
        sink = LogSink(sys.stderr.fileno())
    except io.UnsupportedOperation:
        return sys.stderr
    atexit.register(sink.close, _LAST_LINES)
    return cast("TextIO", sink)
