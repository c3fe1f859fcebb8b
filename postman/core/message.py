"""What a queue carries."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Message"]


@dataclass(frozen=True, slots=True)
class Message:
    """What travels: bytes, and attributes that can be read without decoding them."""

    data: bytes = field(repr=False)
    attributes: Mapping[str, str] = field(default_factory=dict)
