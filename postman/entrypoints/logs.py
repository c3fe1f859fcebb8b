"""Log events on stderr: readable at a terminal, JSON lines elsewhere.

An event has a fixed name and fields (`mail_id`, `shard`, `attempt`,
`provider`); never an address, a body or a key. An id or a reason may come from
a stranger's message, so no control character of theirs reaches a terminal, and
a traceback shows no values of variables.
"""

import logging
import sys

import structlog

__all__ = ["set_up_logs"]


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
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _for_reading() -> list[structlog.typing.Processor]:
    """Values with control characters are quoted by the renderer itself; only the traceback must be tamed."""
    return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]


def _for_machines() -> list[structlog.typing.Processor]:
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
