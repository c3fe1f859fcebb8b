"""How much waits in the shards, for people to look at.

It may be minutes old, as a cloud counts its queues for its charts and not for
its users: nothing may be decided by it. Whoever must know that a shard is empty
asks `ShardMap.depth`. What is in a worker's hands is counted too, as it comes
back if that worker dies.

Adapters are found by the scheme of POSTMAN_QUEUE, through the entry points
`postman.backlogs`, each of which names a function of the shape `OpenBacklogs`;
a queue need not have one. Opening makes no connection.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from postman.ports.opening import Cluster

__all__ = ["Backlog", "Backlogs", "OpenBacklogs"]


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in one queue."""

    count: int
    oldest_age: float
    """Seconds for which the oldest has waited; 0 where nothing waits."""
    at: float
    """When that was so, in seconds since 1970."""


class Backlogs(Protocol):
    """One for each process. Any number of looks may go on at once; each asks the store anew, once for all shards.

    A shard about which nothing can be told now, as it does not exist, or as nobody counted it lately, is left out of
    the answer; so an empty answer does not mean that nothing waits. Both looks raise `QueueUnavailableError` where the
    store cannot be reached or refuses to tell, with a reason for people; nothing is retried, and no look takes longer
    than about ten seconds.
    """

    async def look(self, shards: Sequence[int]) -> Mapping[int, Backlog]:
        """Return what waits in each of *shards*."""
        ...

    async def look_dead(self, shards: Sequence[int]) -> Mapping[int, Backlog]:
        """Return what lies in the dead letters of each of *shards*."""
        ...

    async def aclose(self) -> None:
        """Close; every later call but this one may fail."""
        ...


OpenBacklogs = Callable[[str, Cluster], Backlogs | None]
"""From what follows the scheme and the cluster; None where nobody counts, as beside an emulator."""
