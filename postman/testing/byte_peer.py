"""A server of bytes, for what a well-behaved server cannot be made to do."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

__all__ = ["BytePeer", "Talk", "byte_peer", "reset_connection"]

Talk = Callable[["BytePeer", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class BytePeer:
    """What a test knows of its server."""

    url: str = ""
    connections: int = 0
    requests: int = 0

    async def read_request(self, reader: asyncio.StreamReader) -> bytes:
        """Read one HTTP request that names the length of its body."""
        head = await reader.readuntil(b"\r\n\r\n")
        [length] = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(length.partition(b":")[2]))
        self.requests += 1
        return head + body


@asynccontextmanager
async def byte_peer(talk: Talk, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[BytePeer]:
    """Serve on a free port of this machine; *talk* is held with each connection, and ends with the context."""
    peer = BytePeer()
    talks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer.connections += 1
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            await talk(peer, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    peer.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield peer
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


def reset_connection(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
