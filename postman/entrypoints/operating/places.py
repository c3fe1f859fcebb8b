"""URLs as they may be shown."""

from typing import Final

__all__ = ["without_password"]

_HIDDEN: Final = "***"


def without_password(url: str) -> str:
    """Return the URL of a queue or ledger as it may be shown: no user, password or query in it."""
    scheme, slashes, rest = url.partition("://")
    if not slashes:
        return url
    address, question, _ = rest.partition("?")
    account, at, place = address.rpartition("@")
    return f"{scheme}://{_HIDDEN if account else ''}{at}{place}{question and f'?{_HIDDEN}'}"
