"""Runs the server from its settings until it is told to end."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web

from postman.config import ProviderEntry, Settings
from postman.entrypoints.following import following_document
from postman.entrypoints.serve.access import Access
from postman.entrypoints.serve.app import make_app
from postman.entrypoints.serve.parts import Parts, Publish
from postman.errors import ConfigError, LedgerUnavailableError
from postman.ports.clock import Clock
from postman.ports.ledger import Ledger
from postman.runtime.producer import Producer
from postman.runtime.receiver import Receiver
from postman.wiring import Keys, event_sources, open_ledger, open_producer, open_suppressions, system_clock

__all__ = ["Listening", "listen", "opened_parts", "serve"]

_LOG = structlog.get_logger("postman.serve")

_LINGERING: Final = 1.0
"""Seconds for which what is left of a refused body is read, so that its sender sees the answer."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_CLOSING: Final = 1.0
"""Seconds of the grace that are kept for closing what is open."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where to listen; port 0 is any free one."""

    host: str
    port: int


async def serve(
    settings: Settings, listening: Listening, access: Access, *, ready: Callable[[str, Receiver], None]
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way; *ready* is told the address and who is heard.

    A second signal ends the process at once. Raises `ConfigError`, also for a port that cannot be had.
    """
    stop = _on_signal()
    async with opened_parts(settings, access) as parts, listen(parts, listening, settings.grace) as url:
        _LOG.info("serve_started", url=url, providers=list(parts.receiver.providers))
        ready(url, parts.receiver)
        await stop.wait()
        _LOG.info("serve_ending", **parts.receiver.counts)


def _on_signal() -> asyncio.Event:
    """Return what the first signal sets; the next one does what it does to any process."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def end() -> None:
        stop.set()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    for number in _SIGNALS:
        loop.add_signal_handler(number, end)
    return stop


@asynccontextmanager
async def opened_parts(settings: Settings, access: Access) -> AsyncIterator[Parts]:
    """Open what requests need, close it after; a mail is insisted on for less time than is left after a signal."""
    _check_shared(settings)
    clock = system_clock()
    patience = max(1.0, settings.grace - 2 * _CLOSING)
    async with AsyncExitStack() as stack:
        ledger = open_ledger(settings, clock=clock)
        stack.push_async_callback(ledger.aclose)
        if (suppressions := open_suppressions(settings, clock=clock)) is not None:
            stack.push_async_callback(suppressions.aclose)
        producer = await stack.enter_async_context(open_producer(settings, Producer, patience=patience))
        await _check(ledger)
        receiver = Receiver(
            ledger=ledger,
            suppressions=suppressions,
            sources=[],
            clock=clock,
            kept_for=settings.suppress_for,
            cluster=settings.prefix,
        )
        await stack.enter_async_context(_hearing(receiver, settings, clock))
        yield Parts(
            ledger=ledger,
            receiver=receiver,
            publish=_publisher(producer),
            clock=clock,
            shard_of=producer.shard_of,
            access=access,
        )


@asynccontextmanager
async def _hearing(receiver: Receiver, settings: Settings, clock: Clock) -> AsyncIterator[None]:
    """Let *receiver* verify events by the providers' document; where none is named it hears nobody."""
    if not settings.providers:
        yield
        return

    def take(entries: Sequence[ProviderEntry]) -> None:
        receiver.change(event_sources(entries))

    async with following_document(take, settings, os.environ, keys=Keys.EVENTS, clock=clock):
        yield


def _check_shared(settings: Settings) -> None:
    for name in ("queue", "ledger"):
        if getattr(settings, name).startswith("memory:"):
            raise ConfigError(f"POSTMAN_{name.upper()}: memory: is this process's own, and no worker's; use sqlite:")


async def _check(ledger: Ledger) -> None:
    """Let a wrong setting end the start, and a ledger that is away not: it may come back, and posts are put off."""
    try:
        await ledger.check()
    except LedgerUnavailableError as error:
        _LOG.warning("ledger_away", reason=str(error))


def _publisher(producer: Producer) -> Publish:
    return lambda mail, trace: producer.apublish(mail, trace=trace)


@asynccontextmanager
async def listen(parts: Parts, listening: Listening, grace: float) -> AsyncIterator[str]:
    """Give the address. Leaving stops listening, waits for the requests under way, and closes."""
    runner = web.AppRunner(
        make_app(parts),
        access_log=None,
        auto_decompress=False,
        lingering_time=_LINGERING,
        shutdown_timeout=max(0.0, grace - _CLOSING),
    )
    await runner.setup()
    try:
        yield await _start(runner, listening)
    finally:
        await runner.cleanup()


async def _start(runner: web.AppRunner, listening: Listening) -> str:
    site = web.TCPSite(runner, listening.host, listening.port)
    try:
        await site.start()
    except OSError as error:
        problem = error.strerror or type(error).__name__
        raise ConfigError(f"port {listening.port} on {listening.host} cannot be used: {problem}") from error
    port = runner.addresses[0][1]
    host = f"[{listening.host}]" if ":" in listening.host else listening.host
    return f"http://{host}:{port}"
