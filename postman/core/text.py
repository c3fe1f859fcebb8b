"""What may stand in a header, and what would break out of one.

A line break in a subject is how a stranger adds a recipient to somebody's
mail. It also comes disguised: as an RFC 2047 encoded word (`=?utf-8?q?=0D=0A?=`)
that a later program decodes and writes out. So text is looked at as it is, and
again as it would be read after decoding.
"""

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, a2b_qp
from typing import Final

__all__ = ["BIDI", "CONTROLS", "check_body", "check_line", "find_control", "word_bytes"]

CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""C0, DEL, C1 (with NEL), the two Unicode line ends, and halves of surrogate pairs."""

BIDI: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""What reverses the text after it, so that `gpj.exe` reads `exe.jpg`. Plain marks (U+200E, U+200F) are no harm."""

_ENCODED_WORD: Final = re.compile(r"=\?([^?]*)\?\s*([bBqQ])\s*\?(.*?)\?=", re.DOTALL)
_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/]")
_MAX_NESTING: Final = 3


def check_line(text: str) -> None:
    """Raise `ValueError` where *text* cannot stand in one header line."""
    if find_control(text):
        raise ValueError("must not have line breaks or other control characters")
    decoded = text
    for _ in range(_MAX_NESTING):
        if "=?" not in decoded:
            return
        decoded = _ENCODED_WORD.sub(_decoded_word, decoded)
        if find_control(decoded):
            raise ValueError("hides line breaks or other control characters in an encoded word")


def check_body(text: str) -> None:
    """Raise `ValueError` where *text* cannot be the text of a mail."""
    if "\0" in text:
        raise ValueError("must not have NUL characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        # Not chained: the error holds the whole text.
        raise ValueError("has half of a surrogate pair, which is no character") from None


def find_control(text: str) -> bool:
    """Whether *text* has a control character, a line end of any kind or half of a surrogate pair."""
    return CONTROLS.search(text) is not None


def word_bytes(encoding: str, content: str) -> bytes:
    """Return what an encoded word's *content* stands for, reading as leniently as any mail program might."""
    raw = content.encode("utf-8", "replace")
    return _from_base64(raw) if encoding in "bB" else a2b_qp(raw, header=True)


def _decoded_word(word: re.Match[str]) -> str:
    charset, encoding, content = word.groups()
    data = word_bytes(encoding, content)
    try:
        return data.decode(charset.partition("*")[0].strip() or "ascii", "ignore")
    except (LookupError, ValueError):
        return data.decode("latin-1")


def _from_base64(data: bytes) -> bytes:
    letters = _NOT_BASE64.sub(b"", data)
    try:
        return a2b_base64(letters + b"=" * (-len(letters) % 4))
    except Base64Error:
        return a2b_base64(letters[: len(letters) // 4 * 4])
