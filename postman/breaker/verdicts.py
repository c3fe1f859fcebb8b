"""What the end of a call says of the service, and who decides that.

A breaker counts what a *classifier* makes of an exception, not the exception: a
call that was cancelled, or that was wrong in itself, is no evidence of the
service at all, for or against it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

__all__ = [
    "SUCCESS",
    "Classify",
    "ClassifyResult",
    "Fault",
    "LastFailure",
    "Verdict",
    "any_error",
    "by_type",
]


class Fault(StrEnum):
    """Whose fault the end of a call was."""

    NONE = "none"
    """The service did its work."""
    CALL = "call"
    """This call was wrong in itself: no evidence."""
    SERVICE = "service"
    """The service failed: counted against it."""
    THROTTLED = "throttled"
    """The service asks for less: no failure, but no call goes through for a while."""
    ACCOUNT = "account"
    """The service refuses our key, or our quota is used up: open at once, for long."""
    LOCAL = "local"
    """This side failed (no network, no memory, our own mistake): no evidence."""
    CANCELLED = "cancelled"
    """The caller gave up: no evidence."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one call said of the service."""

    fault: Fault
    retry_after: float | None = None
    """Seconds during which the service asked not to be called."""


SUCCESS: Final = Verdict(Fault.NONE)

Classify = Callable[[Exception], Verdict]
"""From an exception to a verdict. Pure, quick; where it raises, the fault is taken to be the service's."""

ClassifyResult = Callable[[Any], Verdict]
"""The same for what a call returned, where a service reports its failures in its answers."""


def any_error(_: Exception) -> Verdict:
    """Count every exception against the service. The default."""
    return Verdict(Fault.SERVICE)


def by_type(table: Mapping[type[Exception], Fault], *, otherwise: Fault = Fault.SERVICE) -> Classify:
    """Return a classifier that looks an exception's class up, then its base classes; the nearest wins."""
    faults = dict(table)

    def classify(error: Exception) -> Verdict:
        return Verdict(next((faults[cls] for cls in type(error).__mro__ if cls in faults), otherwise))

    return classify


@dataclass(frozen=True, slots=True)
class LastFailure:
    """The last failure in words: the exception itself would keep alive all that its frames refer to."""

    type: str
    """The exception's class; empty where a result was the failure."""
    text: str
    """What the exception said of itself, at the most 200 characters."""
    fault: Fault

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.type, self.text))) or str(self.fault)
