"""What a breaker decides, given the time. It has no lock, no clock and no callbacks: its owner has.

Every move raises the *generation*, which a call carries: the report of a call
that began in another generation counts for nothing. A probe that reports after
its lease counts for nothing either. A pause, which the service itself asked for,
stands beside the state: it lets nobody through, and is no failure.
"""

from collections.abc import Callable, Mapping
from math import inf
from typing import Final

from postman.breaker.events import Event, EventKind
from postman.breaker.permit import Permit, Rejection
from postman.breaker.probing import ProbeStats
from postman.breaker.rules import Recovery, Trip
from postman.breaker.running import Running
from postman.breaker.states import HELD, State, Trigger, next_state
from postman.breaker.verdicts import Fault, LastFailure, Verdict
from postman.breaker.view import View
from postman.breaker.window import Counts, Window

__all__ = ["DAY", "Machine"]

DAY: Final = 86_400.0
_DECLINED: Final = 1.0
"""A policy that said no to one call may say yes to one a second later."""


def _seconds(value: object) -> float:
    """Return a number of a snapshot, or raise `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < inf:
        raise ValueError(f"a breaker's snapshot holds {value!r} where a number from 0 on belongs")
    return float(value)


class Machine:
    """See the module. *now* never goes back; its owner sees to that."""

    def __init__(
        self,
        name: str,
        trip: Trip,
        recovery: Recovery,
        *,
        now: float,
        random: Callable[[], float],
        note: Callable[[Event], None],
    ) -> None:
        self.name = name
        self.state = State.CLOSED
        self.generation = 0
        self.last_failure: LastFailure | None = None
        self._trip = trip
        self._recovery = recovery
        self._random = random
        self._note = note
        self._window = Window(trip.window)
        slow_after = inf if trip.slow_after is None else trip.slow_after
        forget_after = max(trip.window, recovery.lease, 0.0 if slow_after == inf else 2 * slow_after)
        self.running = Running(
            self._window, slow_after=slow_after, forget_after=forget_after, bucket=trip.window / Window.BUCKETS
        )
        self._slow_after = slow_after
        self._since = now
        self._failing_since = now
        self._failures_in_row = 0
        self._probes: dict[Permit, float] = {}
        self._probes_good = 0
        self._probes_failed = 0
        self._until = now
        self._paused_until = -inf
        self._rejected = 0
        self._rejected_before = 0
        self._stale = 0

    def keep_up(self, now: float) -> None:
        """Do what time alone does; to be called before anything else that moves it."""
        if self.state in HELD and now >= self._until:
            self._move(now, Trigger.RELEASED)
        if not self._probes:
            return
        for permit in [permit for permit, ends in self._probes.items() if ends <= now]:
            del self._probes[permit]
            self.tell(EventKind.PROBE_LOST, now)

    def admit(self, now: float, answer: tuple[int, bool] | None) -> Permit | Rejection | ProbeStats:
        """Let a call through, or not, or ask whether it may be the probe.

        *answer* is what the policy said to that question, with the generation in which it was asked.
        """
        if self.state in (State.CLOSED, State.HELD_CLOSED):
            self._trip_if_overdue(now)
        wait = self.wait(now)
        if wait > 0:
            return self._reject(wait)
        match self.state:
            case State.OPEN:
                return self._admit_probe(now, answer)
            case State.HALF_OPEN:
                return self._probe(now)
        return Permit(self.running.begin(now), now)

    def report(self, permit: Permit, verdict: Verdict, failure: LastFailure | None, now: float) -> bool:
        """Count how a call ended; False where it came too late to count. *failure* is that in words, if it was one."""
        self.running.turn(now)
        if (
            permit.is_reported
            or permit.generation != self.generation
            or (permit.is_probe and permit not in self._probes)
        ):
            self._stale += 1
            self.tell(EventKind.STALE, now, detail=str(verdict.fault))
            return False
        permit.is_reported = True
        self.last_failure = failure or self.last_failure
        self.running.end(permit.tick, permit.began)
        is_slow = now - max(permit.began, permit.tick.opened) >= self._slow_after
        if permit.is_probe:
            del self._probes[permit]
            self._probe_ended(verdict, now, is_slow=is_slow)
        elif self.state is not State.DISABLED:
            self._call_ended(verdict, now, is_slow=is_slow)
        return True

    def wait(self, now: float) -> float:
        """Return the seconds until a call may go through, as far as that is known; 0 where one may now."""
        match self.state:
            case State.HELD_OPEN:
                return max(0.0, self._until - now)
            case State.HELD_CLOSED | State.DISABLED:
                return 0.0
            case State.OPEN:
                return max(0.0, self._until - now, self._paused_until - now)
            case State.HALF_OPEN:
                return max(self._wait_for_place(now), self._paused_until - now)
        return max(0.0, self._paused_until - now)

    def pace(self, now: float) -> None:
        """Let calls pass without the lock where nothing could become of them but a success to count."""
        is_held = self.state is State.HELD_CLOSED
        lets_through = is_held or (self.state is State.CLOSED and self._paused_until <= now)
        if lets_through and not self._failures_in_row:
            self.running.speed_up(now, latest=self._until if is_held else inf)
        else:
            self.running.slow_down()

    def pause(self, now: float, seconds: float) -> None:
        """Let nobody through for *seconds*, or until a later time already set."""
        until = now + min(seconds, self._recovery.max_retry_after)
        if until > self._paused_until:
            self._paused_until = until
            self.tell(EventKind.PAUSED, now)

    def lock_out(self, now: float, seconds: float) -> None:
        """Open, if it is not forced, for *seconds* at least."""
        if self.state in HELD:
            return
        until = max(now + seconds, self._paused_until)
        if self.state is State.OPEN:
            self._until = max(self._until, until)
        else:
            self._move(now, Trigger.LOCKED_OUT, until=until)

    def hold(self, now: float, trigger: Trigger, seconds: float | None) -> None:
        """Force it, for *seconds*; None: until it is released."""
        self._move(now, trigger, until=inf if seconds is None else now + seconds)

    def release(self, now: float) -> None:
        """End a forced state."""
        if self.state in HELD:
            self._move(now, Trigger.RELEASED)

    def reset(self, now: float) -> None:
        """Close, whatever was counted or asked for; a forced state stays."""
        if self.state not in HELD:
            self._paused_until = -inf
            self._move(now, Trigger.RESET)

    def _stats(self, now: float) -> ProbeStats:
        return ProbeStats(
            name=self.name,
            failed_for=now - self._failing_since,
            due_for=now - max(self._until, self._paused_until),
            rejected=self._rejected - self._rejected_before,
            probes_failed=self._probes_failed,
            last=self.last_failure,
        )

    def view(self, now: float) -> View:
        """Return all that can be seen; moves nothing."""
        counts = self._counts(now)
        return View(
            name=self.name,
            state=self.state,
            generation=self.generation,
            since=now - self._since,
            retry_after=self.wait(now),
            paused_for=max(0.0, self._paused_until - now),
            successes=counts.successes,
            failures=counts.failures,
            slow=counts.slow,
            running=self.running.count(now),
            overdue=self.running.overdue(now),
            failures_in_row=self._failures_in_row,
            probes_out=sum(ends > now for ends in self._probes.values()),
            probes_failed=self._probes_failed,
            rejected=self._rejected,
            stale=self._stale,
            last_failure=self.last_failure,
        )

    def snapshot(self, now: float) -> dict[str, object]:
        """Return what outlives a process: not the counts, and no call that runs."""
        is_endless = self._until == inf
        return {
            "state": str(State.OPEN if self.state is State.HALF_OPEN else self.state),
            "left": None if is_endless else max(0.0, self._until - now),
            "paused_for": max(0.0, self._paused_until - now),
            "failures_in_row": self._failures_in_row,
            "probes_failed": self._probes_failed,
            "failing_for": now - self._failing_since if self.state in (State.OPEN, State.HALF_OPEN) else 0.0,
        }

    def restore(self, saved: Mapping[str, object], now: float) -> None:
        """Take over what `snapshot` returned, *now* being the moment at which it was taken."""
        self.state = State(str(saved["state"]))
        left, paused = saved["left"], _seconds(saved["paused_for"])
        self._until = inf if left is None else now + _seconds(left)
        self._paused_until = now + paused if paused > 0 else -inf
        self._failures_in_row = int(_seconds(saved["failures_in_row"]))
        self._probes_failed = int(_seconds(saved["probes_failed"]))
        self._failing_since = now - _seconds(saved["failing_for"])

    def tell(
        self, kind: EventKind, now: float, *, old: State | None = None, trigger: Trigger | None = None, detail: str = ""
    ) -> None:
        """Note an event."""
        self._note(
            Event(self.name, kind, now, old or self.state, self.state, self.generation, trigger, self.wait(now), detail)
        )

    def _admit_probe(self, now: float, answer: tuple[int, bool] | None) -> Permit | Rejection | ProbeStats:
        if answer is None or answer[0] != self.generation:
            return self._stats(now)
        if not answer[1]:
            return self._reject(min(_DECLINED, self._recovery.open_for))
        self._move(now, Trigger.PROBE_ADMITTED)
        return self._probe(now)

    def _probe(self, now: float) -> Permit:
        permit = Permit(self.running.begin(now), now, is_probe=True)
        self._probes[permit] = now + self._recovery.lease
        return permit

    def _wait_for_place(self, now: float) -> float:
        leases = sorted(ends for ends in self._probes.values() if ends > now)
        return leases[0] - now if len(leases) >= self._recovery.probes else 0.0

    def _reject(self, wait: float) -> Rejection:
        self._rejected += 1
        return Rejection(self.name, self.state, wait, self.last_failure)

    def _call_ended(self, verdict: Verdict, now: float, *, is_slow: bool) -> None:
        match verdict.fault:
            case Fault.NONE:
                self._failures_in_row = 0
                self._window.add(now, successes=1, slow=int(is_slow))
            case Fault.SERVICE:
                self._failures_in_row += 1
                self._window.add(now, failures=1, slow=int(is_slow))
                self._heed(verdict, now)
            case _:
                self._ended_otherwise(verdict, now)
                return
        if (verdict.fault is Fault.SERVICE or is_slow) and self._is_too_much(now):
            self._open(now, Trigger.TRIPPED)

    def _probe_ended(self, verdict: Verdict, now: float, *, is_slow: bool) -> None:
        match verdict.fault:
            case Fault.NONE if not is_slow:
                self._probes_good += 1
                if self._probes_good >= self._recovery.successes:
                    self._probes_failed = 0
                    self._move(now, Trigger.RECOVERED)
            case Fault.NONE | Fault.SERVICE:
                if verdict.fault is Fault.SERVICE:
                    self._heed(verdict, now)
                self._probes_failed += 1
                self._open(now, Trigger.PROBE_FAILED)
            case _:
                self._ended_otherwise(verdict, now)

    def _ended_otherwise(self, verdict: Verdict, now: float) -> None:
        """Neither a success nor a failure of the service."""
        if verdict.fault is Fault.THROTTLED:
            asked = verdict.retry_after or 0.0
            self.pause(now, asked if asked > 0 else self._recovery.open_for)
        elif verdict.fault is Fault.ACCOUNT:
            self.lock_out(now, max(self._recovery.locked_for, min(verdict.retry_after or 0.0, DAY)))

    def _heed(self, verdict: Verdict, now: float) -> None:
        if verdict.retry_after is not None and verdict.retry_after > 0:
            self.pause(now, verdict.retry_after)

    def _trip_if_overdue(self, now: float) -> None:
        self.running.turn(now)
        overdue = self.running.overdue(now)
        if overdue and self._is_too_slow(self._counts(now), overdue):
            problem = f"{overdue} calls run for {self._slow_after:g} s or more"
            self.last_failure = LastFailure("", problem, Fault.SERVICE)
            self._open(now, Trigger.TRIPPED)

    def _is_too_much(self, now: float) -> bool:
        consecutive, rate = self._trip.consecutive, self._trip.rate
        if consecutive is not None and self._failures_in_row >= consecutive:
            return True
        counts = self._counts(now)
        if rate is not None and counts.total >= self._trip.minimum and counts.failures >= rate * counts.total:
            return True
        return self._slow_after < inf and self._is_too_slow(counts, self.running.overdue(now))

    def _counts(self, now: float) -> Counts:
        self.running.catch_up()
        return self._window.counts(now)

    def _is_too_slow(self, counts: Counts, overdue: int) -> bool:
        total = counts.total + overdue
        return total >= self._trip.minimum and counts.slow + overdue >= self._trip.slow_rate * total

    def _open(self, now: float, trigger: Trigger) -> None:
        if self.state is State.HELD_CLOSED:
            return
        self._move(now, trigger, until=max(now + self._period(), self._paused_until))

    def _period(self) -> float:
        """Return how long it stays open; found step by step, since a power may be too large for a float."""
        period = self._recovery.open_for
        for _ in range(self._probes_failed):
            if period >= self._recovery.max_open or self._recovery.factor == 1:
                break
            period *= self._recovery.factor
        return min(period, self._recovery.max_open) * (1 - self._recovery.jitter * self._random())

    def _move(self, now: float, trigger: Trigger, *, until: float = -inf) -> None:
        old, new = self.state, next_state(self.state, trigger)
        if old is State.CLOSED:
            self._failing_since = now
        if new is not State.HALF_OPEN and new is not State.OPEN:
            self._probes_failed = 0
        self.state = new
        self.generation += 1
        self._since = now
        self._failures_in_row = 0
        self._probes.clear()
        self._probes_good = 0
        self._rejected_before = self._rejected
        self._until = until
        self._window.clear()
        self.running.clear(self.generation)
        self.tell(EventKind.MOVED, now, old=old, trigger=trigger)
