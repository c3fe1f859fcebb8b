"""Whose fault a provider's answer is, and how far it reaches: a table.

The breaker is told of the provider alone. A refused mail is an answer of a
provider that works. A refused route (this sender, this feature) says nothing of
the other mails. A key that is not accepted, or a quota that is used up, concerns
every mail of the account. Only `OutcomeUnknownError` leaves open whether the
mail was sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from postman.breaker import Fault, Verdict
from postman.errors import (
    CredentialsError,
    MailRejectedError,
    OutcomeUnknownError,
    ProviderDownError,
    ProviderError,
    ProviderUnreachableError,
    QuotaExceededError,
    RouteRefusedError,
    ThrottledError,
)

__all__ = ["FAULTS", "Meaning", "Scope", "meaning_of", "verdict_on"]

_UNNAMED_PAUSE: Final = 5.0


class Scope(StrEnum):
    """What else would fare as this mail did."""

    MESSAGE = "message"
    """This mail at any provider: it is refused."""
    ROUTE = "route"
    """This mail at this provider: another may take it."""
    ACCOUNT = "account"
    """Every mail at this account: a human is needed."""
    PROVIDER = "provider"
    """Every mail at this provider, for a while."""
    WORKER = "worker"
    """Perhaps every mail of this worker, wherever it goes: nobody could be reached."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row of the table."""

    scope: Scope
    fault: Fault
    """For the breaker."""
    is_congestion: bool = False
    """Whether fewer mails in flight may help."""
    may_be_sent: bool = False


FAULTS: Final[Mapping[type[ProviderError], Meaning]] = MappingProxyType(
    {
        MailRejectedError: Meaning(Scope.MESSAGE, Fault.NONE),
        RouteRefusedError: Meaning(Scope.ROUTE, Fault.CALL),
        CredentialsError: Meaning(Scope.ACCOUNT, Fault.ACCOUNT),
        QuotaExceededError: Meaning(Scope.ACCOUNT, Fault.ACCOUNT),
        ThrottledError: Meaning(Scope.PROVIDER, Fault.THROTTLED, is_congestion=True),
        ProviderDownError: Meaning(Scope.PROVIDER, Fault.SERVICE),
        ProviderUnreachableError: Meaning(Scope.WORKER, Fault.SERVICE),
        OutcomeUnknownError: Meaning(Scope.PROVIDER, Fault.SERVICE, is_congestion=True, may_be_sent=True),
    }
)

_UNKNOWN: Final = FAULTS[OutcomeUnknownError]
"""The safest reading of an error that is not in the table: it counts against the provider and is not sent again."""


def meaning_of(error: ProviderError) -> Meaning:
    """Return the row of the error's class, or of the nearest of its base classes."""
    return next((FAULTS[cls] for cls in type(error).__mro__ if cls in FAULTS), _UNKNOWN)


def verdict_on(error: ProviderError) -> Verdict:
    """Return what the breaker is told."""
    fault = meaning_of(error).fault
    if fault is Fault.THROTTLED:
        return Verdict(fault, error.retry_after or _UNNAMED_PAUSE)
    return Verdict(fault, error.retry_after)
