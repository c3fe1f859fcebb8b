"""Signed events, posted to a webhook of the test's own."""

import asyncio
import base64
import hmac
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from typing import Any

import httpx
import orjson
import pytest
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from postman.sandbox import ProviderName, Sandbox, SandboxSettings, Tunables
from postman.sandbox.listener import bind
from postman.testing.waiting import wait_until

Make = Callable[..., dict[str, Any]]


class Hook:
    """A customer's webhook: answers with *statuses* one after another, then with 200."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.url = ""

    async def take(self, request: web.BaseRequest) -> web.Response:
        self.received.append((dict(request.headers), await request.read()))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    answering = Hook()
    runner = web.ServerRunner(web.Server(answering.take))
    await runner.setup()
    bound = bind("127.0.0.1", 0)
    answering.url = f"http://127.0.0.1:{bound.getsockname()[1]}/events"
    await web.SockSite(runner, bound).start()
    yield answering
    await runner.cleanup()


@pytest.fixture
def clock() -> Callable[[], float] | None:
    """Real time here: events wait for it."""
    return None


@pytest.fixture
async def sandbox(hook: Hook) -> AsyncIterator[Sandbox]:
    tunables = Tunables(webhook_url=hook.url)
    async with Sandbox(SandboxSettings(sendgrid=tunables, mailgun=tunables)) as running:
        yield running


def verify(public_key: str, headers: dict[str, str], body: bytes) -> None:
    key = load_der_public_key(base64.b64decode(public_key))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    signature = base64.b64decode(headers["X-Twilio-Email-Event-Webhook-Signature"])
    signed = headers["X-Twilio-Email-Event-Webhook-Timestamp"].encode() + body
    key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))


async def test_sendgrid_posts_a_signed_array_with_custom_arguments_at_the_top(
    sendgrid: httpx.AsyncClient, control: httpx.AsyncClient, hook: Hook, document: Make
) -> None:
    answer = await sendgrid.post("/v3/mail/send", json=document("m-1", categories=["receipts"]))
    await wait_until(lambda: hook.received, within=5)
    public_key = (await control.get("/api/settings")).json()["sendgrid"]["webhook_public_key"]

    [(headers, body)] = hook.received
    verify(public_key, headers, body)
    events = orjson.loads(body)
    assert [event["event"] for event in events] == ["processed", "delivered"]
    for event in events:
        assert (event["mail_id"], event["email"], event["category"]) == ("m-1", "ann@example.com", ["receipts"])
        assert event["sg_message_id"].startswith(answer.headers["X-Message-Id"] + ".")
        assert isinstance(event["timestamp"], int)
    assert events[0]["sg_event_id"] != events[1]["sg_event_id"]


async def test_a_changed_body_does_not_verify(
    sandbox: Sandbox, sendgrid: httpx.AsyncClient, hook: Hook, document: Make
) -> None:
    await sendgrid.post("/v3/mail/send", json=document())
    await wait_until(lambda: hook.received, within=5)

    [(headers, body)] = hook.received
    with pytest.raises(InvalidSignature):
        verify(sandbox.sendgrid_public_key, headers, body.replace(b"delivered", b"deferred!"))


async def test_mailgun_posts_each_event_with_its_own_signed_token(
    mailgun: httpx.AsyncClient, hook: Hook, form: Make
) -> None:
    await mailgun.post("/v3/mg.example.org/messages", data=form("m-1"))
    await wait_until(lambda: len(hook.received) == 2, within=5)

    documents = [orjson.loads(body) for _, body in hook.received]

    for document in documents:
        signature = document["signature"]
        signed = f"{signature['timestamp']}{signature['token']}".encode()
        assert hmac.new(b"signing-key-sandbox", signed, sha256).hexdigest() == signature["signature"]
        assert len(signature["token"]) == 50
        assert document["event-data"]["user-variables"] == {"mail_id": "m-1"}
        assert document["event-data"]["message"]["headers"]["message-id"] == "m-1@mg.example.org"
    assert {document["event-data"]["event"] for document in documents} == {"accepted", "delivered"}
    assert documents[0]["signature"]["token"] != documents[1]["signature"]["token"]


async def test_a_post_that_fails_is_made_again_unchanged(
    sendgrid: httpx.AsyncClient, hook: Hook, document: Make
) -> None:
    hook.statuses = [500, 503]
    await sendgrid.post("/v3/mail/send", json=document())

    await wait_until(lambda: len(hook.received) == 3, within=5)

    assert len({body for _, body in hook.received}) == 1


async def test_406_means_that_it_is_not_wanted_again(
    sandbox: Sandbox, sendgrid: httpx.AsyncClient, hook: Hook, document: Make
) -> None:
    hook.statuses = [406]
    await sendgrid.post("/v3/mail/send", json=document())

    webhooks = sandbox._webhooks[ProviderName.SENDGRID]
    await wait_until(lambda: webhooks.given_up, within=5)

    assert len(hook.received) == 1


async def test_events_wait_for_their_delay(
    control: httpx.AsyncClient, sendgrid: httpx.AsyncClient, hook: Hook, document: Make
) -> None:
    await control.put("/api/settings", json={"event_delay": 0.4})
    loop = asyncio.get_running_loop()
    began = loop.time()
    await sendgrid.post("/v3/mail/send", json=document("m-1"))

    await wait_until(lambda: hook.received, within=5)

    assert loop.time() - began >= 0.4


async def test_a_webhook_can_be_set_and_taken_away_while_running(
    sandbox: Sandbox, control: httpx.AsyncClient, mailgun: httpx.AsyncClient, hook: Hook, form: Make
) -> None:
    await control.put("/api/settings", json={"webhook_url": None})
    await mailgun.post("/v3/mg.example.org/messages", data=form("m-1"))
    await control.put("/api/settings", json={"mailgun": {"webhook_url": hook.url}})
    await mailgun.post("/v3/mg.example.org/messages", data=form("m-2"))

    await wait_until(lambda: len(hook.received) == 2, within=5)

    ids = {orjson.loads(body)["event-data"]["user-variables"]["mail_id"] for _, body in hook.received}
    assert ids == {"m-2"}


async def test_a_webhook_that_cannot_be_reached_holds_nothing_up(
    sandbox: Sandbox, control: httpx.AsyncClient, sendgrid: httpx.AsyncClient, document: Make
) -> None:
    closed = bind("127.0.0.1", 0)
    await control.put("/api/settings", json={"webhook_url": f"http://127.0.0.1:{closed.getsockname()[1]}/"})

    answers = [await sendgrid.post("/v3/mail/send", json=document(f"m-{number}")) for number in range(20)]
    closed.close()

    assert {answer.status_code for answer in answers} == {202}
    assert len(sandbox.store) == 20
