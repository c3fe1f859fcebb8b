"""Closes what belongs together, also where one of it fails."""

from collections.abc import Iterable
from typing import Protocol

import structlog

from postman.runtime.surprise import reason_of

__all__ = ["close_all"]

_LOG = structlog.get_logger("postman.providers")


class _Closable(Protocol):
    @property
    def name(self) -> str: ...

    async def aclose(self) -> None: ...


async def close_all(providers: Iterable[_Closable]) -> None:
    """Close each of *providers*, one after the other; does not raise where one cannot be closed, which is logged."""
    for provider in providers:
        try:
            await provider.aclose()
        except Exception as error:  # noqa: BLE001 — whatever ails one, the others are not to stay open for it
            _LOG.warning("provider_not_closed", provider=provider.name, **reason_of(error))
