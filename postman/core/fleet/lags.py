"""How long mails wait in a shard, as far as the workers' reports tell.

For where nobody counts what lies in a queue, and for people only. A report says
when its worker last pulled from a shard, and when the newest mail that it had
pulled there was published; so the mail pulled last had waited for the time
between the two, or longer. What no worker has pulled yet is not seen at all.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from postman.core.fleet.reports import WorkerReport

__all__ = ["Lag", "lag_of"]

_TELLS_FOR: Final = 600.0
"""Seconds after which a pull says nothing of now."""


@dataclass(frozen=True, slots=True)
class Lag:
    """What the last pull from a shard showed."""

    waited: float
    """Seconds for which the mail pulled last had waited since it was published, at the least."""
    at: float
    """When it was pulled, in seconds since 1970."""


def lag_of(reports: Iterable[WorkerReport], shard: int, now: float) -> Lag | None:
    """Return what the latest pull from *shard* showed; None where no mail came from it within the last ten minutes.

    None may mean that the shard is empty, or that nobody reads it: the reports cannot tell one from the other.
    """
    works = (report.shards[str(shard)] for report in reports if str(shard) in report.shards)
    pulls = [(work.pulled_at, work.published_at) for work in works if work.pulled_at and work.published_at]
    if not pulls:
        return None
    pulled_at, published_at = max(pulls)
    return Lag(max(0.0, pulled_at - published_at), pulled_at) if now - pulled_at <= _TELLS_FOR else None
