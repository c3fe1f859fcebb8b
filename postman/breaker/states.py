"""The state machine, as a table.

The breaker moves by it and by nothing else, and its documentation draws the
diagram from it. What is not in the table raises and changes nothing.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

__all__ = ["ADMITTING", "HELD", "TRANSITIONS", "State", "Trigger", "diagram", "next_state"]


class State(StrEnum):
    """Where a breaker stands."""

    CLOSED = "closed"
    """Every call goes through, and is counted."""
    OPEN = "open"
    """No call goes through until its period is over."""
    HALF_OPEN = "half_open"
    """A few calls go through as probes; how they end decides."""
    HELD_OPEN = "held_open"
    """Forced: no call goes through."""
    HELD_CLOSED = "held_closed"
    """Forced: every call goes through and is counted, and none opens it."""
    DISABLED = "disabled"
    """Forced: every call goes through, nothing is counted."""


class Trigger(StrEnum):
    """What moves it."""

    TRIPPED = "tripped"
    """Too many failures, or too many slow calls."""
    LOCKED_OUT = "locked out"
    """The service refuses our account: no other call would fare better."""
    PROBE_ADMITTED = "probe admitted"
    PROBE_FAILED = "probe failed"
    RECOVERED = "recovered"
    """As many probes succeeded in a row as were asked for."""
    RESET = "reset"
    HELD_OPEN = "held open"
    HELD_CLOSED = "held closed"
    SWITCHED_OFF = "switched off"
    RELEASED = "released"
    """A forced state ends, by hand or because its time is over."""


HELD: Final = frozenset({State.HELD_OPEN, State.HELD_CLOSED, State.DISABLED})
"""The forced states: no report moves a breaker out of them."""

ADMITTING: Final = frozenset({State.CLOSED, State.HELD_CLOSED, State.DISABLED})
"""The states in which every call goes through."""

TRANSITIONS: Final[Mapping[tuple[State, Trigger], State]] = MappingProxyType(
    {
        (State.CLOSED, Trigger.TRIPPED): State.OPEN,
        (State.CLOSED, Trigger.LOCKED_OUT): State.OPEN,
        (State.OPEN, Trigger.PROBE_ADMITTED): State.HALF_OPEN,
        (State.HALF_OPEN, Trigger.PROBE_FAILED): State.OPEN,
        (State.HALF_OPEN, Trigger.LOCKED_OUT): State.OPEN,
        (State.HALF_OPEN, Trigger.RECOVERED): State.CLOSED,
        **{(state, Trigger.RESET): State.CLOSED for state in State if state not in HELD},
        **{(state, Trigger.HELD_OPEN): State.HELD_OPEN for state in State},
        **{(state, Trigger.HELD_CLOSED): State.HELD_CLOSED for state in State},
        **{(state, Trigger.SWITCHED_OFF): State.DISABLED for state in State},
        **{(state, Trigger.RELEASED): State.CLOSED for state in sorted(HELD)},
    }
)


def next_state(state: State, trigger: Trigger) -> State:
    """Return where *trigger* leads from *state*; `ValueError` where it leads nowhere."""
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise ValueError(f"a breaker that is {state} cannot be {trigger}") from None


def diagram() -> str:
    """Return the table as a Mermaid state diagram."""
    by_hand = (Trigger.RESET, Trigger.HELD_OPEN, Trigger.HELD_CLOSED, Trigger.SWITCHED_OFF)
    lines = ["stateDiagram-v2", f"    [*] --> {State.CLOSED}"]
    lines += [
        f"    {old} --> {new}: {trigger}" for (old, trigger), new in TRANSITIONS.items() if trigger not in by_hand
    ]
    for trigger in by_hand:
        [target] = {new for (_, moved), new in TRANSITIONS.items() if moved is trigger}
        origin = "not forced" if trigger is Trigger.RESET else "any state"
        lines.append(f"    note right of {target}: from {origin}, {trigger}")
    return "\n".join(lines)
