"""The proxy and other servers follow the providers' document: soon, at once where somebody knows more, and for good."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import structlog

from postman.adapters.clock import SystemClock
from postman.config import ProviderEntry, Settings
from postman.entrypoints.following import LookAgain, Take, following_document
from postman.entrypoints.proxy.server import ProxyServer
from postman.errors import ConfigError
from postman.ports.clock import Clock
from postman.runtime.observer import Observer
from postman.sandbox.server import Sandbox
from postman.testing.clock import FakeClock
from postman.testing.waiting import wait_until
from postman.wiring import Keys, ObservedProviders
from tests.contract.proxy.scene import AwayLedger, Proxy, mail, raw

_UNKNOWN = "POST /nobody/v3/mail/send HTTP/1.1\nHost: x\nContent-Length: 0"


class Document:
    """A file of providers, and what somebody makes of it who follows it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.taken: list[Sequence[str]] = []
        """The providers that were found in it, each time that it was another."""
        self.troubles: list[Exception] = []
        """What that meets, the next times."""

    def write(self, *, domain: str = "mg.example.org", **urls: str) -> None:
        """Let it name a provider of each kind of *urls*; Mailgun's sends from *domain*."""
        self.path.write_text("\n".join(_table(kind, url, domain) for kind, url in urls.items()))

    def take(self, entries: Sequence[ProviderEntry]) -> None:
        self.taken.append([entry.spec.name for entry in entries])
        if self.troubles:
            raise self.troubles.pop(0)

    def followed(self, take: Take, clock: Clock) -> AbstractAsyncContextManager[LookAgain]:
        return following_document(take, Settings(providers=str(self.path)), {}, keys=Keys.NONE, clock=clock)


def _table(kind: str, url: str, domain: str) -> str:
    more = f'domain = "{domain}"\n' if kind == "mailgun" else ""
    return f'[[provider]]\nname = "{kind}"\nkind = "{kind}"\napi_key = "env:NONE"\nbase_url = "{url}"\n{more}'


@pytest.fixture
def document(tmp_path: Path) -> Document:
    document = Document(tmp_path / "providers.toml")
    document.write(sendgrid="http://127.0.0.1:9")
    return document


@asynccontextmanager
async def _proxy(document: Document, sandbox: Sandbox) -> AsyncIterator[Proxy]:
    """Run a proxy that follows *document*."""
    ledger, observed = AwayLedger(SystemClock()), ObservedProviders()
    observer = Observer(ledger=ledger, providers=[], clock=SystemClock())

    def take(entries: Sequence[ProviderEntry]) -> None:
        document.take(entries)
        observer.change(observed.of(entries))

    async with document.followed(take, SystemClock()) as look_again:
        server = ProxyServer(observer, most=10, look_again=look_again)
        await server.start("127.0.0.1", 0)
        yield Proxy(observer, server, ledger, {"sendgrid": sandbox.sendgrid_url, "mailgun": sandbox.mailgun_url})
        await server.aclose()
    await observer.aclose()


@pytest.mark.parametrize("was_known", [False, True], ids=["a new one", "by another path"])
async def test_what_a_worker_knows_of_first_is_found_before_its_mail_is_refused(
    document: Document, *, was_known: bool
) -> None:
    """A refusal would count against the provider: five of them open its breaker."""
    async with Sandbox() as sandbox:
        if was_known:
            document.write(mailgun=sandbox.mailgun_url, domain="old.example.org")
        async with _proxy(document, sandbox) as proxy:
            document.write(mailgun=sandbox.mailgun_url)
            provider = proxy.worker("mailgun")
            for each in (mail("mail-1"), mail("mail-2")):
                await proxy.claim("mailgun", each.id)
            receipts = await asyncio.gather(*(provider.send(mail(f"mail-{number}")) for number in (1, 2)))
            await provider.aclose()

    assert all(receipt.is_recorded for receipt in receipts)
    assert len(document.taken) == 2


async def test_whoever_asks_for_what_nobody_knows_makes_the_proxy_read_no_more_than_once_a_second(
    document: Document,
) -> None:
    looks: list[float] = []
    loop = asyncio.get_running_loop()

    def take(_: Sequence[ProviderEntry]) -> None:
        looks.append(loop.time())
        document.write(sendgrid=f"http://127.0.0.1:{len(looks)}")

    observer = Observer(ledger=AwayLedger(SystemClock()), providers=[], clock=SystemClock())
    async with document.followed(take, SystemClock()) as look_again:
        server = ProxyServer(observer, most=10, look_again=look_again)
        await server.start("127.0.0.1", 0)
        for _ in range(2):
            answers = await asyncio.gather(*(raw(f"http://127.0.0.1:{server.port}", _UNKNOWN) for _ in range(20)))
            assert {(answer.status, answer.outcome) for answer in answers} == {(404, "refused")}
        await server.aclose()

    assert len(looks) == 3
    assert all(later - earlier > 0.9 for earlier, later in pairwise(looks))


async def test_a_surprise_is_logged_and_the_document_is_followed_on(document: Document) -> None:
    """Its text may hold what nobody should read."""
    clock = FakeClock(auto=False)
    with structlog.testing.capture_logs() as logs:
        async with document.followed(document.take, clock) as look_again:
            document.troubles = [ValueError("a secret")] * 2
            document.write(sendgrid="http://127.0.0.1:10")
            for _ in range(3):
                await _look(look_again, clock)

    assert len(document.taken) == 4
    assert [(log["event"], log.get("reason")) for log in logs] == [
        ("providers_followed", None),
        ("providers_not_changed", "ValueError"),
        ("providers_followed", None),
    ]
    assert "a secret" not in str(logs)


async def test_a_document_that_is_refused_is_tried_once_until_it_is_another(document: Document) -> None:
    clock = FakeClock(auto=False)
    with structlog.testing.capture_logs() as logs:
        async with document.followed(document.take, clock) as look_again:
            document.troubles = [ConfigError("line 2: no such kind")]
            document.write(sendgrid="http://127.0.0.1:10")
            for _ in range(3):
                await _look(look_again, clock)
            assert len(document.taken) == 2
            document.write(sendgrid="http://127.0.0.1:11")
            await _look(look_again, clock)

    assert len(document.taken) == 3
    assert [log["event"] for log in logs] == ["providers_followed", "providers_not_changed", "providers_followed"]


async def _look(look_again: LookAgain, clock: FakeClock) -> None:
    looking = asyncio.ensure_future(look_again())

    async def has_looked() -> bool:
        await clock.advance(1.0)
        return looking.done()

    await wait_until(has_looked, within=2.0)
