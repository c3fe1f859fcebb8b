"""The answers to a platform's probes, over HTTP: whether this process is alive, and whether it is ready.

`GET /live`: a worker is alive while both of its loops turn, the one that pulls
and the one that keeps leases. One that only waits, since no provider, queue or
ledger can be used, is alive: to be started anew would help it nothing. One
whose event loop is blocked gives no answer, which is a failure to a platform too.

`GET /ready`: queue and ledger have answered lately. Nobody is asked for it: the
queue is known by the pulls that a worker makes anyhow, the ledger by one small
read every ten seconds, however many probes come.

A supervisor answers for its processes. Each tells it every second how it is, by
a line on its standard output; one that says nothing for ten seconds is blocked.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Final

import orjson
import structlog
from aiohttp import web

from postman.errors import ConfigError
from postman.ports.clock import Clock
from postman.runtime.worker import Vitals, Worker

__all__ = ["Condition", "Hearing", "Seat", "attend", "condition_of", "serve", "tell"]

_LOG = structlog.get_logger("postman.probes")

_TURNED: Final = 60.0
"""Seconds within which both loops of a worker that is alive have turned: either does every 20 s at the least."""
_STARTED: Final = 120.0
"""Seconds for one step of a start, of which the longest takes a minute: to read the suppression list."""
_LATELY: Final = 60.0
_EVERY: Final = 10.0
_TELL: Final = 1.0
_SILENT: Final = 10.0
_IDLE: Final = 75.0
"""Seconds for which a connection without a request stays open."""
_CLOSING: Final = 0.1
_READ: Final = 65_536
_IS_STARTING: Final = "it is starting"


@dataclass(frozen=True, slots=True)
class Condition:
    """Why a process is not alive, and why it is not ready; empty where it is."""

    not_alive: str = ""
    not_ready: str = ""


def condition_of(vitals: Vitals, *, ack_deadline: float) -> Condition:
    """Return what a worker's *vitals* say; it is ready if queue and ledger answered within the last minute.

    The queue within *ack_deadline* seconds, where these are more: who has no place for a mail only extends leases.
    """
    stuck = _stuck(vitals)
    return Condition(stuck, stuck or _hindrance(vitals, max(_LATELY, ack_deadline)))


def _stuck(vitals: Vitals) -> str:
    """One that drains is alive: its platform told it to, and does not wait for ever."""
    if vitals.is_draining:
        return ""
    if vitals.starting is not None:
        return _stuck_at_start(vitals.starting)
    for loop, age in (("pull", vitals.pulling), ("lease", vitals.leasing)):
        if age > _TURNED:
            return f"its {loop} loop has not turned for {age:.0f} s"
    return ""


def _stuck_at_start(seconds: float) -> str:
    return f"a step of its start has taken {seconds:.0f} s" if seconds > _STARTED else ""


def _hindrance(vitals: Vitals, queue_limit: float) -> str:
    if vitals.is_draining:
        return "it drains"
    if vitals.starting is not None:
        return _IS_STARTING
    for name, age, limit in (("queue", vitals.queue, queue_limit), ("ledger", vitals.ledger, _LATELY)):
        if age > limit:
            return f"the {name} has not answered lately"
    return ""


class Seat:
    """Where a process has its *worker*, once it could be opened: that may take as long as the ledger is away."""

    def __init__(self, clock: Clock, *, ack_deadline: float) -> None:
        self.worker: Worker | None = None
        self._clock = clock
        self._ack_deadline = ack_deadline
        self._tried_at = clock.now()

    def try_to_open(self) -> None:
        """Note that the worker is tried to be opened now."""
        self._tried_at = self._clock.now()

    def condition(self) -> Condition:
        if self.worker is not None:
            return condition_of(self.worker.vitals(), ack_deadline=self._ack_deadline)
        stuck = _stuck_at_start(self._clock.now() - self._tried_at)
        return Condition(stuck, stuck or _IS_STARTING)


@asynccontextmanager
async def attend(worker: Worker, clock: Clock) -> AsyncIterator[None]:
    """While this is open, have *worker* do every ten seconds what its vitals tell of, where its mails do not."""
    async with _beside(_nudge(worker, clock), _look(worker, clock)):
        yield


async def _nudge(worker: Worker, clock: Clock) -> None:
    while True:
        worker.nudge()
        await clock.sleep(_EVERY)


async def _look(worker: Worker, clock: Clock) -> None:
    while True:
        await worker.look_at_ledger()
        await clock.sleep(_EVERY)


@asynccontextmanager
async def _beside(*endless: Coroutine[object, object, None]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each) for each in endless]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@asynccontextmanager
async def serve(condition: Callable[[], Condition], port: int) -> AsyncIterator[None]:
    """While this is open, answer on *port* of all interfaces. Raises `ConfigError` if it cannot be had."""
    server = web.Server(partial(_answer, condition), access_log=None, keepalive_timeout=_IDLE)
    listening = await asyncio.get_running_loop().create_server(server, sock=_bound(port))
    _LOG.info("probes_answered", port=port)
    try:
        yield
    finally:
        listening.close()
        await server.shutdown(_CLOSING)


def _bound(port: int) -> socket.socket:
    """Return a socket for IPv6 and IPv4, or for the latter alone where the system has no other."""
    if socket.has_dualstack_ipv6():
        with suppress(OSError):
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    try:
        return socket.create_server(("", port))
    except OSError as error:
        problem = error.strerror or type(error).__name__
        raise ConfigError(f"POSTMAN_PROBE_PORT: port {port} cannot be used: {problem}") from error


async def _answer(condition: Callable[[], Condition], request: web.BaseRequest) -> web.Response:
    path = request.raw_path.partition("?")[0]
    if path not in {"/live", "/ready"}:
        return _response(404, "there is only /live and /ready")
    if request.method not in {"GET", "HEAD"}:
        return _response(405, "ask with GET", Allow="GET, HEAD")
    now = condition()
    reason = now.not_alive if path == "/live" else now.not_ready
    return _response(503 if reason else 200, reason)


def _response(status: int, reason: str, **headers: str) -> web.Response:
    """Return an answer that does not name the software and its version."""
    document = {"status": "failing", "reason": reason} if reason else {"status": "ok"}
    return web.Response(
        status=status,
        body=orjson.dumps(document),
        content_type="application/json",
        headers={"Server": "postman", "Cache-Control": "no-store", **headers},
    )


@asynccontextmanager
async def tell(condition: Callable[[], Condition], clock: Clock) -> AsyncIterator[None]:
    """While this is open, tell the supervisor at the other end of standard output."""
    async with _beside(_tell(condition, clock, sys.stdout.fileno())):
        yield


async def _tell(condition: Callable[[], Condition], clock: Clock, output: int) -> None:
    """A supervisor that does not listen keeps nobody waiting; one that is gone is told nothing more."""
    os.set_blocking(output, False)
    with suppress(OSError):
        while True:
            with suppress(BlockingIOError):
                os.write(output, orjson.dumps(asdict(condition()), option=orjson.OPT_APPEND_NEWLINE))
            await clock.sleep(_TELL)


@dataclass(frozen=True, slots=True)
class _Voice:
    """What was last heard of a process, and when."""

    at: float
    said: Condition


class Hearing:
    """What a supervisor hears of its *processes*; used from one event loop."""

    def __init__(self, processes: int, clock: Clock) -> None:
        self._processes = processes
        self._clock = clock
        self._voices: dict[int, _Voice] = {}
        self.is_draining = False
        """Whether all were told to end."""

    @contextmanager
    def process(self, number: int) -> Iterator[int]:
        """Hear a process while this is open; yields what is to be its standard output."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        loop = asyncio.get_running_loop()
        loop.add_reader(reading, self._hear, reading, number)
        self._voices[number] = _Voice(self._clock.now(), Condition(not_ready=_IS_STARTING))
        try:
            yield writing
        finally:
            del self._voices[number]
            loop.remove_reader(reading)
            os.close(reading)
            os.close(writing)

    def condition(self) -> Condition:
        """Return what is so of all: alive while no process is stuck, ready while each is there and ready.

        One that ended is the supervisor's to start again, so it makes nobody start the others anew.
        """
        heard = {number: self._of(voice) for number, voice in self._voices.items()}
        not_alive = _first({number: each.not_alive for number, each in heard.items()})
        not_ready = _first({number: each.not_ready for number, each in heard.items()})
        missing = self._processes - len(heard)
        not_ready = not_ready or (f"{missing} of {self._processes} processes are not running" if missing else "")
        if self.is_draining:
            return Condition(not_ready="it drains")
        return Condition(not_alive, not_alive or not_ready)

    def _of(self, voice: _Voice) -> Condition:
        silent = self._clock.now() - voice.at
        if silent > _SILENT:
            words = f"it has said nothing for {silent:.0f} s"
            return Condition(words, words)
        return voice.said

    def _hear(self, reading: int, number: int) -> None:
        lines = os.read(reading, _READ).splitlines()
        with suppress(orjson.JSONDecodeError, TypeError):  # not every line on a standard output must be ours
            self._voices[number] = _Voice(self._clock.now(), Condition(**orjson.loads(lines[-1])))


def _first(problems: dict[int, str]) -> str:
    return next((f"process {number}: {problem}" for number, problem in problems.items() if problem), "")
