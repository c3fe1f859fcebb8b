"""What the HTTP providers say where no connection comes about: somebody said no, or nobody answered.

Either way the mail was certainly not sent. But where nobody answers at any provider, the fault is on this side.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from pydantic import SecretStr

from postman import Address, Mail
from postman.adapters import mailgun, sendgrid
from postman.errors import ProviderDownError, ProviderUnreachableError
from postman.ports.opening import ProviderSpec
from postman.testing.byte_peer import BytePeer, byte_peer, reset_connection

MAIL = Mail(from_=Address(email="a@mg.example.org"), to=(Address(email="b@example.org"),), subject="s", text="t")
OPENING = {"sendgrid": sendgrid.open_provider, "mailgun": mailgun.open_provider}

pytestmark = pytest.mark.parametrize("kind", list(OPENING))


async def _failure(kind: str, url: str, *, timeout: float = 5.0) -> ProviderDownError:
    options = {"domain": "mg.example.org"} if kind == "mailgun" else {}
    provider = OPENING[kind](ProviderSpec(kind, kind, SecretStr("hidden-key"), url, timeout=timeout, options=options))
    try:
        with pytest.raises(ProviderDownError) as caught:
            await provider.send(MAIL)
    finally:
        await provider.aclose()
    assert caught.value.provider == kind
    return caught.value


async def test_a_name_that_does_not_resolve_was_not_reached(kind: str) -> None:
    assert type(await _failure(kind, "https://nosuch.invalid")) is ProviderUnreachableError


@contextmanager
def _full_backlog() -> Iterator[str]:
    """Listen, but accept nobody, until the system drops what knocks; return the address."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as knocking:
        for _ in range(8):
            one = knocking.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


async def test_an_address_where_nobody_answers_was_not_reached(kind: str) -> None:
    """The connection is neither made nor refused until the time-out strikes."""
    with _full_backlog() as url:
        assert type(await _failure(kind, url, timeout=0.5)) is ProviderUnreachableError


async def test_whoever_refuses_the_connection_was_reached(kind: str) -> None:
    async with byte_peer(lambda *_: asyncio.sleep(0)) as peer:
        url = peer.url

    assert type(await _failure(kind, url)) is ProviderDownError


async def test_whoever_resets_the_handshake_was_reached(kind: str) -> None:
    async def reset(_: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        reset_connection(writer)

    async with byte_peer(reset) as peer:
        failure = await _failure(kind, peer.url.replace("http:", "https:"))

    assert type(failure) is ProviderDownError
    assert peer.requests == 0
