"""`postman worker`: delivers until it is told to stop."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from typing import Final

from postman.config import Settings
from postman.entrypoints.cli.setup import settings
from postman.entrypoints.logs import set_up_logs
from postman.wiring import open_worker

__all__ = ["worker"]

_BROKEN_OFF: Final = 1
_UNFIT: Final = 3
_CLOSING: Final = 1.0
"""Seconds: grace and this together stay below the ten that Cloud Run gives."""


def worker() -> None:
    """Deliver until SIGTERM or SIGINT, then drain and exit with 0. A second signal breaks off at once (exit status 1).

    Every POSTMAN_HEALTH_WINDOW seconds (30; 0: never) it reports how it does; `postman status` shows all workers.

    Exit status 3: its fleet found it slow, stalled or idle beside a backlog; it drained, and wants to be replaced.
    """
    chosen = settings()
    set_up_logs(chosen.log_level)
    sys.exit(asyncio.run(_work(chosen)))


async def _work(chosen: Settings) -> int:
    delivering, close = open_worker(chosen, os.environ)
    signals = 0

    def stop() -> None:
        nonlocal signals
        signals += 1
        delivering.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await delivering.run()
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(close(), _CLOSING)
    if signals > 1:
        return _BROKEN_OFF
    return _UNFIT if delivering.unfit else 0
