"""The sandbox: two providers and a control port in the caller's event loop."""

import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from aiohttp import web

from postman.errors import ConfigError
from postman.sandbox.access import Access, guarded_app
from postman.sandbox.control import control_routes
from postman.sandbox.fault_control import FaultControl
from postman.sandbox.faults import FaultBoard
from postman.sandbox.listener import Listener, bind, url_of
from postman.sandbox.live import LiveSettings
from postman.sandbox.mailgun import Mailgun
from postman.sandbox.pages import page_routes
from postman.sandbox.sendgrid import SendGrid
from postman.sandbox.settings import ProviderName, SandboxSettings
from postman.sandbox.stats import Stats
from postman.sandbox.store import MailStore
from postman.sandbox.webhooks import Webhooks

__all__ = ["Sandbox"]

_CLOSING_SECONDS = 1.0


class Sandbox:
    """A local SendGrid and Mailgun. Use it as an asynchronous context; inside it the addresses are known.

    *now* gives Unix time and can be handed in to move look-up delays without waiting. Entering raises `ConfigError` for
    a port that cannot be had, and leaves nothing open then.
    """

    def __init__(self, settings: SandboxSettings | None = None, *, now: Callable[[], float] = time.time) -> None:
        self.settings = settings or SandboxSettings()
        self.store = MailStore(self.settings.keep, now)
        self.stats = Stats(now)
        self._now = now
        self._board = FaultBoard(self.settings.seed)
        self._sendgrid, self._mailgun = self._imitations()
        self.live = LiveSettings(self.settings, self._sendgrid)
        self._webhooks = {
            each.name: Webhooks(each, self.live.reader(each.name), now=now) for each in (self._sendgrid, self._mailgun)
        }
        self._listeners = {each.name: self._listener(each) for each in (self._sendgrid, self._mailgun)}
        self.faults = FaultControl(self._board, self._listeners)
        self._stack = AsyncExitStack()
        self.port = 0
        """The control port."""

    def _imitations(self) -> tuple[SendGrid, Mailgun]:
        settings = self.settings
        sendgrid = SendGrid(
            settings.sendgrid_key, self.store, now=self._now, lookup_delay=lambda: self.live.sendgrid.lookup_delay
        )
        mailgun = Mailgun(
            settings.mailgun_key,
            settings.mailgun_signing_key,
            settings.mailgun_domains,
            self.store,
            now=self._now,
            lookup_delay=lambda: self.live.mailgun.lookup_delay,
        )
        return sendgrid, mailgun

    def _listener(self, imitation: SendGrid | Mailgun) -> Listener:
        accepted = self._webhooks[imitation.name].accepted
        return Listener(imitation, self.store, self._board, self.stats, accepted=accepted)

    @property
    def url(self) -> str:
        """The address of the page and the control interface."""
        return url_of(self.settings.host, self.port)

    @property
    def sendgrid_url(self) -> str:
        """The address to use in place of SendGrid's."""
        return self._listeners[ProviderName.SENDGRID].url

    @property
    def mailgun_url(self) -> str:
        """The address to use in place of Mailgun's."""
        return self._listeners[ProviderName.MAILGUN].url

    @property
    def sendgrid_public_key(self) -> str:
        """What SendGrid's events are verified with: base64 of a DER SubjectPublicKeyInfo."""
        return self._sendgrid.public_key

    def urls(self) -> Mapping[str, str]:
        """Return all three addresses by name."""
        return {"url": self.url, "sendgrid_url": self.sendgrid_url, "mailgun_url": self.mailgun_url}

    def forget(self) -> None:
        """Drop all mails and counts; faults and settings stay."""
        self.store.clear()
        self.stats.reset()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for webhooks in self._webhooks.values():
                await stack.enter_async_context(webhooks)
            await self._start_listeners(stack)
            await self._start_control(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start_listeners(self, stack: AsyncExitStack) -> None:
        ports = {
            ProviderName.SENDGRID: self.settings.sendgrid_port,
            ProviderName.MAILGUN: self.settings.mailgun_port,
        }
        for name, listener in self._listeners.items():
            await listener.start(self.settings.host, ports[name])
            stack.push_async_callback(listener.aclose)

    async def _start_control(self, stack: AsyncExitStack) -> None:
        app = guarded_app(self._access())
        app.add_routes([*control_routes(), *page_routes()])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSING_SECONDS)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        bound = bind(self.settings.host, self.settings.port)
        self.port = bound.getsockname()[1]
        try:
            await web.SockSite(runner, bound).start()
        except OSError as error:
            bound.close()
            raise ConfigError(f"port {self.port} on {self.settings.host} is already in use") from error

    def _access(self) -> Access:
        return Access(
            store=self.store,
            stats=self.stats,
            faults=self.faults,
            live=self.live,
            forget=self.forget,
            allow_remote=self.settings.allow_remote,
        )
