"""`postman serve` as it is run: a process of its own, settings from the environment, SQLite behind it."""

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from postman.config import Settings
from postman.core.entry import Claimed, State
from postman.core.events import EventKind, address_key
from postman.core.ids import MailId
from postman.ports.ledger import Ledger
from postman.testing.events import Told
from postman.testing.waiting import wait_until_blocking
from postman.wiring import open_ledger, open_suppressions
from tests.contract.cli.commands import CLEAN, COMMAND, Process
from tests.contract.event_posts import MailgunSender, SendGridSender

API_KEY = "an-api-key-of-this-test"
SENDGRID, MAILGUN = SendGridSender(), MailgunSender()
PROVIDERS = """\
[[provider]]
name = "main"
kind = "sendgrid"
api_key = "env:SENDGRID_API_KEY"
webhook_key = "env:SENDGRID_WEBHOOK_KEY"

[[provider]]
name = "spare"
kind = "mailgun"
domain = "mg.example.org"
api_key = "env:MAILGUN_API_KEY"
webhook_key = "file:mailgun.key"

[[provider]]
name = "mute"
kind = "sendgrid"
api_key = "env:SENDGRID_API_KEY"
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "providers.toml").write_text(PROVIDERS)
    (tmp_path / "mailgun.key").write_text(MAILGUN.key + "\n")
    return {
        **CLEAN,
        "HOME": str(tmp_path),
        "POSTMAN_QUEUE": f"sqlite:{tmp_path / 'postman.db'}",
        "POSTMAN_LEDGER": f"sqlite:{tmp_path / 'postman.db'}",
        "POSTMAN_PROVIDERS": str(tmp_path / "providers.toml"),
        "POSTMAN_GRACE": "3",
        "SENDGRID_API_KEY": "SG.of-this-test",
        "SENDGRID_WEBHOOK_KEY": SENDGRID.public_key,
        "MAILGUN_API_KEY": "key-of-this-test",
        "POSTMAN_API_KEY": API_KEY,
        "PORT": "0",
    }


def run(environ: Mapping[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *arguments], env=dict(environ), capture_output=True, text=True, timeout=30, check=False
    )


class Server:
    """The process, and what it said when it was ready."""

    def __init__(self, process: Process) -> None:
        self.process = process
        wait_until_blocking(lambda: process.out.read_bytes() or not process.is_running, within=20.0)
        assert process.is_running, process.err.read_text()
        self.ready: dict[str, Any] = orjson.loads(process.out.read_bytes())
        self.url: str = self.ready["url"]


@pytest.fixture
def server(environ: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    assert run(environ, "init").returncode == 0
    with Process(
        ["serve", "--json", "--api-key", "env:POSTMAN_API_KEY"], folder=tmp_path, environ=environ, name="serve"
    ) as process:
        yield Server(process)


@pytest.fixture
async def ledger(environ: dict[str, str], server: Server) -> AsyncIterator[Ledger]:
    opened = open_ledger(Settings.from_env(environ))
    yield opened
    await opened.aclose()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=server.url, headers={"Authorization": f"Bearer {API_KEY}"}, trust_env=False
    ) as opened:
        yield opened


async def test_it_says_where_each_provider_s_events_go(server: Server) -> None:
    """Those without a key of their own are not among them."""
    assert server.ready["events"] == {
        "main": f"{server.url}/v1/events/main",
        "spare": f"{server.url}/v1/events/spare",
    }


async def test_events_reach_the_ledger_and_the_list_that_workers_use(
    server: Server, client: httpx.AsyncClient, ledger: Ledger, environ: dict[str, str]
) -> None:
    for mail_id, provider in (("m-1", "main"), ("m-2", "spare")):
        claimed = await ledger.claim(MailId(mail_id), claim_id="c", digest="d", provider=provider, lease=60.0)
        assert isinstance(claimed, Claimed)
    [sendgrid] = SENDGRID.post(Told(EventKind.BOUNCED, is_permanent=True), at=time.time())
    [mailgun] = MAILGUN.post(Told(EventKind.DELIVERED, mail_id="m-2"), at=time.time())

    answers = [
        await client.post("/v1/events/main", content=sendgrid.body, headers=sendgrid.headers),
        await client.post("/v1/events/spare", content=mailgun.body, headers=mailgun.headers),
        await client.post("/v1/events/mute", content=sendgrid.body, headers=sendgrid.headers),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 404]
    entries = [await ledger.find(MailId(mail_id)) for mail_id in ("m-1", "m-2")]
    assert [entry and entry.state for entry in entries] == [State.SENT, State.SENT]
    suppressions = open_suppressions(Settings.from_env(environ))
    assert suppressions is not None
    assert await suppressions.find(address_key("hidden.person@example.org"))
    await suppressions.aclose()


async def test_a_mail_is_published_and_shown(client: httpx.AsyncClient, ledger: Ledger) -> None:
    mail = {"id": "m-9", "from": {"email": "a@example.org"}, "to": [{"email": "b@example.org"}], "text": "t"}

    published = await client.post("/v1/mails", json=mail)
    await ledger.claim(MailId("m-9"), claim_id="c", digest="d", provider="main", lease=60.0)
    shown = await client.get("/v1/mails/m-9")

    assert (published.status_code, published.json()[0]["id"]) == (202, "m-9")
    assert (shown.json()["id"], shown.json()["state"]) == ("m-9", "sending")
    assert (await client.get("/v1/mails/m-9", headers={"Authorization": "Bearer other"})).status_code == 401


async def test_nothing_secret_is_in_its_output(server: Server, client: httpx.AsyncClient) -> None:
    [forged] = SENDGRID.with_other_key().post(Told(EventKind.COMPLAINED), at=time.time())
    [bounce] = SENDGRID.post(Told(EventKind.BOUNCED, is_permanent=True), at=time.time())
    for post in (forged, bounce):
        await client.post("/v1/events/main", content=post.body, headers=post.headers)
    await client.post("/v1/mails", json={"to": [{"email": "hidden.person@example.org"}]})

    server.process.signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.process.ended, within=8.0) == 0

    assert server.process.events("event_post_refused")
    shown = server.process.out.read_text() + server.process.err.read_text()
    for secret in ("hidden", API_KEY, "SG.of", "key-of", SENDGRID.public_key, MAILGUN.key):
        assert secret not in shown


@pytest.mark.parametrize(
    "line", [b"Authorization: Bearer hidden\x01", b"Authorization: Bearer hidden" + b"x" * 9_000, b"Host: [hidden"]
)
async def test_what_cannot_be_read_as_a_request_is_not_shown_either(server: Server, line: bytes) -> None:
    """Nor does anybody who can reach it fill the log with tracebacks."""
    host, port = server.url.removeprefix("http://").split(":")
    for _ in range(3):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /v1/mails/m-1?of=hidden HTTP/1.1\r\n" + line + b"\r\n\r\n")
        assert b" 40" in await reader.readline()
        writer.close()

    server.process.signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.process.ended, within=8.0) == 0
    shown = server.process.out.read_text() + server.process.err.read_text()
    assert "hidden" not in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(server: Server, number: int) -> None:
    server.process.signal(number)

    assert server.process.ended(within=8.0) == 0
    assert server.process.events("serve_ending")


async def test_a_second_signal_does_not_wait(server: Server) -> None:
    """A request under way holds up the end, until somebody has no more patience."""
    host, port = server.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /v1/events/main HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n[")
    await writer.drain()
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{server.url}/healthz")).status_code == 200
    server.process.signal(signal.SIGTERM)
    await asyncio.to_thread(server.process.wait_for, "serve_ending")

    server.process.signal(signal.SIGTERM)

    assert await asyncio.to_thread(server.process.ended, within=1.5) == -signal.SIGTERM
    writer.close()


@pytest.mark.parametrize(
    ("settings", "options", "words"),
    [
        ({"SENDGRID_WEBHOOK_KEY": "no key"}, (), "provider main: webhook_key"),
        ({"POSTMAN_LEDGER": "memory:"}, (), "POSTMAN_LEDGER"),
        ({"POSTMAN_QUEUE": "memory:"}, (), "POSTMAN_QUEUE"),
        ({}, ("--api-key", API_KEY), "--api-key: must be a reference"),
        ({}, ("--api-key", "env:NOT_SET"), "--api-key"),
        ({}, ("--host", "192.0.2.1"), "port 0 on 192.0.2.1 cannot be used"),
    ],
)
def test_wrong_settings_end_it_with_2_and_a_reason(
    environ: dict[str, str], settings: dict[str, str], options: tuple[str, ...], words: str
) -> None:
    assert run(environ, "init").returncode == 0

    done = run({**environ, **settings}, "serve", *options)

    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert API_KEY not in done.stderr


def test_without_a_document_of_providers_it_takes_mails_alone(environ: dict[str, str], tmp_path: Path) -> None:
    """A host that only publishes needs no provider's key."""
    assert run(environ, "init").returncode == 0
    del environ["POSTMAN_PROVIDERS"]
    with Process(["serve", "--json"], folder=tmp_path, environ=environ, name="serve") as process:
        assert Server(process).ready["events"] == {}
