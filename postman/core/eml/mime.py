"""The parts of a mail file: its text, its HTML and its files.

The first inline text and the first inline HTML are the mail's own; everything
else becomes an attachment, so that nothing is lost. Files keep their bytes; the
two texts are re-encoded, since the wire is UTF-8. An attached mail is a file
like any other and is not looked into.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from email import errors
from email.message import Message
from email.parser import BytesParser
from email.policy import Compat32
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import unquote

from postman.core.eml.filenames import safe_filename
from postman.core.eml.words import decode_charset, decode_words, readable
from postman.core.mail import Attachment
from postman.core.parts import is_content_type
from postman.errors import InvalidMailError

__all__ = ["Body", "Letter", "open_letter", "read_body"]

if TYPE_CHECKING:
    _Message = Message[str, str]
else:
    _Message = Message

_HEADER_DEFECTS: Final = (
    errors.FirstHeaderLineIsContinuationDefect,
    errors.MisplacedEnvelopeHeaderDefect,
    errors.MissingHeaderBodySeparatorDefect,
)
_PART_DEFECTS: Final = {
    errors.NoBoundaryInMultipartDefect: "a multipart names no boundary",
    errors.StartBoundaryNotFoundDefect: "a multipart has no parts",
    errors.MultipartInvariantViolationDefect: "a multipart has no parts",
    errors.CloseBoundaryNotFoundDefect: "the closing boundary of a multipart is missing: the file is cut off",
    errors.InvalidMultipartContentTransferEncodingDefect: "a multipart is encoded as a whole",
    errors.InvalidBase64LengthDefect: "the base64 of a part is cut off",
}
_TEXTS: Final = {"text/plain": "text", "text/html": "html"}


class Letter(_Message):
    """A parsed file or one of its parts; attached mails are left as they are."""

    @property
    def kind(self) -> str:
        """The content type in lower case, without its parameters."""
        return super().get_content_type()

    def get_content_type(self) -> str:
        """Return `kind`, but for attached mails one that makes the parser leave them alone."""
        return "application/octet-stream" if self.kind.startswith("message/") else self.kind

    def get_content_maintype(self) -> str:
        """Return what stands before the slash."""
        return self.get_content_type().partition("/")[0]

    def parts(self) -> "list[Letter]":
        """Return the parts of a multipart."""
        return cast("list[Letter]", self.get_payload())

    def content(self) -> bytes:
        """Return the decoded bytes of what is no multipart."""
        return cast("bytes", self.get_payload(decode=True))


class _Reading(Compat32):
    """Headers as text on one line, with raw bytes read as UTF-8 or Latin-1; encoded words stay as they are."""

    def header_fetch_parse(self, name: str, value: str) -> str:  # noqa: ARG002 — the base's signature
        return readable(value).strip()


@dataclass
class Body:
    """What was found in a file so far."""

    text: str = ""
    html: str = ""
    files: list[Letter] = field(default_factory=list)

    def attachments(self) -> tuple[Attachment, ...]:
        """Return all that is neither the text nor the HTML, in the order of the file."""
        free = set(_shown_ids(self.html, self.files))
        return tuple(_attachment(index, part, free) for index, part in enumerate(self.files))


def open_letter(data: bytes) -> Letter:
    """Return the file taken apart; `InvalidMailError` where its headers cannot be told from its body."""
    try:
        letter = cast("Letter", BytesParser(Letter, policy=_Reading()).parsebytes(data))
    except RecursionError as error:
        raise InvalidMailError("", "has parts within parts without end") from error
    if any(isinstance(defect, _HEADER_DEFECTS) for defect in letter.defects):
        raise InvalidMailError("", "has a line among its headers that is none")
    return letter


def read_body(letter: Letter) -> Body:
    """Return the texts and files of *letter*; `InvalidMailError` where one is damaged or cannot be read."""
    body = Body()
    for part in _leaves(letter):
        _place(part, body)
    return body


def _leaves(part: Letter) -> Iterator[Letter]:
    if part.kind == "multipart/encrypted":
        raise InvalidMailError("Content-Type", "multipart/encrypted cannot be sent part by part")
    _refuse_damage(part)
    if part.is_multipart():
        for inner in part.parts():
            yield from _leaves(inner)
    else:
        yield part


def _refuse_damage(part: Letter) -> None:
    for defect in part.defects:
        if problem := _PART_DEFECTS.get(type(defect)):
            raise InvalidMailError("Content-Type", problem)


def _place(part: Letter, body: Body) -> None:
    name = _TEXTS.get(part.kind, "")
    if not name or _is_file(part) or getattr(body, name):
        body.files.append(part)
    else:
        setattr(body, name, _text(part, name))


def _is_file(part: Letter) -> bool:
    return part.get_content_disposition() == "attachment" or part.get_filename() is not None


def _text(part: Letter, name: str) -> str:
    content = _content(part)
    try:
        text = decode_charset(content, part.get_content_charset("") or "")
    except ValueError as error:
        raise InvalidMailError(name, str(error)) from error
    return text.replace("\r\n", "\n")


def _content(part: Letter) -> bytes:
    content = part.content()
    _refuse_damage(part)
    return content


def _shown_ids(html: str, files: list[Letter]) -> Iterator[str]:
    if "cid:" not in html.lower():
        return
    shown = unquote(html)
    for part in files:
        content_id = _content_id(part)
        if content_id and f"cid:{content_id}" in shown:
            yield content_id


def _content_id(part: Letter) -> str:
    return unquote(str(part.get("content-id", "")).strip().removeprefix("<").removesuffix(">"))


def _attachment(index: int, part: Letter, free_ids: set[str]) -> Attachment:
    content_id = _content_id(part)
    own = content_id if content_id in free_ids else None
    free_ids.discard(content_id)
    try:
        return Attachment(
            filename=_filename(index, part), content_type=_content_type(part), content=_content(part), content_id=own
        )
    except InvalidMailError as error:
        raise InvalidMailError(f"attachments[{index}].{error.field}", error.problem) from error


def _filename(index: int, part: Letter) -> str:
    return safe_filename(decode_words(part.get_filename("") or ""), number=index + 1, content_type=part.kind)


def _content_type(part: Letter) -> str:
    charset = part.get_content_charset("") or ""
    full = f"{part.kind}; charset={charset}" if charset and part.kind.startswith("text/") else part.kind
    return next((kind for kind in (full, part.kind) if is_content_type(kind)), "application/octet-stream")
