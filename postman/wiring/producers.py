"""Producers, joined from their parts."""

from typing import Final, TypeVar

import structlog

from postman.adapters.clock import SystemClock
from postman.config import Settings
from postman.ports.layouts import Layouts
from postman.runtime.producer import PATIENCE, Producer
from postman.wiring.loading import load
from postman.wiring.stores import open_layouts, open_shards

__all__ = ["open_producer"]

_LOG = structlog.get_logger("postman.wiring")
_P = TypeVar("_P", bound=Producer)

_DEFAULT_LEDGER: Final = "sqlite:"


def open_producer(settings: Settings, kind: type[_P], *, patience: float = PATIENCE) -> _P:
    """Return a producer of this *kind*; it opens the rest later, in its own thread, but a wrong setting shows now."""
    load("postman.queues", settings.queue.partition(":")[0], "POSTMAN_QUEUE")
    return kind(
        lambda: open_shards(settings),
        clock=SystemClock(),
        patience=patience,
        open_layouts=lambda: _layouts_to_follow(settings),
        hand=settings.shard_hand,
    )


def _layouts_to_follow(settings: Settings) -> Layouts | None:
    """Return what a producer follows: nothing where it was told of no ledger, as the default is a file of its own."""
    if settings.ledger == _DEFAULT_LEDGER and not settings.queue.startswith(_DEFAULT_LEDGER):
        _LOG.info("layout_not_followed", reason="POSTMAN_LEDGER is not set, so POSTMAN_SHARDS counts")
        return None
    return open_layouts(settings)
