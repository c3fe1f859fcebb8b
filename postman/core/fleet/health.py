"""What is said of a worker's health, and of the fleet's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["FleetJudgement", "Health", "Judgement"]


class Health(StrEnum):
    """How a worker does, compared with the others at the same providers."""

    OK = "ok"
    SLOW = "slow"
    """It finishes much less than its peers would with as many mails in their hands."""
    STALLED = "stalled"
    """It finishes nothing, reaches no provider that others reach, or says nothing any more."""
    IDLE_WITH_BACKLOG = "idle_with_backlog"
    """It takes few mails while the others have their hands full."""
    UNKNOWN = "unknown"
    """There is too little to judge by: neither good nor bad, and never acted on."""
    LEAVING = "leaving"
    """It drains, or has drained, whatever the reason."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is known of one worker."""

    worker: str
    health: Health
    reason: str
    """A sentence for the person on call."""
    ratio: float | None = None
    """Mails finished, as a share of what its peers would have finished: 1 is as good as they are."""
    z: float | None = None
    """The same in standard deviations: 0 is as good as they are, -2.5 is hardly chance."""
    since: float | None = None
    """When the trouble began, in seconds since 1970; no earlier than its oldest window. None: there is no trouble."""


@dataclass(frozen=True, slots=True)
class FleetJudgement:
    """What is known of all workers, and what follows."""

    workers: Mapping[str, Judgement] = field(default_factory=dict)
    """By worker. Who has been silent for long is not among them."""
    fleet_slow: str = ""
    """Why it is no single worker's fault, in words; empty: nothing speaks for that."""
    leave: frozenset[str] = frozenset()
    """The workers that are to drain and leave now: at the most one, so that departures stay apart."""
