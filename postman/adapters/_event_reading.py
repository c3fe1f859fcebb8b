"""What the readers of events share: headers, times, ids, and keys."""

import math
import re
from collections.abc import Mapping
from typing import Final

from postman.core.ids import is_mail_id
from postman.errors import ConfigError, ForgedEventError
from postman.ports.opening import ProviderSpec

__all__ = ["check_age", "id_in", "moment_in", "one_header", "recipient_in", "text_in", "webhook_keys"]

AHEAD: Final = 300.0
"""Seconds that a provider's clock may be ahead of ours."""

_SECONDS: Final = re.compile(r"[0-9]{1,11}")
_MOMENT: Final = re.compile(r"[0-9]{1,11}(?:\.[0-9]{1,9})?")
_LAST: Final = 1e11
_LONGEST_ADDRESS: Final = 320


def one_header(headers: Mapping[str, str], name: str, provider: str) -> str:
    """Return the header *name*, whatever its case; `ForgedEventError` where it is not there exactly once."""
    found = [value for key, value in headers.items() if key.lower() == name.lower()]
    if len(found) != 1 or not found[0]:
        problem = f"comes {len(found)} times" if len(found) > 1 else "is missing"
        raise ForgedEventError(f"{provider}: the header {name} {problem}")
    return found[0]


def check_age(timestamp: str, now: float, *, oldest: float, provider: str) -> None:
    """Raise `ForgedEventError` where a post was signed more than *oldest* seconds ago, in the future, or at no time."""
    if not _SECONDS.fullmatch(timestamp):
        raise ForgedEventError(f"{provider}: the time of the signature is no time")
    age = now - int(timestamp)
    if age > oldest:
        raise ForgedEventError(f"{provider}: the signature is older than the provider repeats its posts")
    if age < -AHEAD:
        raise ForgedEventError(f"{provider}: the signature is of a time to come; is this machine's clock right?")


def moment_in(value: object) -> float | None:
    """Return seconds since 1970, given as a number or as its text; None for anything else."""
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and 0 <= value < _LAST else None


def text_in(value: object) -> str:
    """Return *value* if it is text or a whole number, else nothing."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else ""


def id_in(value: object) -> str:
    """Return *value* if it can be the id of a mail of ours, else nothing."""
    text = text_in(value)
    return text if is_mail_id(text) else ""


def recipient_in(value: object) -> str:
    """Return *value* if it can be an address, else nothing."""
    text = text_in(value).strip()
    return text if "@" in text and len(text) <= _LONGEST_ADDRESS and text.isprintable() else ""


def webhook_keys(spec: ProviderSpec) -> list[str]:
    """Return the keys of the option `webhook_key`, of which there may be several, between commas, while they change.

    None where it is not set. An empty one among several is a `ConfigError`.
    """
    text = spec.options.get("webhook_key", "").strip()
    keys = [key.strip() for key in text.split(",")] if text else []
    if not all(keys):
        raise ConfigError(f"provider {spec.name}: webhook_key: there is nothing between two commas")
    return keys
