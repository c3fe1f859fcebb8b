"""Log events on stderr: readable at a terminal, JSON lines elsewhere.

An event has a fixed name and fields (`mail_id`, `shard`, `attempt`,
`provider`); never an address, a body or a key. An id or a reason may come from
a stranger's message, so no control character of theirs reaches a terminal, and
a traceback shows no values of variables.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

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
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return [_without_control_characters, renderer]


def _for_machines() -> list[structlog.typing.Processor]:
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _without_control_characters(_logger: object, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    return {name: _printable(value) if isinstance(value, str) else value for name, value in event.items()}


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
