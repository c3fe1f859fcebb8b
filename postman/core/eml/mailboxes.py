"""The address lists of a mail file, read so that no two readers can differ.

Crafted lists make one parser see one recipient and the next another. So this
reads only the plain forms, `Name <a@b>`, `a@b` and `a@b (Name)`, and refuses
all that is ambiguous; every address then passes the strict check of `Address`.
"""

import re
from collections.abc import Iterator
from typing import Final

from postman.core.eml.words import decode_words
from postman.core.mail import Address
from postman.errors import InvalidMailError

__all__ = ["read_mailboxes"]

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<quoted>"(?:[^"\\]|\\.)*")
      | (?P<comment>\((?:[^()\\]|\\.|\((?:[^()\\]|\\.)*\))*\))
      | (?P<angle><[^<>"(),]*>)
      | (?P<word>=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?=(?=[\s<",]|$))
      | (?P<comma>,)
      | (?P<atom>[^\s"(),:;<>\[\]\\]+)
    )\s*""",
    re.VERBOSE,
)
_NOBODY: Final = re.compile(r"[\w .-]*:\s*;?\s*")
_ESCAPED: Final = re.compile(r"\\(.)")

_Token = tuple[str, str]


def read_mailboxes(header: str, value: str) -> tuple[Address, ...]:
    """Return the addresses in *value* of *header*; `InvalidMailError` names the header and the address's place."""
    if not value.strip() or _NOBODY.fullmatch(value.strip()):
        return ()
    return tuple(_address(f"{header}[{index}]", tokens) for index, tokens in enumerate(_split(header, value)))


def _split(header: str, value: str) -> Iterator[list[_Token]]:
    tokens: list[_Token] = []
    for kind, text in _tokens(header, value):
        if kind != "comma":
            tokens.append((kind, text))
        elif tokens:
            yield tokens
            tokens = []
    if tokens:
        yield tokens


def _tokens(header: str, value: str) -> Iterator[_Token]:
    position = 0
    while position < len(value):
        token = _TOKEN.match(value, position)
        if token is None or token.lastgroup is None:
            raise InvalidMailError(header, _unreadable(value[position:].lstrip()[:1]))
        yield token.lastgroup, token[token.lastgroup]
        position = token.end()


def _unreadable(character: str) -> str:
    if character in ":;":
        return "has a group of addresses, or a : or ; that is not in quotes"
    return "cannot be read without doubt: quotes, brackets or parentheses that do not match or do not belong there"


def _address(place: str, tokens: list[_Token]) -> Address:
    comments = [text for kind, text in tokens if kind == "comment"]
    rest = [(kind, text) for kind, text in tokens if kind != "comment"]
    match rest:
        case [("atom", email)]:
            name = _unescaped(comments[0]) if len(comments) == 1 else ""
        case [*words, ("angle", angle)] if all(kind != "angle" for kind, _ in words):
            email = angle[1:-1].strip()
            name = " ".join(_name_word(place, kind, text, email) for kind, text in words)
        case _:
            raise InvalidMailError(place, "is not of the form Name <address> or address")
    return _made(place, email, decode_words(name).strip())


def _name_word(place: str, kind: str, text: str, email: str) -> str:
    if kind == "quoted":
        return _unescaped(text)
    if kind == "atom" and "@" in text and text.lower() != email.lower():
        raise InvalidMailError(place, "has an address in front of another one: put the name in quotes")
    return text


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(r"\1", text[1:-1])


def _made(place: str, email: str, name: str) -> Address:
    try:
        return Address(email=email, name=name or None)
    except InvalidMailError as error:
        raise InvalidMailError(f"{place}.{error.field}", error.problem) from error
