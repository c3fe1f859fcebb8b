"""A provider that is reached over HTTP, as the proxy sees it: where it is, what it takes, how it says yes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import httpx

from postman.adapters._account import check_place
from postman.adapters._http import HttpClient, Reply
from postman.ports.observing import OWN_HEADERS, Answered, Passage, Traffic
from postman.ports.opening import ProviderSpec
from postman.ports.provider import Receipt

__all__ = ["Dialect", "HttpObserved"]

_OF_THE_CONNECTION: Final = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""What is not passed back: it is about the connection, or no longer true of the body."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one kind of provider speaks."""

    base_url: str
    """Where the document names none."""
    takes: Mapping[tuple[str, str], Traffic]
    """The requests that are passed on, by method and path."""
    receipt: Callable[[Reply, str], Receipt | None]
    """From an answer and the provider's name; None where it is no acceptance."""
    acceptance: Callable[[Receipt], Answered]


class HttpObserved:
    """See `postman.ports.observing.ObservedProvider`; *transport* is for tests."""

    def __init__(
        self, spec: ProviderSpec, dialect: Dialect, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        place = check_place(spec, base_url=dialect.base_url)
        self._name = spec.name
        self._timeout = place.timeout
        self._dialect = dialect
        self._http = HttpClient(spec.name, place.base_url, headers={}, transport=transport)

    @property
    def name(self) -> str:
        return self._name

    @property
    def timeout(self) -> float:
        return self._timeout

    def traffic(self, method: str, path: str) -> Traffic | None:
        return self._dialect.takes.get((method, path))

    async def forward(self, passage: Passage, *, timeout: float) -> Answered:
        request = self._http.request(
            passage.method,
            passage.path,
            params=passage.query,
            headers=passage.headers,
            content=passage.body or None,
        )
        reply = await self._http.exchange(request, timeout=timeout)
        return Answered(reply.status, _kept(reply.headers), reply.body)

    def receipt_of(self, answer: Answered) -> Receipt | None:
        return self._dialect.receipt(Reply(answer.status, answer.headers, answer.body), self._name)

    def acceptance(self, receipt: Receipt) -> Answered:
        return self._dialect.acceptance(receipt)

    async def aclose(self) -> None:
        await self._http.aclose()


def _kept(headers: Mapping[str, str]) -> httpx.Headers:
    """Return what is passed back; a provider cannot speak in the proxy's name."""
    named = {name.strip().lower() for name in headers.get("connection", "").split(",")}
    return httpx.Headers(
        [
            (name, value)
            for name, value in headers.items()
            if name.lower() not in _OF_THE_CONNECTION | named and not name.lower().startswith(OWN_HEADERS)
        ]
    )
