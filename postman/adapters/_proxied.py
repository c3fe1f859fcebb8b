"""Sending through the observing proxy: what its answers mean.

An answer that the proxy did not mark may be of anything that stands in between,
as a load balancer: whether the mail was sent is not known then. That nobody
answers at the proxy's address says nothing against a provider.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import httpx

from postman.adapters._http import HttpClient, Reply
from postman.core.mail import Mail
from postman.errors import (
    ClaimLostError,
    OutcomeUnknownError,
    ProviderDownError,
    ProviderError,
    ProviderUnreachableError,
    RouteRefusedError,
)
from postman.ports.observing import MAIL_ID, OUTCOME, PATIENCE, Outcome

__all__ = ["is_recorded", "send_through"]

_FAILURES: Final[Mapping[str, tuple[type[ProviderError], str]]] = {
    Outcome.DOWN: (ProviderDownError, "the proxy could not reach it"),
    Outcome.UNREACHABLE: (ProviderUnreachableError, "the proxy could not reach it"),
    Outcome.UNAVAILABLE: (ProviderUnreachableError, "the proxy cannot pass mails on now"),
    Outcome.UNKNOWN: (OutcomeUnknownError, "the proxy got no whole answer"),
    Outcome.REFUSED: (ProviderDownError, "the proxy does not pass this on"),
}


async def send_through(http: HttpClient, request: httpx.Request, mail: Mail, *, provider: str, timeout: float) -> Reply:
    """Make *request*, which sends *mail*, by way of the proxy; return the provider's own answer.

    Raises as `HttpClient.exchange` does, and `ClaimLostError` where the ledger has moved on.
    """
    request.headers[MAIL_ID] = quote(mail.id, safe="")
    request.headers[PATIENCE] = f"{timeout:.3f}"
    try:
        reply = await http.exchange(request, timeout=timeout)
    except ProviderDownError as error:
        raise ProviderUnreachableError(f"its proxy: {error.problem}", provider=provider) from None
    outcome = reply.headers.get(OUTCOME, "")
    if outcome in (Outcome.RECORDED, Outcome.ANSWERED):
        return reply
    if outcome == Outcome.OUTDATED:
        raise ClaimLostError(f"{provider}: by the ledger, the mail is not to be sent there now")
    raise _failure(outcome, reply.status, provider)


def is_recorded(reply: Reply) -> bool:
    """Whether the proxy, whose *reply* this is, has told the ledger of the acceptance."""
    return reply.headers.get(OUTCOME) == Outcome.RECORDED


def _failure(outcome: str, status: int, provider: str) -> ProviderError:
    if outcome == Outcome.REFUSED and status == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
        return RouteRefusedError("the mail is too large for its proxy", provider=provider, status=status)
    error, problem = _FAILURES.get(outcome, (OutcomeUnknownError, "something in front of its proxy answered"))
    return error(f"{problem} ({status})", provider=provider, status=status)
