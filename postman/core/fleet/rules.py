"""The thresholds of the judgement."""

from dataclasses import dataclass, fields
from types import MappingProxyType

__all__ = ["Rules"]

_UNBOUNDED = 1e9
_SHARE = (0.0, 1.0)
_COUNT = (1, 1000)
_SECONDS = (0.0, _UNBOUNDED)
_LIMITS = MappingProxyType(
    {
        "ratio": _SHARE,
        "cleared": _SHARE,
        "z": (0.0, 1000.0),
        "need": (1.0, _UNBOUNDED),
        "slow": _COUNT,
        "of": _COUNT,
        "clear_in": _COUNT,
        "min_peers": _COUNT,
        "max_out": _SHARE,
        "min_fleet": _COUNT,
        "stalled_after": _SECONDS,
        "stalled_factor": (0.0, 1000.0),
        "silent_after": (1.0, 1000.0),
        "gone_after": _SECONDS,
        "idle_share": _SHARE,
        "full_share": _SHARE,
        "paused_share": _SHARE,
        "departures_within": _SECONDS,
        "backoff": _SECONDS,
        "backoff_longest": _SECONDS,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When a worker is judged slow, stalled or idle, and how many may leave. ValueError names a field that is wrong.

    The defaults were chosen by simulation (`tests/benchmarks/fleet.py`).
    """

    ratio: float = 0.6
    """Slow is who finishes less than this share of what its peers would have finished."""
    cleared: float = 0.8
    """No longer slow is who finishes at least this share."""
    z: float = 3.2
    """And whose shortfall, over all comparisons that make it slow, is more than so many standard deviations."""
    need: float = 25.0
    """Windows are added up until so many mails are expected: one comparison."""
    slow: int = 3
    """So many slow comparisons..."""
    of: int = 4
    """...of the latest so many make a worker slow,"""
    clear_in: int = 2
    """and so many good ones in a row make it well."""
    min_peers: int = 2
    """Workers at the same provider without which nothing is judged."""
    max_out: float = 0.3
    """Share of the fleet that may be out at a time; one always may, in a fleet of *min_fleet*."""
    min_fleet: int = 3
    stalled_after: float = 60.0
    """Seconds with nothing finished, at the least, before a worker is stalled."""
    stalled_factor: float = 5.0
    """Nor before so many times the time within which 99 of 100 mails are finished."""
    silent_after: float = 3.0
    """Windows without a report after which a worker is taken for stalled."""
    gone_after: float = 600.0
    """Seconds without a report after which a worker is no longer counted."""
    idle_share: float = 0.3
    """Idle is whose hands are filled less than this share of the median of the others'."""
    full_share: float = 0.9
    """Share of a window from which on a worker counts as full, or as paused, throughout."""
    paused_share: float = 0.1
    """Share of a window up to which a pause or full hands do not matter."""
    departures_within: float = 3600.0
    """Seconds for which a departure for health is remembered."""
    backoff: float = 60.0
    """Seconds after the first departure before the next; doubled by each further one."""
    backoff_longest: float = 3600.0

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = _LIMITS[field.name]
            value = getattr(self, field.name)
            if not low <= value <= high:
                raise ValueError(f"{field.name} must be from {low:g} to {high:g}, not {value}")
        if self.slow > self.of:
            raise ValueError(f"slow must be at most of ({self.of}), not {self.slow}")
        if self.cleared < self.ratio:
            raise ValueError(f"cleared must be at least ratio ({self.ratio}), not {self.cleared}")
