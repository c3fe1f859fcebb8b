"""A breaker as it stands, for a page or a metric."""

from dataclasses import dataclass

from postman.breaker.states import State
from postman.breaker.verdicts import LastFailure

__all__ = ["View"]


@dataclass(frozen=True, slots=True)
class View:
    """All of one moment. Times in seconds, counts of the window unless it says otherwise."""

    name: str
    state: State
    generation: int
    since: float
    """In this state."""
    retry_after: float
    """Until a call may go through; 0 where one may now."""
    paused_for: float
    """Until the time that the service named; 0 where it named none, or it is past."""
    successes: int
    failures: int
    slow: int
    """Of both."""
    running: int
    """Calls under way."""
    overdue: int
    """Of these, already slow."""
    failures_in_row: int
    probes_out: int
    probes_failed: int
    """In a row, since it left the closed state."""
    rejected: int
    """Calls turned away since it was made."""
    stale: int
    """Reports that came too late to count, since it was made."""
    last_failure: LastFailure | None
