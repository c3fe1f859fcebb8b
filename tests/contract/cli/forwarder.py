"""A wire that is cut until it is joined: a port that refuses connections, then leads to another."""

import asyncio
import socket
from contextlib import suppress
from types import TracebackType
from typing import Self

__all__ = ["Forwarder"]


class Forwarder:
    """A context; inside it *port* is ours, and nothing listens there before `open` and after `cut`."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._holder = _held(0)
        self.port: int = self._holder.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._wires: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cut()
        self._holder.close()

    async def open(self) -> None:
        """Lead every connection on to the target from now on."""
        self._holder.close()
        self._server = await asyncio.start_server(self._join, sock=_held(self.port))

    async def cut(self) -> None:
        """End all connections and take no new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._holder = _held(self.port)
        for wire in self._wires:
            wire.cancel()
        await asyncio.gather(*self._wires, return_exceptions=True)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            wire = asyncio.create_task(_carry(source, sink))
            self._wires.add(wire)
            wire.add_done_callback(self._wires.discard)


def _held(port: int) -> socket.socket:
    """Return a socket that has *port* and does not listen."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", port))
    return held


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while piece := await source.read(65_536):
            sink.write(piece)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.close()
        with suppress(OSError):
            await sink.wait_closed()
