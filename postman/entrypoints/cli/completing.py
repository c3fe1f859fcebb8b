"""What the shell completes beside the commands' names: providers, shards, reasons. It is silent where it cannot."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from postman.core.suppression import SuppressionReason
from postman.core.verdict import DeadReason
from postman.entrypoints.cli.setup import settings
from postman.errors import PostmanError

__all__ = ["dead_reasons", "fields_of_providers", "provider_names", "shard_numbers", "suppression_reasons"]

_PATIENCE: Final = 2.0
"""Seconds: somebody pressed a key and waits."""
_FIELDS: Final = ("timeout", "rate", "concurrency", "weight", "breaker", "look_up_after", "base_url", "api_key")


def provider_names(incomplete: str) -> Sequence[str]:
    """Return the names in the document, where it can be read at once."""
    try:
        names = asyncio.run(asyncio.wait_for(_names(), _PATIENCE))
    except (PostmanError, OSError, TimeoutError):
        return ()
    return [name for name in names if name.startswith(incomplete)]


def shard_numbers(incomplete: str) -> Iterator[str]:
    """Yield the shards of the settings."""
    try:
        count = settings().shards
    except PostmanError:
        return
    yield from (str(shard) for shard in range(count) if str(shard).startswith(incomplete))


def dead_reasons(incomplete: str) -> Iterator[str]:
    """Yield why a mail may be dead."""
    yield from (str(reason) for reason in DeadReason if reason.startswith(incomplete))


def suppression_reasons(incomplete: str) -> Iterator[str]:
    """Yield why an address may get no mail."""
    yield from (str(reason) for reason in SuppressionReason if reason.startswith(incomplete))


def fields_of_providers(incomplete: str) -> Iterator[str]:
    """Yield the beginnings of fields."""
    yield from (f"{name}=" for name in _FIELDS if name.startswith(incomplete))


async def _names() -> Sequence[str]:
    """Only who completes a name needs what is imported here."""
    from postman.config import parse_providers
    from postman.entrypoints.operating.providers import read_document

    document = await read_document(settings())
    return [entry.spec.name for entry in parse_providers(document.text, "")]
