"""How a provider's refusal becomes an error: tables of rules, and readers of the times that it names.

The first rule that fits decides. An answer that fits none may have been given
by something between us and the provider: its outcome is unknown.
"""

import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

from postman.adapters._http import Reply
from postman.adapters._quotes import without_quotes
from postman.core.mail import Mail
from postman.errors import (
    MailRejectedError,
    OutcomeUnknownError,
    ProviderDownError,
    ProviderError,
    QuotaExceededError,
    RouteRefusedError,
)

__all__ = [
    "USUAL_RULES",
    "Rule",
    "Shape",
    "Wait",
    "judge",
    "presentable",
    "rate_limit_reset",
    "retry_after_header",
    "try_again_after",
]

_SHORTEST_PAUSE = 1.0
_LONGEST_PAUSE = 3_600.0
_LONGEST_QUOTA_PAUSE = 86_400.0
_LONGEST_MESSAGE = 200

_QUOTED_ADDRESS = re.compile(r'"[^"]*"@\S+')
_SIGNS_OF_ADDRESS = ("@", "%40")
_TRY_AGAIN = re.compile(
    r"try again after (?:(?P<seconds>\d{1,9}) ?s(?:ec|econds?)?\b|(?P<date>[^.\"]{10,60}))", re.IGNORECASE
)


class Shape(StrEnum):
    """What the body of an answer is."""

    JSON = "json"
    HTML = "html"
    OTHER = "other"
    """Plain text, or nothing."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of a provider's table."""

    statuses: Container[int]
    error: type[ProviderError]
    problem: str
    says: re.Pattern[str] | None = None
    """Searched for in the provider's message; None fits any."""
    shapes: Container[Shape] = frozenset(Shape)


USUAL_RULES: Final = (
    Rule((400, 422), RouteRefusedError, "refused by something in front of it", shapes=(Shape.HTML,)),
    Rule((400, 422), MailRejectedError, "the mail is refused"),
    Rule((404, 405, 406, 415), ProviderDownError, "wrong address of the API"),
    Rule((413,), RouteRefusedError, "the mail is too large for it"),
    Rule((408,), OutcomeUnknownError, "it did not read the request in time"),
    Rule(range(300, 400), ProviderDownError, "redirects are not followed"),
    Rule(range(400, 500), RouteRefusedError, "the request is refused"),
    Rule((500,), ProviderDownError, "it failed", shapes=(Shape.JSON,)),
    Rule((503,), ProviderDownError, "it is not available", shapes=(Shape.JSON, Shape.OTHER)),
    Rule(range(500, 600), OutcomeUnknownError, "a gateway in front of it failed"),
    Rule(range(200, 300), OutcomeUnknownError, "success in a form that is not its own"),
)
"""What a status means at any provider, where the rows of its own table, which come first, say nothing."""

Wait = Callable[[Reply, str, float], float | None]
"""From a reply, its message and the time (seconds since 1970): how many seconds to wait; None if it does not say."""


def judge(
    rules: Sequence[Rule],
    reply: Reply,
    message: str,
    *,
    provider: str,
    waits: Sequence[Wait],
    now: float,
    mail: Mail | None = None,
) -> ProviderError:
    """Return the error that *reply*, which is no success, stands for; what it quotes of *mail* is left out."""
    shape = _shape(reply)
    rule = next((each for each in rules if _fits(each, reply.status, shape, message)), None)
    error = OutcomeUnknownError if rule is None else rule.error
    problem = f"answered {reply.status}: {rule.problem if rule else 'not an answer it is known to give'}"
    said = presentable(message, mail) if shape is Shape.JSON else ""
    return error(
        f"{problem}: {said}" if said else problem,
        provider=provider,
        status=reply.status,
        retry_after=_pause(error, reply, message, waits, now),
    )


def presentable(message: str, mail: Mail | None = None) -> str:
    """Return a provider's own words for a log: short, on one line, without what looks like an address.

    What they quote of *mail* is left out likewise.
    """
    line = " ".join("".join(each if each.isprintable() else " " for each in message[:2_000]).split())
    words = _QUOTED_ADDRESS.sub("[address]", line).split()
    clean = " ".join("[address]" if any(sign in word for sign in _SIGNS_OF_ADDRESS) else word for word in words)
    clean = without_quotes(clean, mail) if mail else clean
    return clean if len(clean) <= _LONGEST_MESSAGE else f"{clean[:_LONGEST_MESSAGE]}…"


def retry_after_header(reply: Reply, message: str, now: float) -> float | None:  # noqa: ARG001 — the shape of a Wait
    """Read ``Retry-After``, in seconds or as a date."""
    value = reply.headers.get("retry-after", "").strip()
    return float(value) if _is_number(value) else _seconds_until(value, now)


def rate_limit_reset(reply: Reply, message: str, now: float) -> float | None:  # noqa: ARG001 — the shape of a Wait
    """Read ``X-RateLimit-Reset``, in seconds since 1970."""
    value = reply.headers.get("x-ratelimit-reset", "").strip()
    return float(value) - now if _is_number(value) else None


def try_again_after(reply: Reply, message: str, now: float) -> float | None:  # noqa: ARG001 — the shape of a Wait
    """Read "try again after 120 seconds", or after a date, from the message."""
    found = _TRY_AGAIN.search(message)
    if found is None:
        return None
    seconds = found["seconds"]
    return float(seconds) if seconds else _seconds_until(found["date"].strip(), now)


def _shape(reply: Reply) -> Shape:
    if reply.is_html:
        return Shape.HTML
    return Shape.JSON if reply.document() is not None else Shape.OTHER


def _fits(rule: Rule, status: int, shape: Shape, message: str) -> bool:
    return (
        status in rule.statuses
        and shape in rule.shapes
        and (rule.says is None or rule.says.search(message) is not None)
    )


def _pause(error: type[ProviderError], reply: Reply, message: str, waits: Sequence[Wait], now: float) -> float | None:
    named = next((seconds for wait in waits if (seconds := wait(reply, message, now)) is not None), None)
    if named is None or issubclass(error, OutcomeUnknownError):
        return None
    longest = _LONGEST_QUOTA_PAUSE if issubclass(error, QuotaExceededError) else _LONGEST_PAUSE
    return min(max(named, _SHORTEST_PAUSE), longest)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 12


def _seconds_until(text: str, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() - now
