"""Answers: JSON, and problems as RFC 9457 has them. Neither ever holds an address, a key or a body."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import orjson
from aiohttp import web

__all__ = ["Refusal", "field_errors", "json_answer", "problem_answer"]


class Refusal(Exception):  # noqa: N818 — an answer, not a fault
    """Ends a request with a problem; *detail* is for people, *fields* are further members of the document."""

    def __init__(
        self, status: int, detail: str, *, retry_after: float | None = None, fields: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        self.fields = fields or {}


def json_answer(document: object, status: int = 200) -> web.Response:
    """Return *document* as JSON that nobody keeps."""
    return _answer(document, status, "application/json", {})


def problem_answer(refusal: Refusal) -> web.Response:
    """Return the answer that *refusal* stands for."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": refusal.detail,
        **refusal.fields,
    }
    headers = {}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(refusal.retry_after)))
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return _answer(document, refusal.status, "application/problem+json", headers)


def _answer(document: object, status: int, content_type: str, headers: Mapping[str, str]) -> web.Response:
    body = orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
    fixed = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "postman"}
    return web.Response(status=status, body=body, content_type=content_type, headers={**fixed, **headers})


def field_errors(errors: Sequence[tuple[str, str]]) -> Mapping[str, object]:
    """Return the member that names what is wrong, field by field."""
    return {"errors": [{"field": field, "problem": problem} for field, problem in errors]}
