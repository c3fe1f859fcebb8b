"""The circuit breaker.

Closed, it lets every call through and counts how they end. After too many
failures it opens and rejects calls at once. When its time is over it lets a call
through as a probe; when enough of them succeed it closes, when one fails it
opens again, for longer. `docs/breaker.md` has the whole account.

It stands between the callers and `Machine`, which decides: it holds the lock,
reads the clock once for each decision, and calls what others gave it only after
it let go. It has no timer and no thread of its own.
"""

import inspect
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from random import Random
from typing import Any, Final, Literal, ParamSpec, Self, TypeVar, cast

from postman.breaker.calls import protect, protect_async
from postman.breaker.events import Announcer, EventKind, OnEvent
from postman.breaker.lock import OneAtATime
from postman.breaker.machine import DAY, Machine
from postman.breaker.permit import Keeper, Permit, RejectedError, Rejection
from postman.breaker.probing import ProbeStats, ShouldProbe, always
from postman.breaker.rules import Recovery, Trip
from postman.breaker.states import State, Trigger
from postman.breaker.verdicts import (
    SUCCESS,
    Classify,
    ClassifyResult,
    Fault,
    LastFailure,
    Verdict,
    any_error,
)
from postman.breaker.view import View

__all__ = ["CircuitBreaker"]

P = ParamSpec("P")
R = TypeVar("R")

_FORCES: Final = {
    "open": Trigger.HELD_OPEN,
    "closed": Trigger.HELD_CLOSED,
    "disabled": Trigger.SWITCHED_OFF,
}
_LONGEST_TEXT: Final = 200


class CircuitBreaker:
    """See the module. One for each service that is called, shared by all that call it.

    It may be used from several threads and event loops at once. *clock* returns seconds that do not go back;
    *random* numbers from 0 up to 1 exclusive; both are called under the lock, and must be quick.
    """

    def __init__(
        self,
        name: str,
        trip: Trip | None = None,
        recovery: Recovery | None = None,
        *,
        classify: Classify = any_error,
        classify_result: ClassifyResult | None = None,
        should_probe: ShouldProbe | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        self.name = name
        self._recovery = recovery or Recovery()
        self._classify = classify
        self._classify_result = classify_result
        self._should_probe = should_probe or always()
        self._clock = clock
        self._latest = clock()
        self._lock = OneAtATime()
        self._deferred: deque[tuple[Permit, Verdict, LastFailure | None]] = deque()
        self._announcer = Announcer(on_event)
        self._machine = Machine(
            name,
            trip or Trip(),
            self._recovery,
            now=self._latest,
            random=random or Random().random,  # noqa: S311 — jitter, not a secret
            note=self._announcer.note,
        )
        self._running = self._machine.running
        self._keeper = Keeper(
            running=self._running,
            clock=clock,
            judges_results=classify_result is not None,
            acquire=self.acquire,
            succeeded=self.succeeded,
            returned=self._returned,
            raised=self._raised,
        )
        self._calling = protect(self._keeper, _apply)
        self._awaiting = protect_async(self._keeper, _apply_async)

    @property
    def state(self) -> State:
        """The state as it stands; asking changes nothing."""
        return self._machine.state

    def retry_after(self) -> float:
        """Return the seconds until a call may go through; 0 where one may now. Asking changes nothing."""
        with self._lock:
            return self._machine.wait(self._now())

    def view(self) -> View:
        """Return all that can be seen of it; asking changes nothing."""
        with self._lock:
            return self._machine.view(self._now())

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call *fn*; raise `RejectedError` instead where nobody is let through, else what it raises."""
        return cast("R", self._calling(fn, *args, **kwargs))

    async def acall(self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Await what *fn* returns; else as `call`. *fn* is not called where nobody is let through."""
        return cast("R", await self._awaiting(fn, *args, **kwargs))

    def protect(self, fn: Callable[P, R]) -> Callable[P, R]:
        """Return *fn*, plain or ``async``, with each call of it guarded as by `call` or `acall`. A decorator."""
        if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
            raise TypeError("a generator cannot be protected: its call returns before its work begins")
        if _is_async(fn):
            return cast("Callable[P, R]", protect_async(self._keeper, cast("Callable[P, Awaitable[object]]", fn)))
        return protect(self._keeper, fn)

    def guard(self) -> AbstractContextManager[Permit]:
        """Guard the body of a ``with`` statement, which may await; raise `RejectedError` instead of beginning it.

        What leaves the body is classified; no exception is a success, unless the permit was reported in the body.
        """
        return self.acquire()

    def acquire(self) -> Permit:
        """Return leave for one call, to be reported or used in a ``with`` statement, or raise `RejectedError`."""
        tick = self._running.tick
        began = self._clock()
        if began < tick.ends:
            tick.started.append(began)
            return Permit(tick, began, self._keeper)
        return self._acquire()

    def _acquire(self) -> Permit:
        answer: tuple[int, bool] | None = None
        while True:
            decision, generation = self._do(partial(self._admit, answer))
            match decision:
                case Permit():
                    decision.keeper = self._keeper
                    return decision
                case Rejection():
                    raise RejectedError(*decision)
            answer = generation, self._ask(decision)

    def report(self, permit: Permit, verdict: Verdict, *, error: BaseException | None = None) -> bool:
        """Say how the call ended; False where that came too late to count.

        *error* is kept in words as the last failure, if *verdict* makes it one.
        """
        failure = _failure(verdict, error)
        if not self._lock.enter():
            self._deferred.append((permit, verdict, failure))
            return True
        try:
            counts = self._act(lambda now: self._machine.report(permit, verdict, failure, now))
        finally:
            self._lock.leave()
        self._announcer.tell()
        return counts

    def succeeded(self, permit: Permit) -> bool:
        """Report a success."""
        if self._clock() < permit.tick.ends and not permit.is_reported:
            permit.is_reported = True
            permit.tick.finished.append(permit.began)
            return True
        return self.report(permit, SUCCESS)

    def failed(self, permit: Permit, *, retry_after: float | None = None) -> bool:
        """Report a failure of the service, and for how many seconds it asked not to be called."""
        return self.report(permit, Verdict(Fault.SERVICE, retry_after))

    def ignored(self, permit: Permit) -> bool:
        """Report a call that says nothing of the service: not made, cancelled, or wrong in itself."""
        return self.report(permit, Verdict(Fault.CANCELLED))

    def pause(self, seconds: float) -> None:
        """Let no call through for *seconds*, as the service asked; a later end already set stays."""
        self._do(lambda now: self._machine.pause(now, seconds))

    def lock_out(self, seconds: float) -> None:
        """Open for at least *seconds*, at the most a day; a later end already set stays, and so does a forced state."""
        self._do(lambda now: self._machine.lock_out(now, min(seconds, DAY)))

    def force(self, to: Literal["open", "closed", "disabled"], seconds: float | None = None) -> None:
        """Hold it open or closed, or let all calls through uncounted, for *seconds*; None: until `release`."""
        if to not in _FORCES:
            raise ValueError(f"a breaker can be forced {', '.join(_FORCES)}, not {to!r}")
        self._do(lambda now: self._machine.hold(now, _FORCES[to], seconds))

    def release(self) -> None:
        """End a forced state: closed, with all counts begun anew."""
        self._do(self._machine.release)

    def reset(self) -> None:
        """Close now, whatever was counted or asked for; a forced state stays."""
        self._do(self._machine.reset)

    def snapshot(self) -> dict[str, object]:
        """Return, as JSON can hold it, what another process needs to go on: times as seconds left, no counts."""
        return {"version": 1, "name": self.name, **self._do(self._machine.snapshot)}

    @classmethod
    def restore(
        cls,
        snapshot: Mapping[str, object],
        trip: Trip | None = None,
        recovery: Recovery | None = None,
        *,
        elapsed: float = 0.0,
        classify: Classify = any_error,
        classify_result: ClassifyResult | None = None,
        should_probe: ShouldProbe | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] | None = None,
        on_event: OnEvent | None = None,
    ) -> Self:
        """Return a breaker that goes on from *snapshot*, taken *elapsed* seconds ago; `ValueError` if it is none.

        One that was half open is open and due: whoever probed is gone.
        """
        if snapshot.get("version") != 1 or not isinstance(snapshot.get("name"), str):
            raise ValueError("not a breaker's snapshot of version 1")
        breaker = cls(
            str(snapshot["name"]),
            trip,
            recovery,
            classify=classify,
            classify_result=classify_result,
            should_probe=should_probe,
            clock=clock,
            random=random,
            on_event=on_event,
        )
        try:
            breaker._machine.restore(snapshot, breaker._latest - max(0.0, elapsed))
        except KeyError as missing:
            raise ValueError(f"a breaker's snapshot lacks {missing}") from None
        return breaker

    def _now(self) -> float:
        """Read the clock, under the lock; one that goes back is taken to stand still."""
        self._latest = max(self._latest, self._clock())
        return self._latest

    def _admit(self, answer: tuple[int, bool] | None, now: float) -> tuple[Permit | Rejection | ProbeStats, int]:
        return self._machine.admit(now, answer), self._machine.generation

    def _do(self, act: Callable[[float], R]) -> R:
        with self._lock:
            result = self._act(act)
        self._announcer.tell()
        return result

    def _act(self, act: Callable[[float], R]) -> R:
        """Do one thing under the lock, between what time did before it and what the collector brought meanwhile."""
        now = self._now()
        self._machine.keep_up(now)
        self._report_deferred(now)
        result = act(now)
        self._report_deferred(now)
        self._machine.pace(now)
        return result

    def _report_deferred(self, now: float) -> None:
        while self._deferred:
            self._machine.report(*self._deferred.popleft(), now)

    def _ask(self, stats: ProbeStats) -> bool:
        try:
            return bool(self._should_probe(stats))
        except Exception as error:  # noqa: BLE001 — a policy's mistake is told, and must not keep the service out
            kind = type(error).__name__
        self._do(lambda now: self._machine.tell(EventKind.POLICY_FAILED, now, detail=kind))
        return stats.due_for >= self._recovery.max_open

    def _returned(self, permit: Permit, result: object) -> None:
        if permit.is_reported:
            return
        if self._classify_result is None:
            self.succeeded(permit)
        else:
            self.report(permit, self._contained(self._classify_result, result))

    def _raised(self, permit: Permit, error: BaseException) -> None:
        if not permit.is_reported:
            is_evidence = isinstance(error, Exception)
            verdict = self._contained(self._classify, error) if is_evidence else Verdict(Fault.CANCELLED)
            self.report(permit, verdict, error=error)

    def _contained(self, classify: Callable[[Any], Verdict], outcome: object) -> Verdict:
        try:
            return classify(outcome)
        except Exception as error:  # noqa: BLE001 — a classifier's mistake is told, and must not mask the outcome
            kind = type(error).__name__
        self._do(lambda now: self._machine.tell(EventKind.CLASSIFIER_FAILED, now, detail=kind))
        return Verdict(Fault.SERVICE)


def _is_async(fn: object) -> bool:
    """Whether *fn* is an ``async`` function, or an object that is called like one."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(type(fn), "__call__"))  # noqa: B004, B009 — the method itself is wanted


def _apply(fn: Callable[..., object], /, *args: object, **kwargs: object) -> object:
    return fn(*args, **kwargs) if kwargs else fn(*args)


def _apply_async(fn: Callable[..., Awaitable[object]], /, *args: object, **kwargs: object) -> Awaitable[object]:
    return fn(*args, **kwargs) if kwargs else fn(*args)


def _failure(verdict: Verdict, error: BaseException | None) -> LastFailure | None:
    """Put a failure in words; None where it was none."""
    if verdict.fault not in (Fault.SERVICE, Fault.THROTTLED, Fault.ACCOUNT):
        return None
    return LastFailure("" if error is None else type(error).__name__, _text(error), verdict.fault)


def _text(error: BaseException | None) -> str:
    try:
        return "" if error is None else str(error)[:_LONGEST_TEXT]
    except Exception:  # noqa: BLE001 — an exception that cannot say what it is says nothing
        return ""
