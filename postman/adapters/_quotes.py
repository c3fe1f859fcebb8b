"""What a provider quotes of a mail that it refuses, taken out of its words before they are kept anywhere."""

import re
from collections.abc import Iterator
from typing import Final

from postman.core.mail import Mail

__all__ = ["without_quotes"]

_SHORTEST: Final = 4
"""Characters of a value that is looked for: shorter ones stand in any sentence."""
_RUN: Final = 24
"""Characters in a row that a provider's words and a mail's text share: then it is a quotation."""
_SEARCHED: Final = 100_000
"""Characters of a text that are looked through, for the 200 of the provider's words: within a few milliseconds."""


def without_quotes(said: str, mail: Mail) -> str:
    """Return a provider's words without values and passages of *mail*; a field's name stands where one was."""
    for name, value in _values(mail):
        told = _on_one_line(value)
        if len(told) >= _SHORTEST:
            said = re.sub(rf"(?<!\w){re.escape(told)}(?!\w)", f"[{name}]", said, flags=re.IGNORECASE)
    for name, text in (("text", mail.text), ("html", mail.html)):
        said = _without_passages(said, _on_one_line(text[:_SEARCHED]), f"[{name}]")
    return said


def _values(mail: Mail) -> Iterator[tuple[str, str]]:
    """Yield what is a person's or a business's in *mail*, the longest of each kind first."""
    yield "subject", mail.subject
    yield "text", mail.text[:_SEARCHED]
    yield "html", mail.html[:_SEARCHED]
    for part in (mail.from_, *mail.recipients, *mail.reply_to):
        yield "name", part.name or ""
        yield "address", part.email.partition("@")[0]
    for value in mail.headers.values():
        yield "header", value
    for value in mail.metadata.values():
        yield "metadata", value
    for attachment in mail.attachments:
        yield "attachment", attachment.filename


def _without_passages(said: str, text: str, instead: str) -> str:
    begin = 0
    while begin + _RUN <= len(said):
        if said[begin : begin + _RUN] in text:
            end = begin + _RUN
            while end < len(said) and said[begin : end + 1] in text:
                end += 1
            said = f"{said[:begin]}{instead}{said[end:]}"
            begin += len(instead)
        else:
            begin += 1
    return said


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
