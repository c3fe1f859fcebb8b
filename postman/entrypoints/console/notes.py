"""Notes: what a post did, told on the page that comes next. They travel in a cookie, since instances share nothing."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

import orjson
from aiohttp import web

__all__ = ["drop_note", "leave_note", "note_of"]

_COOKIE: Final = "postman-console-note"
_LASTS: Final = 60
_LONGEST: Final = 1_000
_TONES: Final = frozenset({"good", "note", "warn", "bad"})


def leave_note(answer: web.StreamResponse, text: str, tone: str = "good") -> None:
    """Let the next page say *text*; without addresses. *tone* is `good`, `note`, `warn` or `bad`."""
    packed = urlsafe_b64encode(orjson.dumps([tone, text[:_LONGEST]])).decode()
    answer.set_cookie(_COOKIE, packed, max_age=_LASTS, path="/", httponly=True, samesite="Strict")


def note_of(request: web.Request) -> tuple[str, str]:
    """Return the note that was left, and its tone; empty for none, or for what is none of ours."""
    try:
        tone, text = orjson.loads(urlsafe_b64decode(request.cookies.get(_COOKIE, "")))
    except (ValueError, TypeError):
        return "", "note"
    is_ours = isinstance(text, str) and isinstance(tone, str) and tone in _TONES
    return (text[:_LONGEST], tone) if is_ours else ("", "note")


def drop_note(request: web.Request, answer: web.StreamResponse) -> None:
    """Let it be shown once only."""
    if _COOKIE in request.cookies:
        answer.del_cookie(_COOKIE, path="/")
