"""The meter: what a worker does at each provider, counted while it does it.

A mail is in the worker's hands from the moment it has a place at a provider
until its end is recorded, so that whatever makes a worker slow shows: its
provider, its ledger, its CPU. The seconds are counted where they were spent; a
mail that moves on to another provider is done at the last one only, and took
the time that it spent there. A mail that turned out to be another's, or settled
already, leaves no trace.

All of it costs about two microseconds a mail.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

from postman.core.fleet.reports import ProviderWork, WorkWindow
from postman.ports.clock import Clock
from postman.runtime.past import Past

__all__ = ["History", "Meter", "Span"]

_WINDOWS: Final = 10
_HALF_LIFE: Final = 3600.0
"""Seconds in which the baseline forgets half of what it knows."""
_FORGOTTEN: Final = 1e-3


class _Side:
    """The sums at one provider; *held* mails are in hand there now."""

    __slots__ = ("area", "changed", "done", "held", "took", "took_squared")

    def __init__(self, now: float) -> None:
        self.held = 0
        self.changed = now
        self.area = self.took = self.took_squared = 0.0
        self.done = 0

    def change(self, now: float, by: int) -> None:
        self.area += self.held * (now - self.changed)
        self.changed = now
        self.held += by

    def take_out(self, now: float) -> ProviderWork:
        """Return the sums, and begin new ones."""
        self.change(now, 0)
        work = ProviderWork(float(self.done), max(0.0, self.area), self.took, self.took_squared)
        self.area = self.took = self.took_squared = 0.0
        self.done = 0
        return work


class _Stretch:
    """For how long something was so, in seconds; it may be so for several reasons at a time."""

    __slots__ = ("_reasons", "_seconds", "_since")

    def __init__(self) -> None:
        self._reasons = 0
        self._seconds = 0.0
        self._since = 0.0

    @property
    def is_on(self) -> bool:
        return self._reasons > 0

    def change(self, now: float, by: int) -> None:
        if self._reasons:
            self._seconds += now - self._since
        self._since = now
        self._reasons += by

    def take_out(self, now: float) -> float:
        self.change(now, 0)
        seconds, self._seconds = self._seconds, 0.0
        return seconds


class _Books:
    """What the meter and the mails in hand write in."""

    __slots__ = ("clock", "opened", "sides", "spans")

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.opened = clock.now()
        self.sides: dict[str, _Side] = {}
        self.spans: dict[Span, None] = {}

    def side(self, provider: str, now: float) -> _Side:
        side = self.sides.get(provider)
        if side is None:
            side = self.sides[provider] = _Side(now)
        return side


class Span:
    """One mail in hand; ended when it is left as a context, dropped or not. Ending twice is fine."""

    __slots__ = ("_arrived", "_books", "_is_over", "_side", "begun")

    def __init__(self, books: _Books, provider: str) -> None:
        self._books = books
        self.begun = self._arrived = now = books.clock.now()
        self._is_over = False
        self._side = books.side(provider, now)
        self._side.change(now, 1)
        books.spans[self] = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def move(self, provider: str) -> None:
        """The mail goes on to *provider*."""
        now = self._leave()
        self._arrived = now
        self._side = self._books.side(provider, now)
        self._side.change(now, 1)

    def end(self) -> None:
        """The mail has left the worker's hands, however it ended."""
        if self._is_over:
            return
        took = self._close() - self._arrived
        self._side.done += 1
        self._side.took += took
        self._side.took_squared += took * took

    def drop(self) -> None:
        """The mail was not this worker's to send: it counts for nothing."""
        if self._is_over:
            return
        now = self._close()
        self._side.area -= now - max(self._arrived, self._books.opened)

    def _close(self) -> float:
        self._is_over = True
        del self._books.spans[self]
        return self._leave()

    def _leave(self) -> float:
        now = self._books.clock.now()
        self._side.change(now, -1)
        return now


class Meter:
    """See the module; one for each worker, used from one event loop."""

    def __init__(self, clock: Clock, past: Past | None = None) -> None:
        self._books = _Books(clock)
        self._clock = clock
        self.past = Past(clock.time) if past is None else past
        """The last hour, minute by minute."""
        self._full = _Stretch()
        self._paused = _Stretch()
        self._ledger_calls = 0
        self._ledger_took = 0.0

    def begin(self, provider: str) -> Span:
        """A mail has a place at *provider*."""
        return Span(self._books, provider)

    def set_full(self, *, is_full: bool) -> None:
        """Note whether the worker has no place for another mail."""
        if is_full is not self._full.is_on:
            self._full.change(self._clock.now(), 1 if is_full else -1)

    def ledger_called(self, seconds: float) -> None:
        """A call to the ledger ended after *seconds*."""
        self._ledger_calls += 1
        self._ledger_took += seconds

    @contextmanager
    def pause(self) -> Iterator[None]:
        """While this is open, the worker takes no mails, because no provider or no ledger can be used."""
        self._paused.change(self._clock.now(), 1)
        try:
            yield
        finally:
            self._paused.change(self._clock.now(), -1)

    def close_window(self) -> WorkWindow:
        """Return what was done since the last window was closed, and begin another."""
        books, now = self._books, self._clock.now()
        work = {provider: side.take_out(now) for provider, side in books.sides.items()}
        books.sides = {provider: side for provider, side in books.sides.items() if side.held}
        seconds, books.opened = now - books.opened, now
        oldest = next(iter(books.spans), None)
        calls, self._ledger_calls = self._ledger_calls, 0
        call_seconds, self._ledger_took = self._ledger_took, 0.0
        return WorkWindow(
            ends=self._clock.time(),
            seconds=seconds,
            work={provider: each for provider, each in work.items() if each.done or each.outstanding},
            oldest=now - oldest.begun if oldest is not None else 0.0,
            full_for=self._full.take_out(now),
            paused_for=self._paused.take_out(now),
            ledger_calls=calls,
            ledger_took=call_seconds,
        )


class History:
    """The latest ten windows, and in the baseline what came before them, forgotten with a half-life of an hour."""

    def __init__(self) -> None:
        self._windows: list[WorkWindow] = []
        self._baseline: dict[str, ProviderWork] = {}

    @property
    def windows(self) -> tuple[WorkWindow, ...]:
        """Oldest first."""
        return tuple(self._windows)

    @property
    def baseline(self) -> Mapping[str, ProviderWork]:
        return dict(self._baseline)

    def add(self, window: WorkWindow) -> None:
        self._windows.append(window)
        while len(self._windows) > _WINDOWS:
            self._fold(self._windows.pop(0))

    def _fold(self, window: WorkWindow) -> None:
        kept = 0.5 ** (window.seconds / _HALF_LIFE)
        faded = {provider: work.times(kept) for provider, work in self._baseline.items()}
        for provider, work in window.work.items():
            faded[provider] = faded.get(provider, ProviderWork()) + work
        self._baseline = {provider: work for provider, work in faded.items() if work.outstanding > _FORGOTTEN}
