"""Look-ups: a question to a provider, whose failure says nothing about a mail."""

from collections.abc import Sequence
from typing import Final

import httpx

from postman.adapters._http import HttpClient
from postman.adapters._outcomes import Rule, Wait, judge, rate_limit_reset, retry_after_header, try_again_after
from postman.errors import OutcomeUnknownError, ProviderError, ThrottledError

__all__ = ["LOOK_UP_TIMEOUT", "ask"]

LOOK_UP_TIMEOUT: Final = 5.0

_RULES: Final = (
    Rule((420, 429), ThrottledError, "asked too often"),
    Rule((401, 403), ProviderError, "its key may not ask"),
    Rule(range(1_000), ProviderError, "could not be asked"),
)
_WAITS: Final[Sequence[Wait]] = (retry_after_header, rate_limit_reset, try_again_after)


async def ask(http: HttpClient, request: httpx.Request, *, provider: str, now: float) -> dict[str, object]:
    """Return the document that answers *request*; raise `ProviderError`, never `OutcomeUnknownError`, if none does."""
    try:
        reply = await http.exchange(request, timeout=LOOK_UP_TIMEOUT)
    except OutcomeUnknownError as error:
        raise ProviderError(f"could not be asked: {error.problem}", provider=provider) from error
    document = reply.document()
    if reply.status != httpx.codes.OK or document is None:
        raise judge(_RULES, reply, "", provider=provider, waits=_WAITS, now=now)
    return document
