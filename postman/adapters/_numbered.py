"""Queues by the numbers of their shards: the same for all adapters.

Which shards are in use changes while a process runs, so that none is opened
before somebody asks for it.
"""

from collections.abc import Callable
from typing import TypeVar

from postman.core.layout import MOST_SHARDS
from postman.errors import ConfigError

__all__ = ["Numbered"]

_Q = TypeVar("_Q")


class Numbered(dict[int, _Q]):
    """What was asked for so far; *opening* is called once for each shard.

    Raises `ConfigError` for a number that no shard can have.
    """

    def __init__(self, opening: Callable[[int], _Q]) -> None:
        super().__init__()
        self._opening = opening

    def __missing__(self, shard: int) -> _Q:
        if not 0 <= shard < MOST_SHARDS:
            raise ConfigError(f"there is no shard {shard}: they are numbered from 0 to {MOST_SHARDS - 1}")
        opened = self[shard] = self._opening(shard)
        return opened
