"""`ingress` and `events` answer as `postman serve` does: the same requests go to both, and the answers are compared."""

import gzip
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from postman.core.events import EventKind
from postman.testing.events import Told
from postman.testing.waiting import wait_until_blocking
from tests.contract.cli.commands import Postman, SandboxProcess
from tests.contract.event_posts import MailgunSender, SendGridSender
from tests.contract.functions.servers import Framework, plain

API_KEY = "an-api-key-of-this-test"
GOOD = {"authorization": f"Bearer {API_KEY}", "content-type": "application/json"}
SENDGRID, MAILGUN = SendGridSender(), MailgunSender()


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Servers:
    serve: str
    ingress: str
    events: str


@pytest.fixture(scope="module")
def settings(folder: Path, postman: Postman) -> dict[str, str]:
    text = (folder / "providers.toml").read_text()
    for kind, key in (("sendgrid", "SENDGRID_WEBHOOK_KEY"), ("mailgun", "MAILGUN_WEBHOOK_KEY")):
        text = text.replace(f'kind = "{kind}"\n', f'kind = "{kind}"\nwebhook_key = "env:{key}"\n')
    (folder / "providers.toml").write_text(text)
    return {
        "API_KEY": API_KEY,
        "SENDGRID_WEBHOOK_KEY": SENDGRID.public_key,
        "MAILGUN_WEBHOOK_KEY": MAILGUN.key,
    }


@pytest.fixture(scope="module")
def servers(folder: Path, postman: Postman, settings: dict[str, str]) -> Iterator[Servers]:
    postman("init")
    environ = postman.environ | settings
    with ExitStack() as stack:
        serve = stack.enter_context(
            postman.start("serve", "--port", "0", "--json", "--api-key", "env:API_KEY", **settings)
        )
        keys = {"POSTMAN_INGRESS_KEYS": "env:API_KEY"}
        ingress = stack.enter_context(Framework("ingress", folder=folder, environ=environ | keys))
        events = stack.enter_context(Framework("events", folder=folder, environ=environ))
        line = wait_until_blocking(serve.out.read_bytes, within=20.0)
        for each in (ingress, events):
            each.wait_until_listening()
        yield Servers(orjson.loads(line)["url"], ingress.url, events.url)
        for process in (serve, ingress, events):
            process.signal(signal.SIGTERM)
        assert [process.ended(within=10.0) for process in (serve, ingress, events)] == [0, 0, 0]


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=30.0, trust_env=False) as client:
        yield client


def ask(client: httpx.Client, server: str, asked: Asked) -> tuple[int, Any, dict[str, str]]:
    """Return what there is of an answer to compare: its status, its document and its own headers."""
    answer = client.request(asked.method, server + asked.path, content=asked.body, headers=dict(asked.headers))
    kept = ("content-type", "cache-control", "x-content-type-options", "retry-after", "www-authenticate", "allow")
    headers = {name: value for name, value in answer.headers.items() if name in kept}
    return answer.status_code, answer.json(), headers


def mails(*mails: dict[str, object], path: str = "/v1/mails", **headers: str) -> Asked:
    body = orjson.dumps(list(mails) if len(mails) > 1 else mails[0])
    return Asked("POST", path, body, {**GOOD, **{name.replace("_", "-"): value for name, value in headers.items()}})


MAILS = {
    "one": mails(plain("s-1")),
    "several": mails(plain("s-2"), plain("s-3")),
    "a wrong one among them": mails(plain("s-4"), plain("s-5", to=[{"email": "nobody"}])),
    "an unknown field": mails(plain("s-6", colour="red")),
    "another charset": mails(plain("s-7"), content_type="application/json; charset=latin-1"),
    "utf-8 in capitals": mails(plain("s-8"), content_type='application/JSON; charset="UTF-8"'),
    "packed": Asked("POST", "/v1/mails", gzip.compress(b"{}"), {**GOOD, "content-encoding": "gzip"}),
    "a form": mails(plain("s-9"), content_type="application/x-www-form-urlencoded"),
    "no JSON": Asked("POST", "/v1/mails", b"no", GOOD),
    "nothing": Asked("POST", "/v1/mails", b"", GOOD),
    "without a key": mails(plain("s-10"), authorization=""),
    "with a wrong key": mails(plain("s-11"), authorization="Bearer not-the-key-of-this-test"),
    "asked for": Asked("GET", "/v1/mails/unknown", headers=GOOD),
    "asked for with a slash": Asked("GET", "/v1/mails/a/b", headers=GOOD),
    "asked for by no id": Asked("GET", "/v1/mails/a%00b", headers=GOOD),
    "asked for without a key": Asked("GET", "/v1/mails/unknown"),
    "too much": Asked("POST", "/v1/mails", b" " * (16 * 1024 * 1024 + 1), GOOD),
    "the wrong method": Asked("DELETE", "/v1/mails", headers=GOOD),
    "nowhere": Asked("POST", "/v2/mails", b"{}", GOOD),
    "health": Asked("GET", "/healthz"),
}


@pytest.mark.parametrize("what", MAILS)
def test_mails_are_answered_as_serve_does(client: httpx.Client, servers: Servers, what: str) -> None:
    assert ask(client, servers.ingress, MAILS[what]) == ask(client, servers.serve, MAILS[what])


def test_a_mail_may_also_be_posted_to_the_function_s_own_address(client: httpx.Client, servers: Servers) -> None:
    status, document, _ = ask(client, servers.ingress, mails(plain("s-20"), path="/"))

    assert (status, document[0]["id"]) == (202, "s-20")


def test_what_ingress_takes_a_worker_delivers(
    client: httpx.Client, servers: Servers, postman: Postman, sandbox: SandboxProcess
) -> None:
    ids = [f"s-{number}" for number in range(30, 40)]
    assert ask(client, servers.ingress, mails(*(plain(mail_id) for mail_id in ids)))[0] == 202

    with postman.working(**_webhook_keys()):
        sandbox.wait_for(ids, within=20.0)


def event_posts() -> dict[str, Asked]:
    now = time.time()
    told = Told(EventKind.DELIVERED, mail_id="e-1", at=now)
    [sendgrid], [mailgun] = SENDGRID.post(told, at=now), MAILGUN.post(told, at=now)
    [foreign] = SENDGRID.with_other_key().post(told, at=now)
    return {
        "sendgrid's": Asked("POST", "/v1/events/sendgrid", sendgrid.body, sendgrid.headers),
        "mailgun's": Asked("POST", "/v1/events/mailgun", mailgun.body, mailgun.headers),
        "forged": Asked("POST", "/v1/events/sendgrid", foreign.body, foreign.headers),
        "changed": Asked("POST", "/v1/events/sendgrid", sendgrid.body + b" ", sendgrid.headers),
        "unsigned": Asked("POST", "/v1/events/mailgun", b"{}"),
        "too much": Asked("POST", "/v1/events/mailgun", b" " * 1_048_577),
        "of an unknown provider": Asked("POST", "/v1/events/ses", sendgrid.body, sendgrid.headers),
        "the wrong method": Asked("GET", "/v1/events/sendgrid"),
        "nowhere": Asked("POST", "/v1/events/", b"{}"),
    }


def test_events_are_answered_as_serve_does(client: httpx.Client, servers: Servers) -> None:
    for what, asked in event_posts().items():
        assert ask(client, servers.events, asked) == ask(client, servers.serve, asked), what


def test_each_function_does_its_own_and_no_more(client: httpx.Client, servers: Servers) -> None:
    assert ask(client, servers.events, mails(plain("s-50")))[0] == 404
    assert ask(client, servers.ingress, event_posts()["sendgrid's"])[0] == 404


def _webhook_keys() -> dict[str, str]:
    return {"SENDGRID_WEBHOOK_KEY": SENDGRID.public_key, "MAILGUN_WEBHOOK_KEY": MAILGUN.key}
