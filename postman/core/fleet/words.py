"""The sentences of the judgement, for a person woken at night."""

from collections.abc import Iterable

from postman.core.fleet.comparison import Comparison

__all__ = ["against_baseline", "against_peers", "counted", "keeping_up", "span"]

_LONG = 120.0


def counted(number: int, noun: str) -> str:
    """Return "1 peer", "7 peers"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def span(seconds: float) -> str:
    """Return "95 s", "12 min"."""
    return f"{seconds:.0f} s" if seconds < _LONG else f"{seconds / 60:.0f} min"


def against_peers(comparison: Comparison) -> str:
    """Return how a worker does beside its peers."""
    peers = counted(len(comparison.peers), "peer")
    where = _names(comparison.sides)
    over = f"over {span(comparison.seconds)} (z = {comparison.z:.1f})"
    if not comparison.done:
        return f"finished none of the {comparison.expected:.0f} mails that its {peers} at {where} would have, {over}"
    return f"{_times(comparison.ratio)} its {peers} at {where} {over}"


def keeping_up(comparison: Comparison) -> str:
    """Return how a worker does that nobody complains of."""
    peers = counted(len(comparison.peers), "peer")
    share = f"{comparison.ratio:.2f} of what its {peers} would have done over {span(comparison.seconds)}"
    return f"did {share} at {_names(comparison.sides)}"


def against_baseline(comparison: Comparison) -> str:
    """Return how the fleet does beside its own past."""
    where = _names(comparison.sides)
    over = f"over {span(comparison.seconds)} (z = {comparison.z:.1f})"
    if not comparison.done:
        return f"no worker finishes anything at {where}, {over}"
    return f"all workers together are {_times(comparison.ratio)} before at {where} {over}"


def _times(ratio: float) -> str:
    if ratio <= 1 / 1.05:
        return f"{1 / ratio:.1f} times slower than"
    if ratio >= 1.05:
        return f"{ratio:.1f} times faster than"
    return "as fast as"


def _names(providers: Iterable[str]) -> str:
    *most, last = sorted(providers)
    return f"{', '.join(most)} and {last}" if most else last
