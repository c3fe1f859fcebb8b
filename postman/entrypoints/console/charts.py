"""Where the shapes of charts stand, in hundredths of their width and height; templates draw them.

They hold no words: those are HTML beside them, which a small screen does not shrink.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10
from typing import Final

__all__ = ["Box", "Columns", "columns", "lane", "line", "share", "top_of"]

_STEPS: Final = (1, 2, 2.5, 5, 10)
_GAP: Final = 0.18
"""Of a column's width."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; *kind* is the number of its series, or a state."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns over time, each of parts that stand upon each other."""

    boxes: Sequence[Box]
    top: float
    """What the upper edge stands for."""


def columns(values: Sequence[Mapping[str, float] | None], series: Sequence[str]) -> Columns:
    """Return a column for each of *values*; None, which nobody knows, is a box of the kind `unknown`."""
    top = top_of(max((sum(each.values()) for each in values if each), default=0.0))
    width = 100 / max(1, len(values))
    boxes: list[Box] = []
    for number, each in enumerate(values):
        x, wide = _round(width * (number + _GAP / 2)), _round(width * (1 - _GAP))
        if each is None:
            boxes.append(Box(x, 0, wide, 100, "unknown"))
            continue
        below = 0.0
        for position, name in enumerate(series):
            height = 100 * each.get(name, 0.0) / top
            if height:
                boxes.append(Box(x, _round(100 - below - height), wide, _round(height), str(position)))
            below += height
    return Columns(boxes, top)


def line(values: Sequence[float | None], top: float) -> str:
    """Return the path of a line; it is broken where nothing is known."""
    width = 100 / max(1, len(values) - 1)
    points = [
        None if each is None else (_round(width * number), _round(100 - 100 * min(each, top) / top))
        for number, each in enumerate(values)
    ]
    steps = []
    for before, point in pairwise([None, *points]):
        if point is not None:
            steps.append(f"{'M' if before is None else 'L'}{point[0]:g} {point[1]:g}")
    return " ".join(steps)


def lane(states: Sequence[str]) -> Sequence[Box]:
    """Return a strip of *states*, neighbours that are alike as one box; an empty one is not known, and left out."""
    width = 100 / max(1, len(states))
    boxes: list[Box] = []
    begin = 0
    for end in range(1, len(states) + 1):
        if end == len(states) or states[end] != states[begin]:
            if states[begin]:
                boxes.append(Box(_round(width * begin), 0, _round(width * (end - begin)), 100, states[begin]))
            begin = end
    return boxes


def share(part: float, whole: float) -> float:
    """Return how many hundredths of *whole* a *part* is; what is not nothing can be seen."""
    return _round(max(1.0, min(100.0, 100 * part / whole))) if part > 0 and whole > 0 else 0.0


def top_of(most: float) -> float:
    """Return a round number that is not below *most*, to be written at the upper edge."""
    if most <= 0:
        return 1.0
    decade = 10.0 ** floor(log10(most))
    return next((step * decade for step in _STEPS if step * decade >= most), ceil(most))


def _round(number: float) -> float:
    return round(number, 2)
