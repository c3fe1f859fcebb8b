"""What a breaker tells of itself, in order, and never from under its lock."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from postman.breaker.states import State, Trigger

__all__ = ["Announcer", "Event", "EventKind", "OnEvent"]

_LOG = logging.getLogger("postman.breaker")


class EventKind(StrEnum):
    """What happened."""

    MOVED = "moved"
    """From one state to another."""
    PAUSED = "paused"
    """The service named a time before which it will not be called."""
    STALE = "stale"
    """A call reported that began before the last move, or reported twice, or too late: it counted for nothing."""
    PROBE_LOST = "probe lost"
    """A probe did not report in its lease."""
    CLASSIFIER_FAILED = "classifier failed"
    POLICY_FAILED = "policy failed"
    """*should_probe* raised."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a breaker."""

    name: str
    """The breaker's."""
    kind: EventKind
    at: float
    """On the breaker's own clock."""
    old: State
    new: State
    generation: int
    trigger: Trigger | None = None
    """What moved it, where it moved."""
    retry_after: float = 0.0
    """Seconds from *at* until it may be called; 0 where it may now."""
    detail: str = ""


OnEvent = Callable[[Event], None]
"""Called after the breaker let go of its lock, one event at a time, in order. What it raises is logged, no more."""


class Announcer:
    """Hands events on, in the order in which they were noted, by whichever thread comes first."""

    def __init__(self, on_event: OnEvent | None) -> None:
        self._on_event = on_event
        self._noted: deque[Event] = deque()
        self._telling = threading.Lock()

    def note(self, event: Event) -> None:
        """Keep *event* for `tell`; to be called under the breaker's lock, which gives the order."""
        if self._on_event is not None:
            self._noted.append(event)

    def tell(self) -> None:
        """Hand on what was noted. Where another thread, or this one further up, is telling, that one tells it all."""
        while self._noted and self._telling.acquire(blocking=False):
            try:
                while self._noted:
                    self._tell_one(self._noted.popleft())
            finally:
                self._telling.release()

    def _tell_one(self, event: Event) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 — a listener's mistake is its own
            _LOG.exception("a listener of the breaker %s failed", event.name)
