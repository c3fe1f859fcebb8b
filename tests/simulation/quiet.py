"""The log of a simulated cluster: kept off the screen, and read for what no worker should ever say."""

import logging
import warnings
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

__all__ = ["SURPRISES", "listen"]

SURPRISES: Final[list[str]] = []
"""Exceptions that nobody expected; taken out by who reads them."""


def listen() -> None:
    """Hear the log of this process from now on. Only where nobody else wants it."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")  # of coroutines that the end of a simulation leaves unfinished
    structlog.configure(
        processors=[_hear],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        cache_logger_on_first_use=True,
    )


def _hear(_: object, __: str, event: MutableMapping[str, Any]) -> str:
    if "where" in event or event["event"] == "unexpected":
        SURPRISES.append(f"{event['event']}: {event.get('reason')} at {event.get('where')}")
    raise structlog.DropEvent
