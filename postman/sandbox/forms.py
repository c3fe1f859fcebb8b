"""Reads the two kinds of form that Mailgun takes, from bytes at hand.

A request's body is whole when it gets here, so no stream is needed and a form is taken apart by its boundary.
"""

import re
from dataclasses import dataclass
from email.message import Message
from urllib.parse import parse_qsl

__all__ = ["Field", "FormError", "read_form"]

_URLENCODED = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
_DISPOSITION = re.compile(rb"content-disposition:[ \t]*form-data\b(.*)", re.IGNORECASE)
_CONTENT_TYPE = re.compile(rb"content-type:[ \t]*(.*)", re.IGNORECASE)
_NAME = re.compile(rb';[ \t]*name=(?:"([^"]*)"|([^;\s]+))', re.IGNORECASE)
_FILENAME = re.compile(rb';[ \t]*filename=(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))', re.IGNORECASE)


class FormError(ValueError):
    """The bytes are not the form that the content type promises."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field; a file where *filename* is not None."""

    name: str
    content: bytes
    filename: str | None = None
    content_type: str = ""

    @property
    def text(self) -> str:
        """Its content as UTF-8; bytes that are none show as replacement characters."""
        return self.content.decode("utf-8", "replace")


def read_form(content_type: str, body: bytes) -> list[Field]:
    """Return the fields of *body* in their order; raise `FormError` if it is malformed or of another type."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == _URLENCODED:
        return _read_urlencoded(body)
    if kind == _MULTIPART:
        return _read_multipart(_boundary(content_type), body)
    raise FormError(f"neither {_MULTIPART} nor {_URLENCODED}")


def _read_urlencoded(body: bytes) -> list[Field]:
    pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
    return [Field(name, value.encode()) for name, value in pairs]


def _boundary(content_type: str) -> bytes:
    header = Message()
    header["content-type"] = content_type
    boundary = header.get_boundary()
    if not boundary:
        raise FormError("no boundary")
    return boundary.encode()


def _read_multipart(boundary: bytes, body: bytes) -> list[Field]:
    delimiter = b"\r\n--" + boundary
    pieces = (b"\r\n" + body).split(delimiter)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise FormError("no closing boundary")
    return [_read_part(piece) for piece in pieces[1:-1]]


def _read_part(piece: bytes) -> Field:
    head, found, content = piece.partition(b"\r\n\r\n")
    if not found:
        raise FormError("a part without an end of its headers")
    disposition, content_type = b"", b""
    for line in head.split(b"\r\n"):
        if match := _DISPOSITION.match(line):
            disposition = match[1]
        elif match := _CONTENT_TYPE.match(line):
            content_type = match[1]
    name = _parameter(_NAME, disposition)
    if name is None:
        raise FormError("a part without a name")
    return Field(name, content, _parameter(_FILENAME, disposition), content_type.decode("latin-1").strip())


def _parameter(pattern: re.Pattern[bytes], disposition: bytes) -> str | None:
    match = pattern.search(disposition)
    if match is None:
        return None
    raw = match[1] if match[1] is not None else match[2]
    text = raw.decode("utf-8", "replace")
    return text.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n").replace('\\"', '"')
