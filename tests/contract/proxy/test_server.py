"""What the proxy lets through, what it does not, and what it makes of peers that misbehave."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import pytest

from postman.entrypoints.proxy.server import LARGEST_BODY
from postman.errors import ProviderError, ProviderUnreachableError
from postman.sandbox.faults import Fault, FaultKind
from postman.sandbox.server import Sandbox
from postman.sandbox.settings import ProviderName
from postman.testing.byte_peer import BytePeer, Talk, byte_peer, reset_connection
from postman.testing.waiting import wait_until
from tests.contract.proxy.scene import Proxy, Raw, mail, raw, running_proxy

_SEND = "/sendgrid/v3/mail/send"
_BODY = b'{"a": 1}'


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
async def proxy(sandbox: Sandbox) -> AsyncIterator[Proxy]:
    async with running_proxy({"sendgrid": sandbox.sendgrid_url, "mailgun": sandbox.mailgun_url}) as proxy:
        yield proxy


def _requests(sandbox: Sandbox) -> int:
    counted = sandbox.stats.document()["requests"]
    assert isinstance(counted, int)
    return counted


def _post(target: str = _SEND, *more: str, length: int | str = len(_BODY), mail_id: str = "mail-1") -> str:
    return "\n".join(
        [f"POST {target} HTTP/1.1", "Host: x", f"Content-Length: {length}", f"Postman-Mail-Id: {mail_id}", *more]
    )


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "//",
        "/sendgrid",
        "/sendgrid/",
        "/nobody/v3/mail/send",
        "/sendgrid/v3/mail/send/",
        "/sendgrid//v3/mail/send",
        "//sendgrid/v3/mail/send",
        "/sendgrid/./v3/mail/send",
        "/mailgun/../sendgrid/v3/mail/send",
        "/sendgrid/v3/mail/%73end",
        "/sendgrid/v3/mail/send%00",
        "/sendgrid/v3/mail/send?to=elsewhere",
        "/sendgrid/v3/mail/send;x",
        "/sendgrid/V3/mail/send",
        "/sendgrid/v3/messages",
        "/mailgun/v3/mail/send",
        "/mailgun/v3/other.example.org/messages",
        "/sendgrid/v3/api_keys",
        "sendgrid/v3/mail/send",
        "http://127.0.0.1/sendgrid/v3/mail/send",
        "http://127.0.0.1@evil.example/v3/mail/send",
        "*",
    ],
)
async def test_nothing_but_what_the_adapters_name_is_passed_on(proxy: Proxy, sandbox: Sandbox, target: str) -> None:
    """It is no open proxy: a target is compared as it came."""
    await proxy.claim("sendgrid", mail().id)

    answer = await raw(proxy.url, _post(target), _BODY)

    assert (answer.status, answer.outcome) in {(404, "refused"), (400, "")}, "400: aiohttp could not read the line"
    assert _requests(sandbox) == 0


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "post", "CONNECT"])
async def test_no_other_method_is_passed_on(proxy: Proxy, sandbox: Sandbox, method: str) -> None:
    answer = await raw(proxy.url, _post().replace("POST", method, 1), _BODY if method != "HEAD" else b"")

    assert answer.status in (404, 400)
    assert _requests(sandbox) == 0


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (_post(mail_id=""), 400),
        (_post(mail_id="x" * 129), 400),
        (_post(mail_id="%ff"), 400),
        (_post(mail_id="a%0d%0ab"), 400),
        (_post(_SEND, "Postman-Patience: soon"), 400),
        (_post(_SEND, "Postman-Patience: nan"), 400),
        (_post(_SEND, "Postman-Patience: 0"), 400),
        (_post(_SEND, "Postman-Patience: -1"), 400),
        (_post(_SEND, "Postman-Patience: 1e9"), 400),
        (_post(length=LARGEST_BODY + 1), 413),
        (f"POST {_SEND} HTTP/1.1\nHost: x\nPostman-Mail-Id: mail-1\nTransfer-Encoding: chunked", 411),
        (f"POST {_SEND} HTTP/1.1\nHost: x\nPostman-Mail-Id: mail-1", 411),
    ],
)
async def test_a_mail_without_its_marks_is_refused_before_it_is_read(
    proxy: Proxy, sandbox: Sandbox, request_: str, status: int
) -> None:
    answer = await raw(proxy.url, request_)

    assert (answer.status, answer.outcome) == (status, "refused")
    assert _requests(sandbox) == 0


async def test_of_a_request_that_was_cut_off_nothing_is_passed_on(proxy: Proxy, sandbox: Sandbox) -> None:
    """Its worker died in the middle: the mail was certainly not sent."""
    await proxy.claim("sendgrid", mail().id)

    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await raw(proxy.url, _post(length=len(_BODY) + 1), _BODY, is_cut=True)

    assert (await raw(proxy.url, "GET /health HTTP/1.1\nHost: x")).status == 200
    assert _requests(sandbox) == 0
    assert proxy.observer.in_flight == 0


async def test_a_worker_that_does_not_send_its_body_in_time_gets_no_mail_through(
    proxy: Proxy, sandbox: Sandbox
) -> None:
    await proxy.claim("sendgrid", mail().id)

    answer = await raw(proxy.url, _post(_SEND, "Postman-Patience: 0.2", length=1_000), _BODY)

    assert (answer.status, answer.outcome) == (503, "unavailable")
    assert _requests(sandbox) == 0


async def test_a_mail_that_nobody_claimed_is_refused_as_outdated(proxy: Proxy, sandbox: Sandbox) -> None:
    answer = await raw(proxy.url, _post(), _BODY)

    assert (answer.status, answer.outcome) == (409, "outdated")
    assert _requests(sandbox) == 0


async def test_health_tells_what_is_under_way(proxy: Proxy) -> None:
    ready = await raw(proxy.url, "GET /health HTTP/1.1\nHost: x")
    assert (ready.status, ready.body) == (200, b'{"state":"ready","in_flight":0,"unrecorded":0}')

    proxy.observer.close()

    stopping = await raw(proxy.url, "GET /health HTTP/1.1\nHost: x")
    assert (stopping.status, stopping.headers["connection"]) == (503, "close")
    assert b"stopping" in stopping.body


def _answer(text: str, body: bytes = b"") -> Talk:
    async def talk(peer: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.read_request(reader)
        writer.write(text.strip().replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        await writer.drain()
        await reader.read()

    return talk


async def _hang_up(peer: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await peer.read_request(reader)
    reset_connection(writer)


@asynccontextmanager
async def _before(talk: Talk) -> AsyncIterator[tuple[Proxy, BytePeer]]:
    """Have a proxy before a SendGrid that talks like this, and a claimed mail."""
    async with byte_peer(talk) as peer, running_proxy({"sendgrid": peer.url}) as proxy:
        await proxy.claim("sendgrid", mail().id)
        yield proxy, peer


async def _passed(talk: Talk, *more: str) -> tuple[Raw, BytePeer]:
    async with _before(talk) as (proxy, peer):
        return await raw(proxy.url, _post(_SEND, *more), _BODY), peer


async def test_a_provider_gets_the_key_and_nothing_that_is_between_worker_and_proxy() -> None:
    heard: list[str] = []

    async def listen(peer: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append((await peer.read_request(reader)).decode().lower())
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    answer, _ = await _passed(
        listen,
        "Authorization: Bearer hidden",
        "Content-Type: application/json",
        "Idempotency-Key: k",
        "Connection: keep-alive, X-Hop",
        "X-Hop: 1",
        "X-Forwarded-For: 10.0.0.1",
        "Proxy-Authorization: Basic x",
        "Cookie: a=b",
        "TE: trailers",
    )

    assert (answer.status, answer.outcome) == (400, "answered")
    [request] = heard
    head, _, body = request.partition("\r\n\r\n")
    assert head.startswith("post /v3/mail/send http/1.1\r\n")
    assert body == _BODY.decode()
    for kept in ("authorization: bearer hidden", "content-type: application/json", "idempotency-key: k"):
        assert kept in head
    for dropped in ("postman-", "x-hop", "forwarded", "proxy-", "cookie", "\r\nte:"):
        assert dropped not in head
    assert head.count("content-length:") == head.count("host:") == 1


async def test_an_answer_that_is_no_acceptance_comes_back_unchanged() -> None:
    answer, _ = await _passed(
        _answer(
            "HTTP/1.1 429 Slow\nContent-Length: 5\nX-RateLimit-Reset: 99\nContent-Type: text/x\nSet-Cookie: a\n"
            "Connection: X-Hop\nX-Hop: 1",
            b"later",
        )
    )

    assert (answer.status, answer.body, answer.outcome) == (429, b"later", "answered")
    assert answer.headers["x-ratelimit-reset"] == "99"
    assert answer.headers["content-type"] == "text/x"
    assert {"set-cookie", "x-hop"}.isdisjoint(answer.headers)


async def test_a_redirect_is_not_followed() -> None:
    """It would take mail and key elsewhere."""
    async with byte_peer(_hang_up) as elsewhere:
        answer, peer = await _passed(_answer(f"HTTP/1.1 307 There\nContent-Length: 0\nLocation: {elsewhere.url}/x"))

        assert (answer.status, answer.outcome) == (307, "answered")
        assert (peer.requests, elsewhere.connections) == (1, 0)


async def test_a_provider_cannot_speak_in_the_proxys_name() -> None:
    answer, _ = await _passed(
        _answer("HTTP/1.1 400 No\nContent-Length: 0\nPostman-Outcome: recorded\nPostman-Later: 1")
    )

    assert answer.outcome == "answered"
    assert "postman-later" not in answer.headers


async def test_a_body_is_passed_on_byte_for_byte() -> None:
    """Also one that was packed: the proxy opens no mail."""
    packed = gzip.compress(b"a mail")
    heard: list[bytes] = []

    async def listen(peer: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await peer.read_request(reader))
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")

    async with _before(listen) as (proxy, _):
        answer = await raw(proxy.url, _post(_SEND, "Content-Encoding: gzip", length=len(packed)), packed)

    assert answer.outcome == "recorded"
    [request] = heard
    assert request.endswith(b"\r\n\r\n" + packed)
    assert b"content-encoding: gzip" in request.lower()


async def test_an_acceptance_is_answered_when_it_is_recorded_however_long_the_ledger_is_away() -> None:
    """To call it anything else than sent once the provider has taken it would be a second copy."""
    is_away = asyncio.Event()

    async def accept(peer: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.read_request(reader)
        await is_away.wait()
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")

    async with _before(accept) as (proxy, peer):
        waiting = asyncio.create_task(raw(proxy.url, _post(_SEND, "Postman-Patience: 0.5"), _BODY))
        await wait_until(lambda: peer.requests, within=2.0)
        proxy.ledger.is_away = True
        is_away.set()
        await wait_until(lambda: proxy.observer.unrecorded, within=2.0)
        done, _ = await asyncio.wait((waiting,), timeout=0.7)
        assert not done
        proxy.ledger.is_away = False

        answer = await waiting

    assert (answer.status, answer.outcome) == (202, "recorded")


@pytest.mark.parametrize(
    "talk",
    [
        _hang_up,
        _answer("HTTP/1.1 202 Accepted\nContent-Length: 9", b"short"),
        _answer("nonsense"),
        _answer(f"HTTP/1.1 202 Accepted\nContent-Length: {2 << 20}", b"x" * (2 << 20)),
        _answer("HTTP/1.1 202 Accepted\nContent-Length: 9\nContent-Encoding: gzip", b"no gzip.."),
    ],
)
async def test_without_a_whole_answer_the_outcome_is_unknown_and_nothing_is_sent_again(talk: Talk) -> None:
    answer, peer = await _passed(talk, "Postman-Patience: 0.8")

    assert (answer.status, answer.outcome) == (504, "unknown")
    assert peer.requests == 1


async def test_a_provider_that_nobody_can_reach_was_certainly_not_sent_to() -> None:
    async with byte_peer(_hang_up) as gone:
        url = gone.url
    async with running_proxy({"sendgrid": url}) as proxy:
        await proxy.claim("sendgrid", mail().id)

        answer = await raw(proxy.url, _post(), _BODY)

    assert (answer.status, answer.outcome) == (502, "down")


async def test_requests_beyond_the_limit_wait_their_turn(sandbox: Sandbox) -> None:
    async with running_proxy({"sendgrid": sandbox.sendgrid_url}, most=2) as proxy:
        provider = proxy.worker("sendgrid")
        mails = [mail(f"mail-{number}") for number in range(20)]
        for each in mails:
            await proxy.claim("sendgrid", each.id)
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, proxy.observer.in_flight)
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        receipts = await asyncio.gather(*map(provider.send, mails))
        watching.cancel()
        await provider.aclose()

    assert len({receipt.message_id for receipt in receipts}) == 20
    assert most == 2


async def test_a_proxy_that_stops_ends_what_is_under_way_and_takes_no_more(proxy: Proxy, sandbox: Sandbox) -> None:
    provider = proxy.worker("sendgrid")
    async with _slow(sandbox):
        await proxy.claim("sendgrid", mail().id)
        sending = asyncio.create_task(provider.send(mail()))
        await wait_until(lambda: proxy.observer.in_flight == 1, within=2.0)
        proxy.server.stop_listening()

        assert await proxy.observer.drain(5.0)

        assert (await sending).is_recorded
    with pytest.raises(OSError, match="Connect call failed"):
        await raw(proxy.url, _post(), _BODY)
    await provider.aclose()


async def test_workers_that_send_all_the_while_are_never_left_without_an_answer(proxy: Proxy) -> None:
    """A proxy that is replaced closes no connection upon a request: that would be a doubt about each."""
    provider = proxy.worker("sendgrid")
    failures: list[Exception] = []
    sent = 0

    async def work(worker: int) -> None:
        nonlocal sent
        for number in count():
            one = mail(f"mail-{worker}-{number}")
            await proxy.claim("sendgrid", one.id)
            try:
                await provider.send(one)
            except ProviderError as error:
                failures.append(error)
                return
            sent += 1

    working = asyncio.gather(*map(work, range(20)))
    await wait_until(lambda: sent > 100, within=10.0)
    proxy.server.stop_listening()
    assert await proxy.observer.drain(5.0)
    await proxy.server.wait_until_left(5.0)
    await proxy.server.aclose()
    await working
    await provider.aclose()

    assert {type(failure) for failure in failures} == {ProviderUnreachableError}


@asynccontextmanager
async def _slow(sandbox: Sandbox) -> AsyncIterator[None]:
    await sandbox.faults.add(ProviderName.SENDGRID, Fault(FaultKind.SLOW, seconds=0.3))
    yield
