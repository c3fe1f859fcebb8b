"""What may be a key, wherever it lies.

Nothing here raises an error that holds the bytes, not even as a cause: that of
a failed decoding does.
"""

from typing import Final

from pydantic import SecretStr

from postman.ports.secrets import SecretRefusedError

__all__ = ["LIMIT", "secret_of"]

LIMIT: Final = 65_536
"""Bytes of a value: Secret Manager's own limit (docs.cloud.google.com/secret-manager/quotas)."""

_LINE_ENDS_AND_TABS: Final = str.maketrans("", "", "\r\n\t")


def secret_of(reference: str, data: bytes) -> SecretStr:
    """Return the value that *data* holds, or raise `SecretRefusedError`."""
    if len(data) > LIMIT:
        raise SecretRefusedError(reference, f"its value has more than {LIMIT} bytes")
    text = _decoded(data)
    if text is None:
        raise SecretRefusedError(reference, "its value is not UTF-8")
    if not text.strip():
        raise SecretRefusedError(reference, "its value is empty")
    if not text.translate(_LINE_ENDS_AND_TABS).isprintable():
        raise SecretRefusedError(reference, "its value holds control characters, or a byte order mark")
    return SecretStr(text.strip())


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
