"""A reply that is small on the wire and huge in memory costs little, and does not break the next exchange."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator

import pytest

from postman.adapters._http import MAX_REPLY_BYTES, HttpClient, Reply
from postman.errors import OutcomeUnknownError
from postman.testing.byte_peer import BytePeer, byte_peer

_MEGABYTE = bytes(1 << 20)
_COST = 8 * MAX_REPLY_BYTES
"""Bytes that such a reply may take for a moment."""


def _folded(megabytes: int, window: int = 31) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, window)
    return b"".join(squeeze.compress(_MEGABYTE) for _ in range(megabytes)) + squeeze.flush()


@pytest.fixture(scope="module")
def gigabyte() -> bytes:
    return _folded(1_024)


async def _exchange_with(body: bytes, coding: str) -> Reply:
    async def answer(peer: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.read_request(reader)
        head = f"HTTP/1.1 202 Accepted\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    async with byte_peer(answer) as peer:
        http = HttpClient("peer", peer.url, headers={})
        try:
            return await http.exchange(http.request("POST", "/"), timeout=10.0)
        finally:
            await http.aclose()


@pytest.fixture
async def peak() -> AsyncIterator[None]:
    """Fail where more memory was taken meanwhile than a reply may cost."""
    tracemalloc.start()
    begun, _ = tracemalloc.get_traced_memory()
    yield
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most - begun < _COST


async def test_a_gigabyte_in_a_megabyte_is_cut(gigabyte: bytes, peak: None) -> None:
    """Here the raw body is short enough, and what it becomes is not."""
    assert len(gigabyte) < MAX_REPLY_BYTES
    with pytest.raises(OutcomeUnknownError, match="answered with far too much"):
        await _exchange_with(gigabyte, "gzip")


async def test_a_gigabyte_folded_twice_stays_folded(gigabyte: bytes, peak: None) -> None:
    """Ten kilobytes on the wire; whoever undoes each coding that is named has a gigabyte."""
    twice = gzip.compress(gigabyte)
    assert len(twice) < 20_000
    reply = await _exchange_with(twice, "gzip, gzip")

    assert reply.body == twice
    assert reply.document() is None


@pytest.mark.parametrize("coding", ["br", "zstd", "nonsense"])
async def test_codings_that_are_not_known_are_not_undone(coding: str) -> None:
    assert (await _exchange_with(b"\x01\x02", coding)).body == b"\x01\x02"


@pytest.mark.parametrize(("coding", "window"), [("gzip", 31), ("GZIP", 31), ("deflate", 15)])
async def test_what_fits_is_inflated(coding: str, window: int) -> None:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, window)
    reply = await _exchange_with(squeeze.compress(b'{"id": "x"}') + squeeze.flush(), coding)
    assert reply.document() == {"id": "x"}
