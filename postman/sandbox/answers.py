"""What a provider says to one request, apart from HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from postman.sandbox.mails import Draft

__all__ = ["JSON", "Accepted", "Answer", "json_answer", "text_answer"]

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request that the provider takes: what it answers, and the mails it holds."""

    answer: Answer
    drafts: tuple[Draft, ...]


def json_answer(status: int, document: object, headers: Mapping[str, str] | None = None) -> Answer:
    """Return *document* as a JSON answer."""
    return Answer(status, orjson.dumps(document), JSON, headers or {})


def text_answer(status: int, text: str, content_type: str = "text/plain") -> Answer:
    """Return *text* as an answer."""
    return Answer(status, text.encode(), content_type)
