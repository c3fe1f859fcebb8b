"""A relay of bytes whose connections can be cut: whatever was on its way is lost, and nobody says goodbye."""

import asyncio
from types import TracebackType
from typing import Final, Self

from postman.testing.byte_peer import reset_connection

__all__ = ["Relay"]

_PIECE: Final = 65_536


class Relay:
    """Passes everything on to *target* (`host:port`), both ways."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._writers: set[asyncio.StreamWriter] = set()
        self._talks: set[asyncio.Task[None]] = set()
        self.address = ""
        """Where it listens, `host:port`."""
        self.cuts = 0
        """How many connections were cut."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._talks, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection of a client."""
        for writer in [writer for writer in self._writers if not writer.is_closing()]:
            self.cuts += 1
            reset_connection(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None
        self._talks.add(talk)
        talk.add_done_callback(self._talks.discard)
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection(*self._target)
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, back))
                group.create_task(_copy(there, writer))
        except* OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while piece := await source.read(_PIECE):
            sink.write(piece)
            await sink.drain()
    finally:
        sink.close()
