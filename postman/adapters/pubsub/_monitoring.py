"""Cloud Monitoring, as far as the backlog needs it: the latest values of one metric of subscriptions.

Each page is one HTTP request, sent once; Google's generated client would bring a
package of its own for this one method, `projects.timeSeries.list`, and would try
again for a minute and a half.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import httpx
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from postman.errors import QueueUnavailableError

__all__ = ["GOOGLE", "Authorise", "GoogleHeaders", "Measured", "Monitoring", "nobody"]

GOOGLE: Final = "https://monitoring.googleapis.com"

Authorise = Callable[[str], Awaitable[Mapping[str, str]]]
"""From a request's URL to the headers that prove who sends it."""

Measured = tuple[int, float]
"""A value, and when it was so, in seconds since 1970."""

_SCOPES: Final = ("https://www.googleapis.com/auth/monitoring.read",)
_LIMIT: Final = 8.0
"""Seconds for all pages of a metric, with all that comes before the first."""
_CREDENTIALS_LIMIT: Final = 4.0
_MOST_BYTES: Final = 16 << 20
"""Of one page. The values of 1,024 subscriptions take about one."""
_MOST_PAGES: Final = 50

_REFUSALS: Final = {
    400: "calls the question wrong",
    401: "does not accept our credentials",
    403: "may not be read: this account needs roles/monitoring.viewer, and the project the Cloud Monitoring API",
    404: "knows no such project",
    429: "has no quota left for this project",
}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, hide_input_in_errors=True)


class _Value(_Model):
    int64_value: int = Field(alias="int64Value", ge=0)


class _Interval(_Model):
    end_time: AwareDatetime


class _Point(_Model):
    interval: _Interval
    value: _Value

    @property
    def measured(self) -> Measured:
        return self.value.int64_value, self.interval.end_time.timestamp()


class _Resource(_Model):
    labels: Mapping[str, str]


class _Series(_Model):
    resource: _Resource
    points: tuple[_Point, ...] = ()


class _Page(_Model):
    time_series: tuple[_Series, ...] = ()
    next_page_token: str = ""


class Monitoring:
    """One project's metrics; connects at the first question, in that event loop. Raises `QueueUnavailableError`."""

    def __init__(self, project: str, *, base_url: str, authorise: Authorise, limit: float = _LIMIT) -> None:
        self._url = f"{base_url}/v3/projects/{project}/timeSeries"
        self._authorise = authorise
        self._limit = limit
        # What goes to this machine, as to an emulator, is no proxy's affair.
        self._client = httpx.AsyncClient(timeout=limit, trust_env=base_url == GOOGLE)

    async def latest(self, wanted: str, *, since: float, until: float) -> Mapping[str, Measured]:
        """Return the newest value of each subscription in a time, by the subscription's id; *wanted* is the filter."""
        query = {"filter": wanted, "interval.startTime": _moment(since), "interval.endTime": _moment(until)}
        try:
            async with asyncio.timeout(self._limit):
                return await self._read(query)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise QueueUnavailableError("Cloud Monitoring did not answer in time") from error
        except httpx.HTTPError as error:
            raise QueueUnavailableError("Cloud Monitoring cannot be reached") from error
        except RuntimeError as error:  # what httpx says of a client that was closed
            raise QueueUnavailableError("Cloud Monitoring was closed") from error

    async def aclose(self) -> None:
        """Close the connections; every later question fails."""
        await self._client.aclose()

    async def _read(self, query: dict[str, str]) -> Mapping[str, Measured]:
        found: dict[str, Measured] = {}
        for _ in range(_MOST_PAGES):
            page = await self._page(query)
            for series in page.time_series:
                name = series.resource.labels.get("subscription_id", "")
                for point in series.points:
                    found[name] = max(found.get(name, point.measured), point.measured, key=lambda each: each[1])
            if not page.next_page_token:
                return found
            query = {**query, "pageToken": page.next_page_token}
        raise QueueUnavailableError(f"Cloud Monitoring has more than {_MOST_PAGES} pages to tell")

    async def _page(self, query: Mapping[str, str]) -> _Page:
        try:
            return _Page.model_validate_json(await self._fetch(query))
        except ValidationError:
            raise QueueUnavailableError("what answers is not Cloud Monitoring") from None

    async def _fetch(self, query: Mapping[str, str]) -> bytes:
        headers = await self._authorise(self._url)
        document = bytearray()
        async with self._client.stream("GET", self._url, params=query, headers=headers) as answer:
            if answer.status_code != httpx.codes.OK:
                problem = _REFUSALS.get(answer.status_code, f"failed with status {answer.status_code}")
                raise QueueUnavailableError(f"Cloud Monitoring {problem}")
            async for piece in answer.aiter_bytes():
                document += piece
                if len(document) > _MOST_BYTES:
                    raise QueueUnavailableError("what answers is not Cloud Monitoring")
        return bytes(document)


class GoogleHeaders:
    """An `Authorise` by Google's default credentials, which are found at the first request and renewed as needed."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._credentials: Any = None

    async def __call__(self, url: str) -> Mapping[str, str]:
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

        try:
            async with self._lock:
                return await asyncio.to_thread(self._headers, url)
        except DefaultCredentialsError as error:
            raise QueueUnavailableError("no Google credentials were found for Cloud Monitoring") from error
        except GoogleAuthError as error:
            raise QueueUnavailableError("Google gives us no credentials now for Cloud Monitoring") from error

    def _headers(self, url: str) -> Mapping[str, str]:
        from google.auth import default
        from google.auth.transport.requests import Request

        if self._credentials is None:
            self._credentials, _ = default(scopes=_SCOPES)
        headers: dict[str, str] = {}
        # Without a limit of ours it waits for two minutes, and the process for it.
        self._credentials.before_request(partial(Request(), timeout=_CREDENTIALS_LIMIT), "GET", url, headers)
        return headers


async def nobody(url: str) -> Mapping[str, str]:  # noqa: ARG001 — an `Authorise`
    """Prove nothing, as an emulator asks for nothing."""
    return {}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
