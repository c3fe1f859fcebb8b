"""A circuit breaker that stands alone: standard library only, for any caller."""

from postman.breaker.breaker import CircuitBreaker
from postman.breaker.events import Event, EventKind
from postman.breaker.permit import Permit, RejectedError
from postman.breaker.probing import ProbeStats, ShouldProbe, after, all_of, always, any_of, chance, every
from postman.breaker.rules import Recovery, Trip
from postman.breaker.states import State, Trigger
from postman.breaker.verdicts import (
    SUCCESS,
    Classify,
    ClassifyResult,
    Fault,
    LastFailure,
    Verdict,
    any_error,
    by_type,
)
from postman.breaker.view import View

__all__ = [
    "SUCCESS",
    "CircuitBreaker",
    "Classify",
    "ClassifyResult",
    "Event",
    "EventKind",
    "Fault",
    "LastFailure",
    "Permit",
    "ProbeStats",
    "Recovery",
    "RejectedError",
    "ShouldProbe",
    "State",
    "Trigger",
    "Trip",
    "Verdict",
    "View",
    "after",
    "all_of",
    "always",
    "any_error",
    "any_of",
    "by_type",
    "chance",
    "every",
]
