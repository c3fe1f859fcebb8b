"""The layout as the text that a store keeps, and back; and which change may follow which: the same for all stores.

A cluster runs two versions of postman while it is updated. Fields that are not
known are therefore ignored, and those that are missing have their defaults; the
schema's number changes only when an older postman would misread what is written.
"""

from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any, Final

import orjson

from postman.core.layout import Layout
from postman.errors import LayoutChangedError, LayoutError

__all__ = ["check_follows", "dump_layout", "load_layout"]

_SCHEMA: Final = 1


def dump_layout(layout: Layout) -> bytes:
    """Return *layout* as JSON."""
    marked = {"paused": sorted(layout.paused), "closed": sorted(layout.closed)}
    return orjson.dumps({"schema": _SCHEMA, **asdict(layout), **marked})


def load_layout(text: bytes | str, place: str) -> Layout:
    """Return the layout in *text*. Raises `LayoutError`, naming *place*, for what is damaged, or a newer postman's."""
    try:
        found = _Fields(orjson.loads(text))
        schema = found.whole("schema")
        if schema <= _SCHEMA:
            return _layout(found)
    except (orjson.JSONDecodeError, LayoutError) as error:
        raise LayoutError(f"the layout in {place} is damaged: {error}") from error
    raise LayoutError(f"the layout in {place} is a newer postman's (schema {schema}): update this one")


def check_follows(latest: Layout | None, layout: Layout) -> None:
    """Return if *layout* is the epoch after *latest*, else raise `LayoutChangedError`."""
    epoch = 0 if latest is None else latest.epoch
    if layout.epoch != epoch + 1:
        raise LayoutChangedError(
            f"the shards were changed meanwhile: their epoch is {epoch}, not {layout.epoch - 1}; look again"
        )


class _Fields:
    """The fields of a document, each checked when it is asked for; one without a default must be there."""

    def __init__(self, document: Any) -> None:
        if not isinstance(document, Mapping):
            raise LayoutError("it is no object")
        self._document = document

    def whole(self, name: str, default: int | None = None) -> int:
        return _whole(name, self._document.get(name, default))

    def numbers(self, name: str) -> frozenset[int]:
        value = self._document.get(name, [])
        if not isinstance(value, list):
            raise LayoutError(f"{name} is no list")
        return frozenset(_whole(name, each) for each in value)

    def time(self, name: str) -> float:
        value = self._document.get(name, 0.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise LayoutError(f"{name} is no number")
        return float(value)


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise LayoutError(f"{name} is no whole number from 0 up")
    return value


def _layout(found: _Fields) -> Layout:
    consume = found.whole("consume")
    return Layout(
        publish=found.whole("publish"),
        consume=consume,
        epoch=found.whole("epoch"),
        target=found.whole("target", 0),
        top=found.whole("top", consume),
        hand=found.whole("hand", 0),
        paused=found.numbers("paused"),
        closed=found.numbers("closed"),
        changed_at=found.time("changed_at"),
        published_at=found.time("published_at"),
    )
