"""`POST /v1/mails` and `GET /v1/mails/{id}`."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Final

import structlog
from aiohttp import web

from postman.core.ids import check_mail_id
from postman.core.mail import Mail
from postman.entrypoints.documents import entry_document
from postman.entrypoints.serve.answers import Refusal, field_errors, json_answer
from postman.entrypoints.serve.batch import read_mails
from postman.entrypoints.serve.intake import read_body
from postman.entrypoints.serve.parts import PARTS, Parts
from postman.errors import InvalidMailError, LedgerUnavailableError, QueueUnavailableError

__all__ = ["publish_mails", "show_mail"]

_LOG = structlog.get_logger("postman.serve")

_LIMIT: Final = 16 * 1024 * 1024
_COME_AGAIN: Final = 10.0
_TRACE: Final = re.compile(r"[0-9a-f]{2}(?:-[0-9a-f]+){3}")


async def publish_mails(request: web.Request) -> web.Response:
    """Answer with 202 when the queue has all of them; one that is wrong keeps all from being published."""
    parts = request.app[PARTS]
    parts.access.check(request)
    if request.content_type != "application/json" or (request.charset or "utf-8").lower() != "utf-8":
        raise Refusal(415, "must be application/json, in UTF-8")
    with parts.mail_places.body() as arrived:
        body = await read_body(request, _LIMIT, within=parts.body_within, arrived=arrived)
        with parts.mail_places.one():
            mails = await asyncio.to_thread(read_mails, body, parts.clock.time())
            del body
            failures = await _publish_all(parts, mails, _trace_of(request))
    lines = [{"id": mail.id, "shard": parts.shard_of(mail.id, mail.tenant or "")} for mail in mails]
    if failures:
        _LOG.warning(
            "mails_not_published", mails=len(mails), failed=len(failures), reason=str(next(iter(failures.values())))
        )
        raise _not_published(lines, failures)
    _LOG.info("mails_published", mails=len(mails))
    return json_answer(lines, 202)


async def show_mail(request: web.Request) -> web.Response:
    """Answer with the same document as `postman show --json`."""
    parts = request.app[PARTS]
    parts.access.check(request)
    try:
        mail_id = check_mail_id(request.match_info["mail_id"])
        entry = await parts.ledger.find(mail_id)
    except InvalidMailError as error:
        raise Refusal(422, str(error), fields=field_errors([(error.field, error.problem)])) from None
    except LedgerUnavailableError:
        raise Refusal(503, "the ledger is away", retry_after=_COME_AGAIN) from None
    if entry is None:
        raise Refusal(404, "the ledger does not know this mail (not published, or not yet pulled by a worker)")
    return json_answer(entry_document(mail_id, entry))


async def _publish_all(parts: Parts, mails: Sequence[Mail], trace: Mapping[str, str]) -> Mapping[str, BaseException]:
    """Return why each mail that the queue may not have failed."""
    results = await asyncio.gather(*(parts.publish(mail, trace) for mail in mails), return_exceptions=True)
    failures: dict[str, BaseException] = {}
    for mail, result in zip(mails, results, strict=True):
        if isinstance(result, QueueUnavailableError):
            failures[mail.id] = result
        elif isinstance(result, BaseException):
            raise result
    return failures


def _not_published(lines: Sequence[Mapping[str, object]], failures: Mapping[str, object]) -> Refusal:
    """Name every id, also those made here: who publishes the same ids again publishes nothing twice."""
    mails = [{**line, "published": line["id"] not in failures} for line in lines]
    detail = f"the queue is away: {len(failures)} of {len(mails)} mails may not have been published"
    return Refusal(503, f"{detail}; publish the same ids again", retry_after=_COME_AGAIN, fields={"mails": mails})


def _trace_of(request: web.Request) -> Mapping[str, str]:
    parent = request.headers.get("traceparent", "")
    return {"traceparent": parent} if _TRACE.fullmatch(parent) else {}
