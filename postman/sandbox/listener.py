"""The port of one provider: bytes in, honest answers or faults out.

It stands on aiohttp's low-level server, which hands out the transport: a reset is a reset, and while a provider refuses
connections its port is truly closed.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Sequence

from aiohttp import web

from postman.errors import ConfigError
from postman.sandbox.answers import Accepted, Answer
from postman.sandbox.faults import Decision, Fault, FaultBoard, FaultKind
from postman.sandbox.imitation import Imitation, Request
from postman.sandbox.mails import SentMail
from postman.sandbox.stats import Stats
from postman.sandbox.store import MailStore

__all__ = ["Listener", "bind", "url_of"]

_BACKLOG = 1024
_CLOSING_SECONDS = 0.25
_FOREVER = 86_400.0
_NO_LINGER = struct.pack("ii", 1, 0)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to *port*, 0 for any free one; raise `ConfigError` naming a port that cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise ConfigError(
            f"port {port} on {host} cannot be used: {getattr(error, 'strerror', None) or error}"
        ) from error
    bound.setblocking(False)
    return bound


def url_of(host: str, port: int) -> str:
    """Return the base address of a server on this machine."""
    named = f"[{host}]" if ":" in host else host
    return f"http://{named}:{port}"


class Listener:
    """Serves *imitation* on one port until it is closed."""

    def __init__(
        self,
        imitation: Imitation,
        store: MailStore,
        faults: FaultBoard,
        stats: Stats,
        *,
        accepted: Callable[[Sequence[SentMail]], None],
    ) -> None:
        self._imitation = imitation
        self._store = store
        self._faults = faults
        self._stats = stats
        self._accepted = accepted
        self._host = ""
        self.port = 0
        self._holder: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._handler: web.Server | None = None
        self._busy: set[web.RequestHandler] = set()
        self._turn = asyncio.Lock()

    async def start(self, host: str, port: int) -> None:
        """Bind and listen; raises `ConfigError` if the port cannot be had."""
        bound = bind(host, port)
        self._host, self.port = host, bound.getsockname()[1]
        await self._listen(bound)

    @property
    def url(self) -> str:
        """The address to use in place of the provider's own."""
        return url_of(self._host, self.port)

    async def follow_faults(self) -> None:
        """Close the port if the provider is to refuse connections, open it again if not."""
        async with self._turn:
            refuses = self._faults.refuses(self._imitation.name)
            if refuses and self._server is not None:
                await self._refuse()
            elif not refuses and self._holder is not None:
                self._holder.close()
                self._holder = None
                await self._listen(bind(self._host, self.port))

    async def aclose(self) -> None:
        """Stop listening and drop all connections; twice is fine."""
        async with self._turn:
            if self._holder is not None:
                self._holder.close()
                self._holder = None
            if self._server is not None:
                self._server.close()
                self._server = None
            await self._close_connections()
            if self._handler is not None:
                await self._handler.shutdown(_CLOSING_SECONDS)
                self._handler = None

    async def _listen(self, bound: socket.socket) -> None:
        if self._handler is None:
            self._handler = web.Server(self._serve, handler_cancellation=True, access_log=None)
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(self._handler, sock=bound, backlog=_BACKLOG)
        except OSError as error:
            bound.close()
            raise ConfigError(f"port {self.port} on {self._host} is already in use") from error

    async def _refuse(self) -> None:
        """Close the port and idle connections; a socket that does not listen keeps the number for later.

        Connections at work end with their answer.
        """
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._close_connections()
        self._holder = bind(self._host, self.port)

    async def _close_connections(self) -> None:
        for connection in self._handler.connections if self._handler is not None else ():
            if connection in self._busy:
                connection.close()
            else:
                connection.force_close()
        await asyncio.sleep(0)  # lets the transports close, so that no client finds an idle connection still open

    async def _serve(self, received: web.BaseRequest) -> web.StreamResponse:
        connection = received.protocol
        self._busy.add(connection)
        try:
            return await self._handle(received)
        finally:
            self._busy.discard(connection)

    async def _handle(self, received: web.BaseRequest) -> web.StreamResponse:
        body = await _read(received, self._imitation.body_limit)
        self._stats.request(self._imitation.name)
        if body is None:
            return self._respond(self._imitation.too_large())
        request = _request(received, body)
        decision = self._faults.decide(self._imitation.name, self._imitation.traffic(request))
        answer = self._take_over(request, decision.fault) if decision.fault else self._work(request)
        return await self._finish(received, decision, answer)

    async def _finish(self, received: web.BaseRequest, decision: Decision, answer: Answer | None) -> web.StreamResponse:
        if decision.delay:
            await asyncio.sleep(decision.delay)
        if answer is not None:
            return self._respond(answer)
        self._stats.answered(self._imitation.name, None)
        fault = decision.fault
        if fault is not None and fault.kind is FaultKind.HANG:
            await asyncio.sleep(_FOREVER if fault.seconds is None else fault.seconds)
        _reset(received)
        return web.Response()

    def _respond(self, answer: Answer) -> web.Response:
        self._stats.answered(self._imitation.name, answer.status)
        return _response(answer)

    def _work(self, request: Request) -> Answer:
        """Do what the provider does, and return its honest answer."""
        outcome = self._imitation.answer(request)
        if isinstance(outcome, Answer):
            return outcome
        self._accept(outcome)
        return outcome.answer

    def _accept(self, outcome: Accepted) -> None:
        mails = self._store.accept(self._imitation.name, outcome.drafts)
        self._stats.accepted(self._imitation.name, len(mails))
        self._accepted(mails)

    def _take_over(self, request: Request, fault: Fault) -> Answer | None:
        """Do what *fault* says; None where the connection is to end without an answer."""
        match fault.kind:
            case FaultKind.DOWN:
                return self._imitation.down()
            case FaultKind.THROTTLE:
                return self._imitation.throttled(fault)
            case FaultKind.STATUS:
                return self._status(request, fault)
            case FaultKind.MALFORMED:
                self._work(request)
                return self._imitation.malformed()
            case FaultKind.HANG | FaultKind.RESET:
                self._work(request)
                return None
            case FaultKind.RESET_BEFORE | FaultKind.REFUSE | FaultKind.SLOW:
                return None

    def _status(self, request: Request, fault: Fault) -> Answer:
        if fault.accept:
            self._work(request)
        status = fault.status or 500
        usual = self._imitation.failed(status)
        if fault.body is None:
            return Answer(status, usual.body, usual.content_type, fault.headers or {})
        headers = dict(fault.headers or {})
        given = next((headers.pop(name) for name in list(headers) if name.lower() == "content-type"), "text/plain")
        return Answer(status, fault.body.encode(), given, headers)


async def _read(received: web.BaseRequest, limit: int) -> bytes | None:
    """Return the whole body; None if it is larger than *limit*."""
    if (received.content_length or 0) > limit:
        return None
    pieces: list[bytes] = []
    size = 0
    while piece := await received.content.readany():
        size += len(piece)
        if size > limit:
            return None
        pieces.append(piece)
    return b"".join(pieces)


def _request(received: web.BaseRequest, body: bytes) -> Request:
    headers = received.headers
    return Request(
        method=received.method,
        path=received.path,
        query=received.query,
        authorization=headers.get("Authorization", ""),
        content_type=headers.get("Content-Type", ""),
        body=body,
        base_url=f"http://{headers.get('Host', '')}",
    )


def _response(answer: Answer) -> web.Response:
    headers = dict(answer.headers)
    if answer.content_type:
        headers["Content-Type"] = answer.content_type
    return web.Response(status=answer.status, body=answer.body or None, headers=headers)


def _reset(received: web.BaseRequest) -> None:
    """End the connection with RST instead of FIN: the client learns nothing but that it is gone."""
    transport = received.transport
    if transport is None:
        return
    handle = transport.get_extra_info("socket")
    if handle is not None:
        with socket.socket(fileno=os.dup(handle.fileno())) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
