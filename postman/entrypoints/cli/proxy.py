"""`postman proxy`: stands between workers and providers, and records what the providers accepted."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Annotated, Final

import structlog
import typer

from postman.config import ProviderEntry, Settings
from postman.entrypoints.cli.output import OUT, plain, print_json
from postman.entrypoints.cli.setup import settings
from postman.entrypoints.following import LookAgain, following_document
from postman.entrypoints.logs import set_up_logs
from postman.entrypoints.proxy.server import ProxyServer
from postman.errors import ConfigError, LedgerUnavailableError
from postman.runtime.observer import Observer
from postman.wiring import Keys, ObservedProviders, open_observer, system_clock

__all__ = ["proxy"]

_LOG = structlog.get_logger("postman.proxy")

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_RECORDING: Final = 5.0
"""Seconds beyond the longest time-out that a proxy which stops gives to what is under way."""
_LEAVING: Final = 5.0
"""Seconds within which workers leave a proxy that stops: a little more than they keep an idle connection."""


def proxy(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; only this machine's own without --allow-remote.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 for any free one.")] = 8090,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at a time; the others wait.")] = 500,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let other machines in; put TLS in front: keys pass through.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line when it is ready.")] = False,
) -> None:
    """Pass mails on to the providers until SIGTERM or SIGINT, recording each acceptance before answering.

    Workers send through it where POSTMAN_PROXY names its address. What is under way is then finished (exit status 0);
    a second signal breaks off at once (1).
    """
    if not allow_remote and host not in _LOOPBACK:
        raise ConfigError(f"--host {host}: others than this machine may come in only with --allow-remote")
    chosen = settings()
    set_up_logs(chosen.log_level)
    sys.exit(asyncio.run(_run(chosen, "127.0.0.1" if host == "localhost" else host, port, concurrency, json=json)))


async def _run(chosen: Settings, host: str, port: int, concurrency: int, *, json: bool) -> int:
    observer, close = open_observer(chosen)
    signals = _Signals()
    try:
        async with _following(observer, chosen) as look_again:
            server = ProxyServer(observer, most=concurrency, look_again=look_again)
            async with aclosing(server):
                await _look_at_ledger(observer)
                await server.start(host, port)
                _announce(f"http://{f'[{host}]' if ':' in host else host}:{server.port}", json=json)
                await signals.first.wait()
                server.stop_listening()
                return await _finish(observer, server, signals)
    finally:
        await close()


def _following(observer: Observer, chosen: Settings) -> AbstractAsyncContextManager[LookAgain]:
    """Let *observer* stand before the providers of the document, whichever they are; no key is read."""
    observed = ObservedProviders()

    def take(entries: Sequence[ProviderEntry]) -> None:
        observer.change(observed.of(entries))

    return following_document(take, chosen, os.environ, keys=Keys.NONE, clock=system_clock())


async def _look_at_ledger(observer: Observer) -> None:
    """A ledger that is away is no reason to be away too: workers are told, and nothing is sent."""
    try:
        await observer.check()
    except LedgerUnavailableError as error:
        _LOG.error("not_reachable", reason=str(error))


async def _finish(observer: Observer, server: ProxyServer, signals: "_Signals") -> int:
    _LOG.info("proxy_draining", in_flight=observer.in_flight)
    draining = asyncio.create_task(_drain(observer, server))
    hurry = asyncio.create_task(signals.second.wait())
    await asyncio.wait((draining, hurry), return_when=asyncio.FIRST_COMPLETED)
    is_done = draining.done() and draining.result()
    for task in (draining, hurry):
        task.cancel()
    _LOG.info("proxy_stopped", left=observer.in_flight)
    return 0 if is_done else 1


async def _drain(observer: Observer, server: ProxyServer) -> bool:
    """Return, once workers have gone, whether all that was under way has ended."""
    is_done = await observer.drain(observer.longest_timeout + _RECORDING)
    await server.wait_until_left(_LEAVING)
    return is_done


def _announce(url: str, *, json: bool) -> None:
    _LOG.info("proxy_started", url=url)
    if json:
        print_json({"url": url})
    else:
        OUT.print(f"the proxy listens at {plain(url)}; workers use it with POSTMAN_PROXY={plain(url)}")


class _Signals:
    """SIGTERM and SIGINT, counted; within a running loop."""

    def __init__(self) -> None:
        self.first, self.second = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._note)

    def _note(self) -> None:
        (self.second if self.first.is_set() else self.first).set()
