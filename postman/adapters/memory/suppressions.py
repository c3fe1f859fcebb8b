"""A suppression list in this process's memory: for tests and simulations. It forgets nothing."""

from itertools import islice

from postman.adapters._suppressions import PAGE, added, lifted
from postman.core.suppression import Suppression
from postman.errors import ConfigError
from postman.ports.clock import Clock
from postman.ports.opening import Cluster
from postman.ports.suppressions import Changes

__all__ = ["MemorySuppressions", "open_suppressions"]


class MemorySuppressions:
    """See the module. *page* is how many suppressions one answer has at the most."""

    def __init__(self, clock: Clock, *, page: int = PAGE) -> None:
        self._clock = clock
        self._page = page
        self._count = 0
        self._kept: dict[str, tuple[int, Suppression]] = {}
        """With the number of its last change, in the order of these."""

    async def put(self, suppression: Suppression) -> None:
        self._keep(added(self._find(suppression.key), suppression))

    async def lift(self, key: str) -> Suppression | None:
        stood = self._find(key)
        after = lifted(stood, self._clock.time())
        self._keep(after)
        return stood if after else None

    async def find(self, key: str) -> Suppression | None:
        return self._find(key)

    async def changes(self, cursor: str = "") -> Changes:
        told = int(cursor or 0)
        later = (record for record in self._kept.values() if record[0] > told)
        page = list(islice(later, self._page))
        last = page[-1][0] if page else told
        return Changes([suppression for _, suppression in page], str(last), has_more=last < self._count)

    async def ensure(self) -> None:
        """Nothing to make."""

    async def aclose(self) -> None:
        """Nothing to close; the list stays readable."""

    def _find(self, key: str) -> Suppression | None:
        return self._kept[key][1] if key in self._kept else None

    def _keep(self, suppression: Suppression | None) -> None:
        if suppression is not None:
            self._kept.pop(suppression.key, None)
            self._count += 1
            self._kept[suppression.key] = (self._count, suppression)


def open_suppressions(rest: str, cluster: Cluster) -> MemorySuppressions:
    """Return a new, empty list. Raises `ConfigError` if *rest*, what follows `memory:`, is not empty."""
    if rest:
        raise ConfigError(f"nothing may follow memory: in the ledger's URL, not {rest!r}")
    return MemorySuppressions(cluster.clock)
