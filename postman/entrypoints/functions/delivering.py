"""`deliver`: a push subscription's messages, dealt with as a worker does; the answer tells what to do next.

| what became of it | answer |
|---|---|
| sent, sent before, dead-lettered | 204: the message is done |
| to be given back | 503 with `Retry-After`: it comes again |
| no place is free | 429: it comes again, perhaps to another process |
| no token, or a forged one | 401 |
| the token of another account | 403 |
| no envelope | 400 |

Pub/Sub sends again whatever is not answered with success, so none of these
loses a mail. What is no envelope is not dead-lettered: it cannot have come from
a subscription that is set up as it should be, and lies there safely until it is.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import Response

from postman.core.verdict import Ack, GiveBack
from postman.entrypoints.functions.bridge import as_served
from postman.entrypoints.functions.envelope import ENVELOPE_LIMIT, EnvelopeError, read_envelope
from postman.entrypoints.functions.settings import FunctionSettings
from postman.entrypoints.serve.answers import Refusal
from postman.entrypoints.serve.intake import Places, read_body
from postman.ports.clock import Clock
from postman.ports.tokens import Standing, TokenJudge
from postman.runtime.pushworker import Busy, PushWorker
from postman.wiring import system_clock
from postman.wiring.pushing import open_push_worker, open_token_judge

__all__ = ["Desk", "opened_desk", "take_push"]

_LOG = structlog.get_logger("postman.functions")

_SCHEME: Final = "bearer "
_TAKEN_OUT: Final = ".SIGNATURE_REMOVED_BY_GOOGLE"
"""What Cloud Run puts in place of the signature where it checked the token itself."""
_CHECKED_BEFORE: Final = "Cloud Run took the signature out: let everybody invoke the service, deliver checks the token"
_BODY_WITHIN: Final = 10.0
_QUIET: Final = 1.0
_COME_AGAIN: Final = 5.0


@dataclass(slots=True)
class Desk:
    """Where pushes are taken."""

    worker: PushWorker
    judge: TokenJudge
    clock: Clock
    places: Places
    """These bound the bytes of all bodies; of the mails themselves the worker has its own."""
    prefix: str
    ack_deadline: float
    refused: int = 0
    """How many pushes were refused that the log was not told of yet."""
    tell_again_at: float = field(default=0.0)


@asynccontextmanager
async def opened_desk(settings: FunctionSettings) -> AsyncIterator[Desk]:
    """Open what pushes need, and close it after the worker has drained."""
    chosen, clock = settings.chosen, system_clock()
    judge = open_token_judge(settings.pushers, clock=clock)
    worker, close = await open_push_worker(chosen, os.environ)
    running = asyncio.create_task(worker.run())
    places = Places(chosen.concurrency, chosen.memory)
    try:
        yield Desk(worker, judge, clock, places, chosen.prefix, chosen.ack_deadline)
    finally:
        worker.stop()
        await running
        await close()
        await judge.aclose()


async def take_push(request: Request, desk: Desk) -> Response:
    """Answer when it is known what becomes of the message, before Pub/Sub stops waiting. Raises `Refusal`."""
    lease_ends = desk.clock.now() + desk.ack_deadline
    await _check(desk, request.headers.getlist("Authorization"))
    with desk.places.body() as arrived:
        body = await read_body(as_served(request), ENVELOPE_LIMIT, within=_BODY_WITHIN, arrived=arrived)
        try:
            pushed = read_envelope(body, prefix=desk.prefix, lease_ends=lease_ends, now=desk.clock.time())
        except EnvelopeError as error:
            _LOG.error("push_not_read", reason=str(error))
            raise Refusal(400, f"no push of Pub/Sub's: {error}") from None
        del body
        return _answer(await desk.worker.deal_with(pushed))


def _answer(told: Ack | GiveBack | Busy) -> Response:
    match told:
        case Ack():
            return Response(status_code=204)
        case GiveBack(delay):
            raise Refusal(503, "not done yet: send it again", retry_after=delay)
        case Busy(delay):
            raise Refusal(429, "all places are taken: send it again", retry_after=delay)


async def _check(desk: Desk, given: Sequence[str]) -> None:
    """Raise `Refusal` where the push is not proven to be our subscription's; nothing of it was read by then."""
    text = given[0] if len(given) == 1 else ""
    token = text[len(_SCHEME) :].strip() if text.lower().startswith(_SCHEME) else ""
    match standing := await desk.judge.judge(token):
        case Standing.PROVEN:
            return
        case Standing.UNKNOWN:
            raise Refusal(503, "the keys that tokens are signed with are out of reach", retry_after=_COME_AGAIN)
        case Standing.FORGED:
            status, detail = 401, "the token is missing, forged, or not for this"
        case Standing.STRANGER:
            status, detail = 403, "the token is another account's"
    _tell_refused(desk, standing, _CHECKED_BEFORE if token.endswith(_TAKEN_OUT) else "")
    raise Refusal(status, detail)


def _tell_refused(desk: Desk, standing: Standing, reason: str) -> None:
    """Log now and then, not for each of a flood."""
    desk.refused += 1
    now = desk.clock.now()
    if now >= desk.tell_again_at:
        _LOG.warning("push_refused", standing=str(standing), count=desk.refused, reason=reason)
        desk.refused, desk.tell_again_at = 0, now + _QUIET
