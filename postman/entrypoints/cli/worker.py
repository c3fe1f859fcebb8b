"""`postman worker`: delivers until it is told to stop."""

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from contextvars import copy_context
from typing import Annotated, Final

import structlog
import typer

from postman.config import Settings
from postman.core.backoff import Backoff
from postman.entrypoints.cli.setup import settings
from postman.entrypoints.logs import set_up_logs
from postman.entrypoints.probes import Hearing, Seat, attend, serve, tell
from postman.entrypoints.supervisor import Supervisor, usable_processors
from postman.errors import ConfigError, DocumentError, LedgerUnavailableError
from postman.ports.secrets import SecretUnavailableError
from postman.runtime.worker import Worker
from postman.wiring import Opened, open_worker, system_clock

__all__ = ["worker"]

_LOG = structlog.get_logger("postman.worker")

_BROKEN_OFF: Final = 1
_UNFIT: Final = 3
_CLOSING: Final = 1.0
"""Seconds: grace and this together stay below the ten that Cloud Run gives."""
_ENDING: Final = 1.5
"""Seconds beyond grace after which a supervised process is killed: more than closing takes, and still below the ten."""
_LONGEST_PAUSE: Final = 30.0
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
    stopping = _Stopping()
    if number:
        stopping.follow_supervisor(patience=chosen.grace + _ENDING)
    seat = Seat(system_clock(), ack_deadline=chosen.ack_deadline)
    async with _probed(seat, chosen, number):
        opened = await _open(chosen, stopping.began, seat)
        if opened is None:
            return 0
        delivering, close = opened
        stopping.stops(delivering)
        await _deliver(delivering, close, is_probed=chosen.probe_port > 0)
    stopping.is_over()
    if stopping.signals > 1:
        return _BROKEN_OFF
    return _UNFIT if delivering.unfit else 0


class _Stopping:
    """The signals that stop a worker, from its process's beginning; within a running loop."""

    def __init__(self) -> None:
        self.signals = 0
        self.began = asyncio.Event()
        self._worker: Worker | None = None
        self._loop = asyncio.get_running_loop()
        for name in _STOPPING:
            self._loop.add_signal_handler(name, self._stop)

    def stops(self, worker: Worker) -> None:
        """Stop *worker* from now on, at once where a signal came before it was there."""
        self._worker = worker
        if self.began.is_set():
            worker.stop()

    def follow_supervisor(self, *, patience: float) -> None:
        """Stop, too, when the supervisor ends."""
        _when_supervisor_ends(lambda: self._loop.call_soon_threadsafe(self._stop_alone), patience=patience)

    def is_over(self) -> None:
        """Let a signal that comes while the process ends change nothing: its exit status is known."""
        for name in _STOPPING:
            self._loop.remove_signal_handler(name)
            signal.signal(name, signal.SIG_IGN)

    def _stop(self) -> None:
        self.signals += 1
        self.began.set()
        if self._worker is not None:
            self._worker.stop()

    def _stop_alone(self) -> None:
        if not self.signals:
            _LOG.warning("supervisor_gone")
            self._stop()


async def _open(chosen: Settings, stopped: asyncio.Event, seat: Seat) -> Opened | None:
    """Return a worker, once its providers' document and their keys can be read; None where it was *stopped* first."""
    waits = Backoff(0.5, longest=_LONGEST_PAUSE)
    while not stopped.is_set():
        seat.try_to_open()
        try:
            opened = await open_worker(chosen, os.environ)
        except (LedgerUnavailableError, SecretUnavailableError, DocumentError) as error:
            pause = waits.next()
            _LOG.error("not_reachable", reason=str(error), retry_in=round(pause, 1))
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), pause)
        else:
            seat.worker = opened[0]
            gc.freeze()  # what was loaded for it stays as long as it does
            return opened
    return None


async def _deliver(delivering: Worker, close: Callable[[], Awaitable[object]], *, is_probed: bool) -> None:
    attended = attend(delivering, system_clock()) if is_probed else nullcontext()
    try:
        async with attended:
            await delivering.run()
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(close(), _CLOSING)


def _probed(seat: Seat, chosen: Settings, number: int) -> AbstractAsyncContextManager[None]:
    """Answer probes meanwhile, where that is asked for, or with a *number* tell the supervisor, who does."""
    if not chosen.probe_port:
        return nullcontext()
    return tell(seat.condition, system_clock()) if number else serve(seat.condition, chosen.probe_port)


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
    clock = system_clock()
    hearing = Hearing(processes, clock) if chosen.probe_port else None
    supervisor = Supervisor(
        _command, processes=processes, patience=chosen.grace + _ENDING, clock=clock, hearing=hearing
    )
    loop = asyncio.get_running_loop()
    for name in _STOPPING:
        loop.add_signal_handler(name, supervisor.stop)
    answering = serve(hearing.condition, chosen.probe_port) if hearing else nullcontext()
    async with answering:
        await _check(chosen)
        return await supervisor.run()


async def _check(chosen: Settings) -> None:
    """Find wrong settings before anything is started: what a worker opens is opened once, and connects nowhere."""
    try:
        _, close = await open_worker(chosen, os.environ)
    except (LedgerUnavailableError, SecretUnavailableError, DocumentError):
        return  # the processes wait for it
    await close()


def _command(number: int) -> Sequence[str]:
    """Return the command of one process; no module of the folder that we are in can stand in for one of ours."""
    return (sys.executable, "-P", "-m", "postman", "worker", "--supervised", str(number))


def _refuse_memory(chosen: Settings) -> None:
    for name, url in (("POSTMAN_QUEUE", chosen.queue), ("POSTMAN_LEDGER", chosen.ledger)):
        if url.startswith("memory:"):
            raise ConfigError(f"{name}: memory: is of one process alone; it cannot be used with --processes")
