"""Faults: what may go wrong, and the dice that decide for which request it does.

Nothing here waits or touches a connection: `FaultBoard.decide` says what shall happen to the next request.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TypeVar

from postman.sandbox.settings import ProviderName

__all__ = ["Decision", "Fault", "FaultBoard", "FaultError", "FaultKind", "Traffic", "read_fault", "read_faults"]

_LONGEST = 3600.0
_Choice = TypeVar("_Choice", bound=StrEnum)


class FaultKind(StrEnum):
    """The ways in which a provider can fail its user."""

    DOWN = "down"
    """Answers 503 and takes nothing."""
    REFUSE = "refuse"
    """The port is closed."""
    SLOW = "slow"
    """Does its work at once, but answers *seconds* later."""
    STATUS = "status"
    """Answers *status*; takes the mail only with *accept*."""
    THROTTLE = "throttle"
    """Answers "too many requests" and names the time, *seconds* from now, to come back."""
    HANG = "hang"
    """Takes the mail and does not answer for *seconds*, or until the client leaves."""
    RESET = "reset"
    """Takes the mail and resets the connection instead of an answer."""
    RESET_BEFORE = "reset_before"
    """Resets the connection and takes nothing."""
    MALFORMED = "malformed"
    """Takes the mail and answers success in a way that is not this provider's."""


class Traffic(StrEnum):
    """The two kinds of request to a provider."""

    SEND = "send"
    LOOKUP = "lookup"


class FaultError(ValueError):
    """A fault's description is wrong; *field* names where."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; raises `FaultError` unless its fields fit its kind."""

    kind: FaultKind
    rate: float = 1.0
    """Share of requests it hits, above 0 and up to 1."""
    count: int | None = None
    """How many more requests it may hit; None for no end."""
    only: Traffic | None = None
    seconds: float | None = None
    status: int | None = None
    body: str | None = None
    headers: Mapping[str, str] | None = None
    accept: bool = False
    """Whether a fault of kind ``status`` takes the mail all the same."""

    def __post_init__(self) -> None:
        _check(self)

    def document(self) -> dict[str, object]:
        """Return it as `read_fault` takes it."""
        document = {name: value for name, value in asdict(self).items() if value is not None}
        if self.kind is not FaultKind.STATUS:
            document.pop("accept")
        if self.kind is FaultKind.REFUSE:
            document.pop("rate")
        return document


_FOR_KIND: dict[FaultKind, frozenset[str]] = {
    FaultKind.DOWN: frozenset(),
    FaultKind.REFUSE: frozenset(),
    FaultKind.SLOW: frozenset({"seconds"}),
    FaultKind.STATUS: frozenset({"status", "body", "headers", "accept"}),
    FaultKind.THROTTLE: frozenset({"seconds", "status"}),
    FaultKind.HANG: frozenset({"seconds"}),
    FaultKind.RESET: frozenset(),
    FaultKind.RESET_BEFORE: frozenset(),
    FaultKind.MALFORMED: frozenset(),
}
_NEEDED = {FaultKind.SLOW: "seconds", FaultKind.STATUS: "status"}
_PARTICULAR = ("seconds", "status", "body", "headers", "accept")
_THROTTLE_STATUSES = (420, 429)


def _check(fault: Fault) -> None:
    for name in _PARTICULAR:
        if getattr(fault, name) not in (None, False) and name not in _FOR_KIND[fault.kind]:
            raise FaultError(name, f"has no meaning for {fault.kind}")
    needed = _NEEDED.get(fault.kind)
    if needed is not None and getattr(fault, needed) is None:
        raise FaultError(needed, f"is needed for {fault.kind}")
    if not 0 < fault.rate <= 1:
        raise FaultError("rate", "must be above 0 and at most 1")
    if fault.count is not None and fault.count < 1:
        raise FaultError("count", "must be at least 1")
    if fault.seconds is not None and not 0 <= fault.seconds <= _LONGEST:
        raise FaultError("seconds", f"must be from 0 to {_LONGEST:.0f}")
    _check_status(fault)


def _check_status(fault: Fault) -> None:
    if fault.status is None:
        return
    if fault.kind is FaultKind.THROTTLE and fault.status not in _THROTTLE_STATUSES:
        raise FaultError("status", "must be 420 or 429 for throttle")
    if not 200 <= fault.status <= 599:
        raise FaultError("status", "must be from 200 to 599")


_ALLOWED_TYPES: dict[str, tuple[type, ...]] = {
    "kind": (str,),
    "rate": (int, float),
    "count": (int,),
    "only": (str,),
    "seconds": (int, float),
    "status": (int,),
    "body": (str,),
    "headers": (dict,),
    "accept": (bool,),
}


def read_fault(document: object) -> Fault:
    """Read one fault from JSON; raise `FaultError` naming the field that is wrong."""
    if not isinstance(document, dict):
        raise FaultError("kind", "a fault is an object with a kind")
    for name, value in document.items():
        _check_type(name, value)
    if document.get("kind") is None:
        raise FaultError("kind", "is needed")
    kind = _member(FaultKind, "kind", document["kind"])
    if kind is FaultKind.REFUSE:
        _refuse_shares(document)
    given = {name: value for name, value in document.items() if value is not None and name not in ("kind", "only")}
    only = document.get("only")
    return Fault(kind=kind, only=None if only is None else _member(Traffic, "only", only), **given)


def read_faults(document: object) -> list[Fault]:
    """Read several faults from an array, or from an object with the one key ``faults``."""
    listed = document["faults"] if isinstance(document, dict) and "faults" in document else document
    if not isinstance(listed, list):
        raise FaultError("faults", "must be an array")
    return [read_fault(each) for each in listed]


def _refuse_shares(document: Mapping[str, object]) -> None:
    for name in ("rate", "count", "only"):
        if document.get(name) is not None:
            raise FaultError(name, "has no meaning for refuse: the port is closed to all")


def _check_type(name: str, value: object) -> None:
    if name not in _ALLOWED_TYPES:
        raise FaultError(name, "unknown field")
    if value is None:
        return
    wanted = _ALLOWED_TYPES[name]
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        raise FaultError(name, f"must be of type {wanted[-1].__name__}")
    if isinstance(value, dict) and not all(_is_header(key, text) for key, text in value.items()):
        raise FaultError(name, "must map header names to single lines")


def _is_header(name: object, text: object) -> bool:
    parts = (name, text)
    return all(isinstance(part, str) and part.isprintable() and part.isascii() for part in parts) and bool(name)


def _member(choices: type[_Choice], field: str, value: str) -> _Choice:
    try:
        return choices(value)
    except ValueError:
        known = ", ".join(choices)
        raise FaultError(field, f"must be one of {known}") from None


@dataclass(frozen=True, slots=True)
class Decision:
    """What shall happen to one request."""

    fault: Fault | None = None
    """The one that takes the request over; None for an honest answer."""
    delay: float = 0.0
    """Seconds to wait before the answer."""


class FaultBoard:
    """The faults that are set. The same *seed* and requests give the same decisions."""

    def __init__(self, seed: int = 0) -> None:
        self._dice = random.Random(seed)  # noqa: S311 — faults need repeatable dice, not secret ones
        self._faults: dict[ProviderName, list[Fault]] = {provider: [] for provider in ProviderName}

    def of(self, provider: ProviderName) -> Sequence[Fault]:
        """Return the faults that are set, in the order in which they are tried."""
        return tuple(self._faults[provider])

    def refuses(self, provider: ProviderName) -> bool:
        """Whether the provider's port is to be closed."""
        return any(fault.kind is FaultKind.REFUSE for fault in self._faults[provider])

    def add(self, provider: ProviderName, fault: Fault) -> None:
        """Set *fault*; it replaces one of the same kind for the same traffic."""
        kept = [each for each in self._faults[provider] if (each.kind, each.only) != (fault.kind, fault.only)]
        self._faults[provider] = [*kept, fault]

    def replace(self, provider: ProviderName, faults: Iterable[Fault]) -> None:
        """Set exactly *faults*."""
        self._faults[provider] = []
        for fault in faults:
            self.add(provider, fault)

    def clear(self, provider: ProviderName, kind: FaultKind | None = None) -> None:
        """Take away all faults, or those of one kind."""
        kept = [fault for fault in self._faults[provider] if kind is not None and fault.kind is not kind]
        self._faults[provider] = kept

    def decide(self, provider: ProviderName, traffic: Traffic) -> Decision:
        """Decide about the next request. Delays add up; of the other faults the first that hits takes it over."""
        delay = 0.0
        for fault in self.of(provider):
            if fault.only not in (None, traffic) or self._dice.random() >= fault.rate:
                continue
            self._spend(provider, fault)
            if fault.kind is not FaultKind.SLOW:
                return Decision(fault, delay)
            delay += fault.seconds or 0.0
        return Decision(None, delay)

    def _spend(self, provider: ProviderName, fault: Fault) -> None:
        if fault.count is None:
            return
        faults = self._faults[provider]
        place = next(index for index, each in enumerate(faults) if each is fault)
        if fault.count == 1:
            del faults[place]
        else:
            faults[place] = replace(fault, count=fault.count - 1)
