"""`POST /v1/events/{provider}`: a provider's events.

A forged post is answered with 401 at every provider, and always with the same
words. Mailgun would stop repeating at 406; but a post that is not verified may
be a genuine one while our key is wrong, and then its repetitions, for hours,
are what saves the events. Whoever forges is not held up by either.
"""

from typing import Final

import structlog
from aiohttp import web

from postman.entrypoints.serve.answers import Refusal, json_answer
from postman.entrypoints.serve.intake import read_body
from postman.entrypoints.serve.parts import PARTS
from postman.errors import ForgedEventError, LedgerUnavailableError

__all__ = ["take_events"]

_LOG = structlog.get_logger("postman.serve")

_COME_AGAIN: Final = 10.0


async def take_events(request: web.Request) -> web.Response:
    """Answer when the events are noted: what was answered with 200 is not lost by a crash."""
    parts, provider = request.app[PARTS], request.match_info["provider"]
    if provider not in parts.receiver.providers:
        raise Refusal(404, "there is no provider of this name whose events could be verified here")
    limit = parts.receiver.body_limit(provider)
    with parts.event_places.body() as arrived:
        body = await read_body(request, limit, within=parts.body_within, arrived=arrived)
        try:
            with parts.event_places.one():
                outcome = await parts.receiver.receive(provider, request.headers, body)
        except ForgedEventError:
            raise Refusal(401, "the post is not proven to be the provider's") from None
        except LedgerUnavailableError as error:
            _LOG.warning("event_post_put_off", provider=provider, reason=str(error))
            raise Refusal(503, "the ledger is away", retry_after=_COME_AGAIN) from None
    return json_answer(
        {
            "noted": outcome.noted,
            "unknown": outcome.unknown,
            "unread": outcome.unread,
            "repeated": outcome.repeated,
        }
    )
