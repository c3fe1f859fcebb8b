"""The console in the test's own loop, over real HTTP, before a cluster of SQLite whose workers are made up."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web

from postman.config import Settings
from postman.core.entry import Claimed
from postman.core.fleet.reports import DocumentSeen, ProviderStanding, ProviderWork, ShardWork, WorkerReport, WorkWindow
from postman.core.ids import MailId
from postman.entrypoints.console.access import FORM_FIELD, VISITOR
from postman.entrypoints.console.parts import Parts
from postman.entrypoints.console.running import ROOMS, listen, opened_parts
from postman.ports.provider import Receipt
from postman.testing.clock import FakeClock

NOW: Final = 1_700_000_000.0
PROVIDERS: Final = """\
[[provider]]
name = "sendgrid"
kind = "sendgrid"
api_key = "env:SENDGRID_API_KEY"
weight = 3

[[provider]]
name = "mailgun"
kind = "mailgun"
domain = "mg.example.org"
api_key = "secret:mailgun-key"
"""
WELL: Final = MappingProxyType(
    {"sendgrid": ProviderStanding("closed", in_flight=2, limit=9), "mailgun": ProviderStanding("closed")}
)


@dataclass
class Answer:
    """What came back."""

    status: int
    text: str
    headers: Mapping[str, str]
    cookies: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return self.headers.get("Location", "")


class Desk:
    """A browser, and what stands behind the console."""

    def __init__(self, url: str, parts: Parts, token: str, clock: FakeClock, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.parts = parts
        self.token = token
        self.clock = clock
        self.session = session
        self.acted: list[str] = []

    async def get(self, path: str, **headers: str) -> Answer:
        return await self._ask("GET", path, headers, None)

    async def post(self, path: str, form: Mapping[str, str] = MappingProxyType({}), **headers: str) -> Answer:
        sent = {"Origin": self.url, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await self._ask("POST", path, {name: value for name, value in sent.items() if value}, form)

    async def log_in(self) -> None:
        assert (await self.get(f"/login?token={self.token}")).status == 303

    async def form_token(self) -> str:
        """Return what stands in the forms of a page."""
        text = (await self.get("/")).text
        return text.partition(f'name="{FORM_FIELD}" value="')[2].partition('"')[0]

    async def later(self, seconds: float = 60.0) -> None:
        """Let what was known be old."""
        await self.clock.advance(seconds)

    async def _ask(self, method: str, path: str, headers: Mapping[str, str], form: Any) -> Answer:
        async with self.session.request(
            method,
            f"{self.url}{path}",
            headers=headers,
            data=None if form is None else dict(form),
            allow_redirects=False,
        ) as answer:
            return Answer(answer.status, await answer.text(), answer.headers, answer.cookies)

    async def send(self, mail_id: str, *, refused: str = "", provider: str = "sendgrid") -> None:
        """Let a mail end."""
        ledger = self.parts.stores.ledger
        answer = await ledger.claim(MailId(mail_id), claim_id="c", digest="d", provider=provider, lease=60.0)
        assert isinstance(answer, Claimed)
        if refused:
            await ledger.record_refused(answer.claim, reason=refused)
        else:
            await ledger.record_sent(answer.claim, Receipt(provider, f"<{provider}-{mail_id}>"))

    async def report(
        self, *, worker: str = "w-1", providers: Mapping[str, ProviderStanding] = WELL, **more: Any
    ) -> None:
        roster = self.parts.stores._roster
        assert roster is not None
        made = report(self.clock.time(), worker=worker, providers=providers)
        await roster.report(replace(made, **more))


def report(now: float, *, worker: str = "w-1", providers: Mapping[str, ProviderStanding] = WELL) -> WorkerReport:
    work = {name: ProviderWork(done=300, took=45.0, outstanding=45.0, took_squared=9.0) for name in providers}
    windows = tuple(WorkWindow(ends=now - 30.0 * number, seconds=30.0, work=work) for number in reversed(range(10)))
    return WorkerReport(
        worker=worker,
        host="host-1",
        pid=7,
        version="0.1.0",
        started=now - 900.0,
        at=now,
        slots=50,
        window=30.0,
        windows=windows,
        providers=dict(providers),
        reads=8,
        shards={"0": ShardWork(held=1, pulled_at=now - 1, published_at=now - 3)},
        document=DocumentSeen("12"),
    )


def acting_room(acted: list[str]) -> Callable[[web.Application], None]:
    """Return a room with one act, as a room of the console's own would have."""

    async def act(request: web.Request) -> web.Response:
        acted.append(request[VISITOR].name)
        return web.Response(text="done")

    def add(app: web.Application) -> None:
        app.router.add_post("/acts/one", act)

    return add


@asynccontextmanager
async def console(
    folder: Path,
    *,
    clock: FakeClock | None = None,
    host: str = "127.0.0.1",
    environ: Mapping[str, str] = MappingProxyType({}),
    change: Callable[[Parts], Parts] = lambda parts: parts,
    acts: bool = False,
    **settings: str,
) -> AsyncIterator[Desk]:
    """Have a console that listens on this machine, whatever *host* it was told."""
    (folder / "providers.toml").write_text(PROVIDERS)
    database = f"sqlite:{folder / 'postman.db'}"
    told = {"queue": database, "ledger": database, "prefix": "shop", "providers": str(folder / "providers.toml")}
    clock = clock or FakeClock(wall=NOW, auto=False)
    jar = aiohttp.CookieJar(unsafe=True)
    async with opened_parts(Settings(**{**told, **settings}), environ, host=host, clock=clock) as (opened, token):
        parts = change(opened)
        acted: list[str] = []
        async with (
            aiohttp.ClientSession(cookie_jar=jar, timeout=aiohttp.ClientTimeout(10)) as session,
            listen(parts, "127.0.0.1", 0, ROOMS if acts else (acting_room(acted),)) as url,
        ):
            desk = Desk(url, parts, token, clock, session)
            desk.acted = acted
            stores: Sequence[Any] = (parts.stores.ledger, parts.stores._roster)
            for store in stores:
                if store is not None:
                    await store.ensure()
            yield desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with console(tmp_path) as made:
        yield made


__all__ = ["NOW", "WELL", "Answer", "Desk", "console", "report"]
