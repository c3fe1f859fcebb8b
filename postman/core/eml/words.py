"""RFC 2047: what the encoded words of a header say.

Neighbouring words of one charset are joined before they are decoded, since
senders cut multi-byte characters in two. A word that cannot be decoded stays as
it is: the reader's own program may know better.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Final

from postman.core.text import word_bytes

__all__ = ["decode_charset", "decode_words", "readable"]

_WORD: Final = re.compile(r"=\?([^?\s]+)\?([bBqQ])\?(.*?)\?=")
_FOLD: Final = re.compile(r"[\t ]*(?:\r\n|\n|\r)[\t ]*|\t")

_SUPERSETS: Final[Mapping[str, str]] = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949",
    "iso-2022-jp": "iso2022_jp_ext",
    "iso-8859-9": "cp1254",
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "": "utf-8",
}
"""What senders mean who use characters beyond the charset that they name."""


def decode_charset(data: bytes, charset: str) -> str:
    """Return *data* as text; `ValueError` where *charset* is not known or does not fit."""
    name = charset.lower()
    for codec in (name or "ascii", _SUPERSETS.get(name, "utf-8")):
        try:
            return data.decode(codec)
        except (LookupError, ValueError):
            continue
    # The codec's own error would hold all the bytes.
    raise ValueError("cannot be read in the charset that it names")


def readable(raw: str) -> str:
    """Return a header's value on one line, its bytes beyond ASCII (as surrogate escapes) read as UTF-8 or Latin-1."""
    line = _FOLD.sub(" ", raw)
    if line.isascii():
        return line
    data = line.encode("utf-8", "surrogateescape")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def decode_words(text: str) -> str:
    """Return *text* with its encoded words decoded, and the spaces between two of them gone."""
    if "=?" not in text:
        return text
    return "".join(_pieces(text))


def _pieces(text: str) -> Iterator[str]:
    end = 0
    for run in _runs(text):
        yield text[end : run[0].start()]
        for _, words in groupby(run, key=lambda word: word[1].lower()):
            yield _decoded(list(words))
        end = run[-1].end()
    yield text[end:]


def _runs(text: str) -> Iterator[list[re.Match[str]]]:
    run: list[re.Match[str]] = []
    for word in _WORD.finditer(text):
        if run and text[run[-1].end() : word.start()].strip(" "):
            yield run
            run = []
        run.append(word)
    if run:
        yield run


def _decoded(words: list[re.Match[str]]) -> str:
    charset = words[0][1].partition("*")[0]
    try:
        return decode_charset(b"".join(word_bytes(word[2], word[3]) for word in words), charset)
    except ValueError:
        return " ".join(word[0] for word in words)
