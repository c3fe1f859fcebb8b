"""What an adapter makes of connections that fail: each phase, with a real peer.

Certainly not sent, or may have been sent: here it is decided whether somebody gets a mail twice.
"""

import asyncio
import datetime as dt
import gzip
import ssl
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from httpx_aiohttp import AiohttpTransport

from postman.adapters._http import MAX_REPLY_BYTES, HttpClient, Reply
from postman.errors import OutcomeUnknownError, ProviderDownError, ProviderError, ProviderUnreachableError
from postman.testing.byte_peer import BytePeer, Talk, byte_peer, reset_connection
from postman.testing.waiting import wait_until

_OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nX-Message-Id: abc\r\n\r\n{}"


async def _exchange(
    url: str, *, timeout: float = 0.5, content: bytes = b'{"a": 1}', client: HttpClient | None = None
) -> Reply:
    http = client or HttpClient("peer", url, headers={"authorization": "Bearer hidden-key"})
    try:
        return await http.exchange(http.request("POST", "/v3/mail/send", content=content), timeout=timeout)
    finally:
        if client is None:
            await http.aclose()


async def _failure(talk: Talk, **options: float | bytes) -> tuple[ProviderError, BytePeer]:
    async with byte_peer(talk) as peer:
        with pytest.raises(ProviderError) as caught:
            await _exchange(peer.url, **options)  # type: ignore[arg-type]  # a timeout or a content
    return caught.value, peer


async def test_refused_connection_is_certainly_not_sent() -> None:
    """Nobody listens: another provider may have the mail at once."""
    async with byte_peer(lambda *_: asyncio.sleep(0)) as peer:
        url = peer.url

    with pytest.raises(ProviderDownError):
        await _exchange(url)


async def test_unknown_host_is_certainly_not_sent() -> None:
    """A name that does not resolve."""
    with pytest.raises(ProviderUnreachableError):
        await _exchange("https://nosuch.invalid", timeout=5.0)


def _untrusted_server(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    return context


async def test_untrusted_certificate_is_certainly_not_sent(tmp_path: Path) -> None:
    """Nothing is said to a peer that cannot prove who it is."""
    async with byte_peer(_answer_all, tls=_untrusted_server(tmp_path)) as peer:
        with pytest.raises(ProviderDownError, match="Certificate"):
            await _exchange(peer.url, timeout=2.0)

    assert peer.requests == 0


async def _answer_all(peer: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await peer.read_request(reader)
        writer.write(_OK)
        await writer.drain()


async def test_no_tls_on_the_other_side_is_certainly_not_sent() -> None:
    """A peer that speaks plain HTTP where TLS is expected is told nothing."""
    async with byte_peer(_answer_all) as peer:
        with pytest.raises(ProviderDownError):
            await _exchange(peer.url.replace("http:", "https:"), timeout=0.5)

    assert peer.requests == 0


async def test_handshake_that_never_ends_is_certainly_not_sent() -> None:
    """The total time-out strikes before anything was said."""

    async def stay_silent(_: BytePeer, __: asyncio.StreamReader, ___: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with byte_peer(stay_silent) as peer:
        with pytest.raises(ProviderDownError):
            await _exchange(peer.url.replace("http:", "https:"), timeout=0.3)


async def test_whole_answer_arrives() -> None:
    """Status, headers without regard to case, and body."""
    async with byte_peer(_answer_all) as peer:
        reply = await _exchange(peer.url)

    assert (reply.status, reply.headers["x-message-id"], reply.body) == (202, "abc", b"{}")


async def test_connection_ended_at_once_is_unknown() -> None:
    """A peer that accepts and resets may have read what was in flight."""

    async def reset(_: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        reset_connection(writer)

    error, _ = await _failure(reset)

    assert type(error) is OutcomeUnknownError


async def test_end_after_the_body_is_unknown() -> None:
    """The peer read all, and left without a word."""

    async def leave(peer: BytePeer, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await peer.read_request(reader)

    error, peer = await _failure(leave)

    assert type(error) is OutcomeUnknownError
    assert peer.requests == 1


async def test_reset_after_the_body_is_unknown() -> None:
    """The library below reports this as a failed connection, which it is not."""

    async def reset(peer: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.read_request(reader)
        reset_connection(writer)

    error, peer = await _failure(reset)

    assert type(error) is OutcomeUnknownError
    assert peer.requests == 1


async def test_silence_after_the_body_is_unknown() -> None:
    """Nobody waits longer than the time-out."""

    async def hang(peer: BytePeer, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await peer.read_request(reader)
        await asyncio.Event().wait()

    error, _ = await _failure(hang, timeout=0.2)

    assert type(error) is OutcomeUnknownError


async def test_slow_drip_ends_with_the_total_time() -> None:
    """A byte now and then resets no time-out."""

    async def drip(peer: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.read_request(reader)
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    started = asyncio.get_running_loop().time()
    error, _ = await _failure(drip, timeout=0.3)

    assert type(error) is OutcomeUnknownError
    assert asyncio.get_running_loop().time() - started < 2.0


async def test_body_that_the_peer_stops_reading_is_unknown() -> None:
    """Half of the mail left; a provider may treat even that as it likes."""

    async def stop_reading(_: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1_000)
        reset_connection(writer)

    error, _ = await _failure(stop_reading, content=b"x" * 8_000_000, timeout=5.0)

    assert type(error) is OutcomeUnknownError


async def test_body_that_is_never_read_is_unknown_after_the_total_time() -> None:
    """Writing has a limit in time too."""

    async def read_nothing(_: BytePeer, __: asyncio.StreamReader, ___: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    error, _ = await _failure(read_nothing, content=b"x" * 30_000_000, timeout=0.3)

    assert type(error) is OutcomeUnknownError


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 500\r\n\r\n{",
        b"HTTP/1.1 202 Acc",
        b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n",
        b"220 smtp.example.org ESMTP\r\n",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        b"HTTP/1.1 202 Accepted\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n",
    ],
    ids=["short", "cut in the head", "cut chunk", "bad chunk", "no HTTP", "bad length", "bad gzip", "huge header"],
)
async def test_broken_answer_is_unknown(answer: bytes) -> None:
    """The peer had the whole request; what it made of it cannot be read."""

    async def answer_badly(peer: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.read_request(reader)
        writer.write(answer)
        await writer.drain()

    error, peer = await _failure(answer_badly)

    assert type(error) is OutcomeUnknownError
    assert peer.requests == 1


@pytest.mark.parametrize("is_deflated", [False, True], ids=["plain", "inflated from little"])
async def test_endless_answer_is_cut(is_deflated: bool) -> None:
    """A reply has a limit, counted after inflation."""
    body = b" " * (MAX_REPLY_BYTES + 1)
    sent = gzip.compress(body) if is_deflated else body
    coding = b"Content-Encoding: gzip\r\n" if is_deflated else b""

    async def flood(peer: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.read_request(reader)
        writer.write(b"HTTP/1.1 202 Accepted\r\n%bContent-Length: %d\r\n\r\n" % (coding, len(sent)) + sent)
        await writer.drain()

    error, _ = await _failure(flood, timeout=5.0)

    assert type(error) is OutcomeUnknownError
    assert "too much" in error.problem


async def test_kept_connection_closed_by_the_peer_is_never_repeated() -> None:
    """An old connection that dies under a request leaves a doubt; the request is made once."""

    async def answer_one(peer: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.read_request(reader)
        writer.write(_OK)
        await writer.drain()
        await peer.read_request(reader)

    async with byte_peer(answer_one) as peer:
        http = HttpClient("peer", peer.url, headers={})
        assert (await _exchange(peer.url, client=http)).status == 202
        with pytest.raises(OutcomeUnknownError):
            await _exchange(peer.url, client=http)
        await http.aclose()

    assert (peer.connections, peer.requests) == (1, 2)


@pytest.mark.parametrize("size", [10, 300_000, 5_000_000])
async def test_body_arrives_whole_with_its_length(size: int) -> None:
    """Large bodies leave in pieces, and are announced with their length all the same."""
    content = bytes(range(256)) * (size // 256 + 1)
    received: list[bytes] = []

    async def note(peer: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await peer.read_request(reader))
        writer.write(_OK)
        await writer.drain()

    async with byte_peer(note) as peer:
        await _exchange(peer.url, content=content, timeout=10.0)

    head, _, body = received[0].partition(b"\r\n\r\n")
    assert body == content
    assert b"transfer-encoding" not in head.lower()


async def test_connection_is_used_again_at_once() -> None:
    """Mails in a row share a connection."""
    async with byte_peer(_answer_all) as peer:
        http = HttpClient("peer", peer.url, headers={})
        for _ in range(3):
            await _exchange(peer.url, client=http)
        await http.aclose()

    assert (peer.connections, peer.requests) == (1, 3)


async def test_closing_leaves_what_is_in_flight_unknown() -> None:
    """Whoever waits for an answer learns at once that it will not come."""

    async def hang(peer: BytePeer, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await peer.read_request(reader)
        await asyncio.Event().wait()

    async with byte_peer(hang) as peer:
        http = HttpClient("peer", peer.url, headers={})
        sending = asyncio.create_task(_exchange(peer.url, client=http, timeout=10.0))
        await wait_until(lambda: peer.requests, within=5.0, every=0.005)
        await http.aclose()
        with pytest.raises(OutcomeUnknownError):
            await asyncio.wait_for(sending, 2.0)


async def test_redirect_is_not_followed() -> None:
    """A second POST would be a second mail."""

    async def redirect(peer: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.read_request(reader)
        writer.write(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with byte_peer(redirect) as peer:
        reply = await _exchange(peer.url)

    assert reply.status == 307
    assert peer.requests == 1


async def test_no_time_left_is_certainly_not_sent() -> None:
    """A time-out of nothing makes no request."""
    async with byte_peer(_answer_all) as peer:
        with pytest.raises(ProviderDownError):
            await _exchange(peer.url, timeout=0.0)

    assert peer.requests == 0


async def test_transport_of_somebody_else_is_judged_by_what_lies_below() -> None:
    """Without word of where the request was, aiohttp's own exception decides, not the name that it is given."""

    async def reset(peer: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.read_request(reader)
        reset_connection(writer)

    async with byte_peer(reset) as peer:
        http = HttpClient("peer", peer.url, headers={}, transport=AiohttpTransport())
        with pytest.raises(OutcomeUnknownError):
            await _exchange(peer.url, client=http)
        await http.aclose()


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (httpx.ConnectError("x"), ProviderDownError),
        (httpx.ConnectTimeout("x"), ProviderDownError),
        (httpx.PoolTimeout("x"), ProviderDownError),
        (httpx.WriteError("x"), OutcomeUnknownError),
        (httpx.WriteTimeout("x"), OutcomeUnknownError),
        (httpx.ReadError("x"), OutcomeUnknownError),
        (httpx.ReadTimeout("x"), OutcomeUnknownError),
        (httpx.RemoteProtocolError("x"), OutcomeUnknownError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_exceptions_of_httpx_have_their_class(raised: Exception, expected: type[ProviderError]) -> None:
    """A transport that only raises is believed."""

    def answer(_: httpx.Request) -> httpx.Response:
        raise raised

    http = HttpClient("peer", "https://peer.example", headers={}, transport=httpx.MockTransport(answer))

    with pytest.raises(expected):
        await _exchange("", client=http)


async def test_failure_shows_nothing_of_the_request() -> None:
    """Libraries' exceptions hold the request with its key; ours refers to none of them."""

    async def reset(peer: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.read_request(reader)
        writer.write(b"nonsense\r\n\r\n")
        await writer.drain()

    error, _ = await _failure(reset)

    assert error.__cause__ is None
    assert error.__context__ is None
    assert "hidden-key" not in repr(error)
