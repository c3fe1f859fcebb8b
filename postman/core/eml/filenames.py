"""Names of attached files: what other programs wrote, made harmless."""

from collections.abc import Mapping
from typing import Final

from postman.core.parts import MAX_FILENAME_BYTES
from postman.core.text import BIDI, CONTROLS

__all__ = ["safe_filename"]

_ENDINGS: Final[Mapping[str, str]] = {
    "application/pdf": ".pdf",
    "image/gif": ".gif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "message/rfc822": ".eml",
    "text/calendar": ".ics",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/plain": ".txt",
}
"""Our own, since Python's table depends on the machine."""

_LONGEST_ENDING: Final = 20


def safe_filename(name: str, *, number: int, content_type: str) -> str:
    """Return *name* without path, control and direction characters, shortened; a made one where nothing is left."""
    last = name.replace("\\", "/").rpartition("/")[2]
    clean = BIDI.sub("", CONTROLS.sub("", last)).strip()
    if clean.strip(". ") == "":
        return f"part-{number}{_ENDINGS.get(content_type, '.bin')}"
    return _shortened(clean)


def _shortened(name: str) -> str:
    if len(name.encode()) <= MAX_FILENAME_BYTES:
        return name
    stem, dot, ending = name.rpartition(".")
    if not stem or len(ending.encode()) > _LONGEST_ENDING:
        stem, dot, ending = name, "", ""
    room = MAX_FILENAME_BYTES - len((dot + ending).encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + dot + ending
