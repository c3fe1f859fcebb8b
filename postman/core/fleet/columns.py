"""A worker's last hour as a small document: one column for each count, oldest minute first.

Most counts of most minutes are zero, so a column leaves zeros out: `-7` stands
for seven of them, those at the end are not written, and neither is a column of
nothing else. Of a breaker's state each minute has one letter. A busy hour at
three providers takes 3 to 5 kB, one in which everything goes wrong in every
minute 6 kB, and an idle one 300 bytes; the latest mails take 2 kB more, and a
whole report some 10 kB.

What a newer postman adds is ignored. A histogram with other buckets is read
into those that are known here, each count into the bucket where its end lies.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from math import isfinite
from typing import Any, Final

from postman.core.fleet.past import BOUNDS, MOST_LATEST, MOST_MINUTES, Finished, Latency, Minute, ProviderMinute

__all__ = ["ColumnError", "finished_of", "latest_document", "minutes_of", "past_document"]

_COUNTS: Final = {"r": "refused", "q": "in_doubt", "m": "moved", "p": "prevented", "d": "dead"}
_BEYOND: Final = "more"
_LETTERS: Final = {
    "": "-",
    "closed": "c",
    "disabled": "d",
    "held_closed": "C",
    "half_open": "h",
    "held_open": "O",
    "open": "o",
}
_STATES: Final = {letter: state for state, letter in _LETTERS.items()}
_OTHER: Final = "?"
_UNKNOWN: Final = "unknown"
_MOST: Final = 10**15
_MOST_PROVIDERS: Final = 100


class ColumnError(ValueError):
    """A column holds what it cannot hold; the message names it."""


def past_document(past: Sequence[Minute]) -> dict[str, Any]:
    """Return *past*, minutes without gaps, oldest first, as plain values; empty where it is empty."""
    if not past:
        return {}
    counts = {key: _packed([getattr(minute, name) for minute in past]) for key, name in _COUNTS.items()}
    names = sorted({name for minute in past for name in minute.providers})
    return {
        "b": past[0].begins,
        "n": len(past),
        "by": {name: _provider_document([minute.providers.get(name) for minute in past]) for name in names},
        **_used(counts),
        **_used({"s": _packed([round(minute.latency.seconds * 1000) for minute in past])}),
        **_used({"h": _used(_histogram_document(past))}),
    }


def minutes_of(document: Mapping[str, Any]) -> tuple[Minute, ...]:
    """Return the minutes that *document* holds, or raise `ColumnError`."""
    if not document:
        return ()
    begins, length = _whole(document.get("b"), "b"), _whole(document.get("n"), "n")
    if length > MOST_MINUTES:
        raise ColumnError(f"n is more than {MOST_MINUTES}")
    counts = {name: _unpacked(document.get(key, []), length, key) for key, name in _COUNTS.items()}
    seconds = _unpacked(document.get("s", []), length, "s")
    buckets = _histogram(_mapping(document.get("h", {}), "h"), length)
    providers = _mapping(document.get("by", {}), "by")
    sides = {name: _provider(_mapping(each, "by"), length) for name, each in providers.items()}
    return tuple(
        Minute(
            begins=begins + index,
            providers={name: each for name, column in sides.items() if (each := column[index]) is not None},
            latency=Latency(seconds[index] / 1000, tuple(column[index] for column in buckets)),
            **{name: column[index] for name, column in counts.items()},
        )
        for index in range(length)
    )


def latest_document(latest: Iterable[Finished]) -> list[list[Any]]:
    """Return *latest* as plain values, each in the order of the fields of `Finished`."""
    return [[one.mail_id, one.outcome, one.provider, one.at, one.took, one.shard] for one in latest]


def finished_of(rows: Sequence[object]) -> tuple[Finished, ...]:
    """Return the mails that *rows* hold, or raise `ColumnError`."""
    return tuple(_finished(row) for row in rows[-MOST_LATEST:])


def _finished(row: object) -> Finished:
    match row:
        case [
            str(mail_id),
            str(outcome),
            str(provider),
            int() | float() as at,
            int() | float() as took,
            int(shard),
            *_,
        ]:
            if isfinite(at) and isfinite(took):
                return Finished(mail_id, outcome, provider, float(at), float(took), shard)
    raise ColumnError("a row is no mail")


def _provider_document(column: Sequence[ProviderMinute | None]) -> dict[str, Any]:
    return _used(
        {
            "a": _packed([each.accepted if each else 0 for each in column]),
            "f": _packed([each.failed if each else 0 for each in column]),
            "st": _letters([each.breaker if each else "" for each in column]),
        }
    )


def _provider(found: Mapping[str, Any], length: int) -> list[ProviderMinute | None]:
    accepted, failed = (_unpacked(found.get(key, []), length, key) for key in ("a", "f"))
    states = _states(found.get("st", ""), length)
    return [
        ProviderMinute(took, lost, state or _UNKNOWN) if took or lost or state else None
        for took, lost, state in zip(accepted, failed, states, strict=True)
    ]


def _histogram_document(past: Sequence[Minute]) -> dict[str, list[int]]:
    ends = [*(f"{bound:g}" for bound in BOUNDS), _BEYOND]
    return {end: _packed([minute.latency.buckets[index] for minute in past]) for index, end in enumerate(ends)}


def _histogram(found: Mapping[str, Any], length: int) -> list[list[int]]:
    buckets = [[0] * length for _ in range(len(BOUNDS) + 1)]
    for end, column in found.items():
        bucket = buckets[_bucket(end)]
        for index, count in enumerate(_unpacked(column, length, "h")):
            bucket[index] += count
    return buckets


def _bucket(end: str) -> int:
    if end == _BEYOND:
        return len(BOUNDS)
    try:
        return bisect_left(BOUNDS, float(end))
    except ValueError:
        raise ColumnError("h has a bucket without an end") from None


def _packed(column: Sequence[int]) -> list[int]:
    """Return *column* with runs of zeros as one negative number, and without those at its end."""
    packed: list[int] = []
    for is_zero, run in groupby(column, key=lambda count: count == 0):
        numbers = list(run)
        packed.extend([-len(numbers)] if is_zero and len(numbers) > 1 else numbers)
    while packed and packed[-1] <= 0:
        packed.pop()
    return packed


def _unpacked(packed: object, length: int, name: str) -> list[int]:
    column: list[int] = []
    for number in _list(packed, name):
        if isinstance(number, bool) or not isinstance(number, int) or not -length <= number <= _MOST:
            raise ColumnError(f"{name} holds what is no count")
        column.extend([number] if number >= 0 else [0] * -number)
        if len(column) > length:
            raise ColumnError(f"{name} is too long")
    return column + [0] * (length - len(column))


def _letters(states: Sequence[str]) -> str:
    """Return a letter for each state; an empty one: the provider was not known."""
    return "".join(_LETTERS.get(state, _OTHER) for state in states).rstrip(_LETTERS[""])


def _states(letters: object, length: int) -> list[str]:
    if not isinstance(letters, str) or len(letters) > length:
        raise ColumnError("st holds what is no state")
    return [_STATES.get(letter, _UNKNOWN) for letter in letters.ljust(length, _LETTERS[""])]


def _used(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value}


def _whole(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise ColumnError(f"{name} is no whole number")
    return value


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise ColumnError(f"{name} is no list")
    return list(value)


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or len(value) > _MOST_PROVIDERS or not all(isinstance(key, str) for key in value):
        raise ColumnError(f"{name} is no object")
    return value
