"""What a queue carries."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["SHARD_KEY", "Message", "key_of"]

SHARD_KEY: Final = "shard_key"
"""The attribute that names the tenant or class by which a mail's shard is chosen, where there is one."""


@dataclass(frozen=True, slots=True)
class Message:
    """What travels: bytes, and attributes that can be read without decoding them."""

    data: bytes = field(repr=False)
    attributes: Mapping[str, str] = field(default_factory=dict)


def key_of(message: Message) -> str:
    """Return by which class the shard of *message* is chosen; empty: by the mail's id."""
    return message.attributes.get(SHARD_KEY, "")
