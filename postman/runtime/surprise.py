"""What may be logged of an error that nobody expected.

The text of a foreign exception can hold an address or a body; its class and the
places it came through cannot.
"""

import traceback
from pathlib import PurePath
from typing import Final

from postman.errors import PostmanError

__all__ = ["reason_of"]

_PLACES: Final = 4


def reason_of(error: Exception) -> dict[str, str]:
    """Return fields for a log event: the message of an error of ours, the class and the last places of any other."""
    if isinstance(error, PostmanError):
        return {"reason": str(error)}
    frames = traceback.extract_tb(error.__traceback__)[-_PLACES:]
    where = " > ".join(f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    return {"reason": type(error).__name__, "where": where}
