"""What the pages work with."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from postman.entrypoints.console.access import Access
from postman.entrypoints.console.runbook import Runbook
from postman.entrypoints.console.stores import Stores
from postman.entrypoints.console.streams import Streams

__all__ = ["PARTS", "Parts", "Values", "View"]

Values = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class View:
    """One kind of page. Its template's blocks whose names begin with `live_` are sent anew while somebody looks."""

    name: str
    """Of the stream, and of the entry in the navigation that is marked."""
    template: str
    values: Callable[[Stores, Mapping[str, str]], Awaitable[Values]]
    """From what stands in the URL. The same for all visitors; never waits long, and raises `web.HTTPException` only."""
    is_live: bool = True


@dataclass(frozen=True, slots=True)
class Parts:
    """One for each process."""

    stores: Stores
    access: Access
    streams: Streams
    runbook: Runbook
    views: dict[str, View] = field(default_factory=dict)
    """By name; rooms that act add theirs before the start."""


PARTS: Final = web.AppKey("parts", Parts)
