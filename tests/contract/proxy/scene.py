"""A proxy on a port of this machine, with a ledger in memory, and workers' words to it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from pydantic import SecretStr

from postman.adapters import mailgun, sendgrid
from postman.adapters.clock import SystemClock
from postman.adapters.memory.ledger import MemoryLedger
from postman.core.entry import Entry
from postman.core.ids import MailId
from postman.core.mail import Address, Mail
from postman.entrypoints.proxy.server import ProxyServer
from postman.errors import LedgerUnavailableError
from postman.ports.opening import ProviderSpec
from postman.ports.provider import Provider, Receipt
from postman.runtime.observer import Observer

__all__ = ["KEYS", "KINDS", "Claiming", "Proxy", "Raw", "mail", "raw", "running_proxy"]

KINDS: Final = ("sendgrid", "mailgun")
KEYS: Final = {"sendgrid": "SG.sandbox", "mailgun": "key-sandbox"}
_OBSERVED: Final = {"sendgrid": sendgrid.open_observed, "mailgun": mailgun.open_observed}
_OPENING: Final = {"sendgrid": sendgrid.open_provider, "mailgun": mailgun.open_provider}


class AwayLedger(MemoryLedger):
    """A ledger that can be away."""

    is_away = False

    async def _apply(self, mail_id: MailId, transition: Any) -> Any:
        if self.is_away:
            raise LedgerUnavailableError("not now")
        return await super()._apply(mail_id, transition)


@dataclass(slots=True)
class Proxy:
    """A proxy that runs, and what a test does with it."""

    observer: Observer
    server: ProxyServer
    ledger: AwayLedger
    urls: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def worker(self, kind: str, *, timeout: float = 5.0, look_up_after: float = 1.0, **changes: Any) -> Provider:
        """Return a worker's provider that sends through the proxy."""
        spec = _spec(kind, self.urls[kind], timeout=timeout, look_up_after=look_up_after, proxy=self.url, **changes)
        return _OPENING[kind](spec)

    async def claim(self, kind: str, mail_id: MailId) -> None:
        """Claim a mail as a worker does before it sends."""
        await self.ledger.claim(mail_id, claim_id="worker", digest="d", provider=kind, lease=60.0)

    async def entry(self, mail_id: str) -> Entry:
        entry = await self.ledger.find(MailId(mail_id))
        assert entry is not None
        return entry


class Claiming:
    """A provider behind the proxy that claims each mail before it sends it, as a courier does."""

    def __init__(self, proxy: Proxy, provider: Provider) -> None:
        self._proxy = proxy
        self._provider = provider
        self.name = provider.name
        self.timeout = provider.timeout
        self.look_up_after = provider.look_up_after
        self.idempotent_for = 3_600.0
        """What was taken is answered from the record."""

    async def send(self, mail: Mail, *, timeout: float | None = None) -> Receipt:
        await self._proxy.claim(self.name, mail.id)
        return await self._provider.send(mail, timeout=timeout)

    async def look_up(self, mail: Mail) -> Receipt | None:
        return await self._provider.look_up(mail)

    async def aclose(self) -> None:
        await self._provider.aclose()


@asynccontextmanager
async def running_proxy(urls: Mapping[str, str], *, timeout: float = 5.0, most: int = 100) -> AsyncIterator[Proxy]:
    """Run a proxy that leads to the providers at *urls*, by kind."""
    ledger = AwayLedger(SystemClock())
    providers = [_OBSERVED[kind](_spec(kind, url, timeout=timeout)) for kind, url in urls.items()]
    observer = Observer(ledger=ledger, providers=providers, clock=SystemClock())
    server = ProxyServer(observer, most=most)
    await server.start("127.0.0.1", 0)
    try:
        yield Proxy(observer, server, ledger, urls)
    finally:
        await server.aclose()
        await observer.aclose()


def mail(mail_id: str = "mail-1", **changes: Any) -> Mail:
    fields = {"from_": Address(email="shop@mg.example.org"), "to": (Address(email="ann@example.org"),)}
    return Mail(id=mail_id, **(fields | {"subject": "Hello", "text": "Hi Ann"} | changes))


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer as it came over the wire."""

    status: int
    headers: Mapping[str, str]
    """By names in lower case."""
    body: bytes

    @property
    def outcome(self) -> str:
        return self.headers.get("postman-outcome", "")


async def raw(url: str, request: str, body: bytes = b"", *, is_cut: bool = False) -> Raw:
    """Write *request*'s lines and *body* as they are; return the answer. With *is_cut* write no more after that."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request.strip().replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        if is_cut:
            writer.write_eof()
        return await asyncio.wait_for(_answer(reader, has_body=not request.startswith("HEAD")), 5.0)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader, *, has_body: bool) -> Raw:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")) if has_body else 0)
    return Raw(int(head[0].split()[1]), headers, body)


def _spec(kind: str, url: str, *, timeout: float, **fields: Any) -> ProviderSpec:
    options = {"domain": "mg.example.org"} if kind == "mailgun" else {}
    key = SecretStr(KEYS[kind]) if "proxy" in fields else SecretStr("")
    return ProviderSpec(kind, kind, key, url, timeout=timeout, options=options, **fields)
