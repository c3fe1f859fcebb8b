"""Runs the console from its settings until it is told to end."""

import asyncio
import getpass
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web

from postman.config import Settings
from postman.entrypoints.console.access import Access, is_loopback
from postman.entrypoints.console.acting.room import acting
from postman.entrypoints.console.app import Room, make_app
from postman.entrypoints.console.keys import ConsoleKeys, read_references
from postman.entrypoints.console.parts import Parts
from postman.entrypoints.console.runbook import Runbook
from postman.entrypoints.console.stores import open_stores
from postman.entrypoints.console.streams import Streams
from postman.errors import ConfigError
from postman.ports.clock import Clock
from postman.wiring import open_keyring, system_clock
from postman.wiring.identities import open_identities

__all__ = ["ROOMS", "Ready", "console", "listen", "opened_parts"]

_LOG = structlog.get_logger("postman.console")

ROOMS: Final[tuple[Room, ...]] = (acting,)
"""The rooms of pages that act."""
_CLOSING: Final = 1.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Ready:
    """Where the console is to be found."""

    url: str
    login_url: str
    """The same with the token that was made at the start; the URL alone where there are other tokens."""


async def console(settings: Settings, host: str, port: int, *, ready: Callable[[Ready], None]) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends the process at once. Raises `ConfigError`."""
    stop = _on_signal()
    clock = system_clock()
    async with (
        opened_parts(settings, os.environ, host=host, clock=clock) as (parts, token),
        listen(parts, host, port) as url,
    ):
        _LOG.info("console_started", url=url)
        ready(Ready(url, f"{url}/login?token={token}" if token else url))
        await stop.wait()


@asynccontextmanager
async def opened_parts(
    settings: Settings, environ: Mapping[str, str], *, host: str, clock: Clock
) -> AsyncIterator[tuple[Parts, str]]:
    """Open what the pages need, close it after; with the token that was made, if one was.

    Raises `ConfigError` where others than this machine could reach a console that knows nobody.
    """
    references = read_references(settings.console_keys)
    if not is_loopback(host) and not references and not settings.console_identity:
        raise ConfigError(
            f"--host {host}: others could reach the console: set POSTMAN_CONSOLE_KEYS, or POSTMAN_CONSOLE_IDENTITY "
            "where a platform says who they are"
        )
    async with AsyncExitStack() as stack:
        identities = open_identities(settings, environ, clock=clock)
        if identities is not None:
            stack.push_async_callback(identities.aclose)
        keyring = open_keyring(settings, environ, clock=clock)
        stack.push_async_callback(keyring.aclose)
        keys = ConsoleKeys(references, keyring, maker=_this_person())
        await keys.check()
        access = Access(
            clock=clock,
            keys=keys,
            identities=identities,
            operators=[each.strip() for each in settings.console_operators.split(",") if each.strip()],
            is_local=is_loopback(host),
        )
        stores = await stack.enter_async_context(open_stores(settings, clock))
        token = keys.token if access.has_login else ""
        yield Parts(stores=stores, access=access, streams=Streams(clock), runbook=Runbook()), token


@asynccontextmanager
async def listen(parts: Parts, host: str, port: int, rooms: tuple[Room, ...] = ROOMS) -> AsyncIterator[str]:
    """Give the address. Leaving ends live pages at once, waits a moment for requests under way, and closes."""
    runner = web.AppRunner(make_app(parts, rooms), access_log=None, shutdown_timeout=_CLOSING)
    await runner.setup()
    try:
        yield await _start(runner, host, port)
    finally:
        await runner.cleanup()


async def _start(runner: web.AppRunner, host: str, port: int) -> str:
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError as error:
        problem = error.strerror or type(error).__name__
        raise ConfigError(f"port {port} on {host} cannot be used: {problem}") from error
    bound = runner.addresses[0][1]
    return f"http://[{host}]:{bound}" if ":" in host else f"http://{host}:{bound}"


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


def _this_person() -> str:
    """Name who started this process as this machine knows that person."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
