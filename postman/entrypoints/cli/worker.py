"""`postman worker`: delivers until it is told to stop."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import copy_context
from typing import Annotated, Final

import structlog
import typer

from postman.config import Settings
from postman.entrypoints.cli.setup import settings
from postman.entrypoints.logs import set_up_logs
from postman.entrypoints.supervisor import Supervisor, usable_processors
from postman.errors import ConfigError
from postman.wiring import open_worker, system_clock

__all__ = ["worker"]

_LOG = structlog.get_logger("postman.worker")

_BROKEN_OFF: Final = 1
_UNFIT: Final = 3
_CLOSING: Final = 1.0
"""Seconds: grace and this together stay below the ten that Cloud Run gives."""
_ENDING: Final = 1.5
"""Seconds beyond grace after which a supervised process is killed: more than closing takes, and still below the ten."""
_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)


def worker(
    *,
    processes: Annotated[
        int,
        typer.Option(
            min=0, max=256, metavar="N", help="How many to run under a supervisor; 0: one for each usable processor."
        ),
    ] = 1,
    supervised: Annotated[int, typer.Option(hidden=True, min=0, help="Its number; drains when stdin ends.")] = 0,
) -> None:
    """Deliver until SIGTERM or SIGINT, then drain and exit with 0. A second signal breaks off at once (exit status 1).

    Every POSTMAN_HEALTH_WINDOW seconds (30; 0: never) it reports how it does; `postman status` shows all workers.

    Exit status 3: its fleet found it slow, stalled or idle beside a backlog; it drained, and wants to be replaced.

    With --processes a supervisor does that; it also starts anew what crashed. Exit status 0 only if all drained.
    """
    chosen = settings()
    set_up_logs(chosen.log_level)
    if processes == 1:
        sys.exit(asyncio.run(_work(chosen, supervised)))
    _refuse_memory(chosen)
    sys.exit(asyncio.run(_supervise(chosen, processes or usable_processors())))


async def _work(chosen: Settings, number: int) -> int:
    """Deliver as a process of its own, or with a *number* as one that ends when its supervisor does."""
    if number:
        structlog.contextvars.bind_contextvars(process=number)
    delivering, close = open_worker(chosen, os.environ)
    signals = 0

    def stop() -> None:
        nonlocal signals
        signals += 1
        delivering.stop()

    def stop_alone() -> None:
        if not signals:
            _LOG.warning("supervisor_gone")
            stop()

    loop = asyncio.get_running_loop()
    for name in _STOPPING:
        loop.add_signal_handler(name, stop)
    if number:
        _when_supervisor_ends(lambda: loop.call_soon_threadsafe(stop_alone), patience=chosen.grace + _ENDING)
    try:
        await delivering.run()
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(close(), _CLOSING)
    if signals > 1:
        return _BROKEN_OFF
    return _UNFIT if delivering.unfit else 0


def _when_supervisor_ends(stop: Callable[[], object], *, patience: float) -> None:
    """Call *stop* in another thread once standard input ends, and end this process if it lives *patience* longer."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        with suppress(RuntimeError):  # the loop was closed: it is ending
            stop()
        time.sleep(patience)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=copy_context().run, args=(watch,), name="supervisor", daemon=True).start()


async def _supervise(chosen: Settings, processes: int) -> int:
    supervisor = Supervisor(_command, processes=processes, patience=chosen.grace + _ENDING, clock=system_clock())
    loop = asyncio.get_running_loop()
    for name in _STOPPING:
        loop.add_signal_handler(name, supervisor.stop)
    await _check(chosen)
    return await supervisor.run()


async def _check(chosen: Settings) -> None:
    """Find wrong settings before anything is started: what a worker opens is opened once, and connects nowhere."""
    _, close = open_worker(chosen, os.environ)
    await close()


def _command(number: int) -> Sequence[str]:
    """Return the command of one process; no module of the folder that we are in can stand in for one of ours."""
    return (sys.executable, "-P", "-m", "postman", "worker", "--supervised", str(number))


def _refuse_memory(chosen: Settings) -> None:
    for name, url in (("POSTMAN_QUEUE", chosen.queue), ("POSTMAN_LEDGER", chosen.ledger)):
        if url.startswith("memory:"):
            raise ConfigError(f"{name}: memory: is of one process alone; it cannot be used with --processes")
