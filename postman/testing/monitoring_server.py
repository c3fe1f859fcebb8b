"""A stand-in for Google's Cloud Monitoring, of which it knows one method, `projects.timeSeries.list`, over HTTP.

It holds what was measured of subscriptions, and answers as the real one does:
one metric for each question, the newest point first, in pages, values of 64 bits
as texts. It takes the filters that postman writes, and refuses others as malformed.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

__all__ = ["AGE", "COUNT", "MonitoringServer"]

COUNT: Final = "pubsub.googleapis.com/subscription/num_undelivered_messages"
AGE: Final = "pubsub.googleapis.com/subscription/oldest_unacked_message_age"

_FILTER: Final = re.compile(
    r'metric\.type = "(?P<metric>[a-z_./]+)" AND resource\.type = "pubsub_subscription"'
    r' AND resource\.labels\.subscription_id = monitoring\.regex\.full_match\("(?P<names>[^"\\]+)"\)'
)
_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    429: "RESOURCE_EXHAUSTED",
}


@dataclass(frozen=True, slots=True)
class _Point:
    metric: str
    subscription: str
    value: int
    at: float


class MonitoringServer:
    """See the module; entered in the event loop that serves."""

    def __init__(self, project: str) -> None:
        self._project = project
        self._points: list[_Point] = []
        self._runner: web.AppRunner | None = None
        self.address = ""
        """Where it listens, `host:port`: for MONITORING_EMULATOR_HOST."""
        self.status = 200
        """What it answers to every question; 200: as is right."""
        self.body: bytes | None = None
        """What it answers instead of what is right."""
        self.page_size = 100
        """Series on a page."""
        self.answering = asyncio.Event()
        """Cleared, it keeps everybody waiting."""
        self.answering.set()
        self.questions: list[tuple[str, str]] = []
        """The metric and the page of each question that it understood."""
        self.tokens: list[str] = []
        """The headers `Authorization` that came."""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/v3/projects/{project}/timeSeries", self._list)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.address = f"{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.answering.set()
        if self._runner is not None:
            await self._runner.cleanup()

    def measure(self, subscription: str, *, at: float, count: int | None = None, age: int | None = None) -> None:
        """Let what is given have been so at the time *at*."""
        for metric, value in ((COUNT, count), (AGE, age)):
            if value is not None:
                self._points.append(_Point(metric, subscription, value, at))

    async def _list(self, request: web.Request) -> web.Response:
        self.tokens.append(request.headers.get("authorization", ""))
        await self.answering.wait()
        if self.status != 200:
            return _refusal(self.status)
        if self.body is not None:
            return web.Response(body=self.body, content_type="application/json")
        if request.match_info["project"] != self._project:
            return _refusal(403)
        try:
            return web.json_response(self._answer(request.query))
        except (KeyError, ValueError):
            return _refusal(400)

    def _answer(self, query: Any) -> dict[str, object]:
        match = _FILTER.fullmatch(query["filter"])
        if match is None:
            raise ValueError("not a filter that is known here")
        since, until = (_seconds(query[f"interval.{end}Time"]) for end in ("start", "end"))
        first = int(query.get("pageToken", "0"))
        self.questions.append((match["metric"], query.get("pageToken", "")))
        points = [each for each in self._points if each.metric == match["metric"] and since <= each.at <= until]
        names = sorted({each.subscription for each in points if re.fullmatch(match["names"], each.subscription)})
        page = [_series(name, points) for name in names[first : first + self.page_size]]
        more = f"{first + self.page_size}" if first + self.page_size < len(names) else ""
        return {name: value for name, value in (("timeSeries", page), ("nextPageToken", more)) if value}


def _series(subscription: str, points: Sequence[_Point]) -> dict[str, object]:
    newest_first = sorted((each for each in points if each.subscription == subscription), key=lambda each: -each.at)
    return {
        "metric": {"type": newest_first[0].metric},
        "resource": {"type": "pubsub_subscription", "labels": {"project_id": "p", "subscription_id": subscription}},
        "metricKind": "GAUGE",
        "valueType": "INT64",
        "points": [_point(each) for each in newest_first],
    }


def _point(point: _Point) -> dict[str, object]:
    at = datetime.fromtimestamp(point.at, UTC).isoformat().replace("+00:00", "Z")
    return {"interval": {"startTime": at, "endTime": at}, "value": {"int64Value": str(point.value)}}


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _refusal(status: int) -> web.Response:
    error = {"code": status, "message": "refused", "status": _STATUSES.get(status, "INTERNAL")}
    return web.json_response({"error": error}, status=status)
