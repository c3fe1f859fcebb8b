"""What a breaker must do, told a second time and more simply.

It shares no code with the breaker and imports nothing of it. It keeps every
call and every report, and counts them all again for each decision.
"""

from dataclasses import dataclass, field
from math import inf

__all__ = ["Admitted", "Call", "Model", "Rejected", "Rules", "Sight"]

_DAY = 86_400.0
_HELD = ("held_open", "held_closed", "disabled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings of a breaker, as its users write them."""

    consecutive: int | None
    rate: float | None
    slow_after: float | None
    slow_rate: float
    minimum: int
    window: float
    open_for: float
    factor: float
    max_open: float
    jitter: float
    probes: int
    successes: int
    lease: float
    locked_for: float
    max_retry_after: float


@dataclass(slots=True, eq=False)
class Call:
    """One call that was let through."""

    began: float
    generation: int
    is_probe: bool
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class _Report:
    at: float
    generation: int
    has_failed: bool
    was_slow: bool


@dataclass(frozen=True, slots=True)
class Admitted:
    call: Call


@dataclass(frozen=True, slots=True)
class Rejected:
    state: str
    retry_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What can be seen of a breaker."""

    state: str
    generation: int
    since: float
    retry_after: float
    paused_for: float
    successes: int
    failures: int
    slow: int
    running: int
    overdue: int
    failures_in_row: int
    probes_out: int
    probes_failed: int
    rejected: int
    stale: int


@dataclass(slots=True)
class Model:
    """A breaker as it should be. Each method is told the time that the clock shows."""

    rules: Rules
    now: float
    luck: float = 0.0
    """What the next random number will be."""
    state: str = "closed"
    generation: int = 0
    since: float = 0.0
    until: float = -inf
    paused_until: float = -inf
    row: int = 0
    good: int = 0
    probes_failed: int = 0
    rejected: int = 0
    stale: int = 0
    asked: int = 0
    calls: list[Call] = field(default_factory=list)
    reports: list[_Report] = field(default_factory=list)
    moves: list[tuple[str, str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.since = self.now

    def acquire(self, clock: float, policy: str) -> Admitted | Rejected:
        """Let a call through or not; *policy* is "yes", "no" or "raise"."""
        self._act(clock)
        if self.state == "closed" and self._overdue() and self._is_too_slow():
            self._open()
        if (wait := self.wait(clock)) > 0:
            return self._reject(wait)
        if self.state == "open":
            if not self._is_probe_wanted(policy):
                return self._reject(min(1.0, self.rules.open_for))
            self._move("half_open")
        call = Call(self.now, self.generation, is_probe=self.state == "half_open")
        self.calls.append(call)
        return Admitted(call)

    def report(self, clock: float, call: Call, fault: str, retry_after: float | None = None) -> bool:
        """Say how a call ended; False where it counts for nothing."""
        self._act(clock)
        if not self._is_fresh(call):
            self.stale += 1
            return False
        call.is_over = True
        is_slow = self.rules.slow_after is not None and self.now - call.began >= self.rules.slow_after
        if call.is_probe:
            self._probe_ended(fault, retry_after, is_slow=is_slow)
        elif self.state != "disabled":
            self._call_ended(fault, retry_after, is_slow=is_slow)
        return True

    def wait(self, clock: float) -> float:
        """Return how long a call must wait at least."""
        self.now = max(self.now, clock)
        left, paused = max(0.0, self.until - self.now), max(0.0, self.paused_until - self.now)
        if self.state in _HELD:
            return left if self.state == "held_open" else 0.0
        if self.state == "half_open":
            ends = sorted(call.began + self.rules.lease for call in self._probes_out())
            return max(paused, ends[0] - self.now if len(ends) >= self.rules.probes else 0.0)
        return max(left, paused) if self.state == "open" else paused

    def force(self, clock: float, state: str, seconds: float | None) -> None:
        self._act(clock)
        self._move(state, until=inf if seconds is None else self.now + seconds)

    def release(self, clock: float) -> None:
        self._act(clock)
        if self.state in _HELD:
            self._move("closed")

    def reset(self, clock: float) -> None:
        self._act(clock)
        if self.state not in _HELD:
            self.paused_until = -inf
            self._move("closed")

    def lock_out(self, clock: float, seconds: float) -> None:
        self._act(clock)
        self._lock_out(min(seconds, _DAY))

    def pause(self, clock: float, seconds: float) -> None:
        self._act(clock)
        self._pause(seconds)

    def see(self, clock: float) -> Sight:
        """Return all that can be seen, which changes nothing."""
        wait = self.wait(clock)
        counted = self._counted()
        return Sight(
            state=self.state,
            generation=self.generation,
            since=self.now - self.since,
            retry_after=wait,
            paused_for=max(0.0, self.paused_until - self.now),
            successes=sum(not report.has_failed for report in counted),
            failures=sum(report.has_failed for report in counted),
            slow=sum(report.was_slow for report in counted),
            running=len(self._running()),
            overdue=self._overdue(),
            failures_in_row=self.row,
            probes_out=len(self._probes_out()),
            probes_failed=self.probes_failed,
            rejected=self.rejected,
            stale=self.stale,
        )

    def reborn(self, clock: float, elapsed: float) -> "Model":
        """Return what another process knows after it took over, *elapsed* seconds later on its own clock."""
        self._act(clock)
        other = Model(self.rules, clock, self.luck)
        other.state = "open" if self.state == "half_open" else self.state
        other.until = clock - elapsed + max(0.0, self.until - self.now)
        if self.paused_until > self.now:
            other.paused_until = clock - elapsed + self.paused_until - self.now
        other.row, other.probes_failed = self.row, self.probes_failed
        return other

    def _act(self, clock: float) -> None:
        self.now = max(self.now, clock)
        if self.state in _HELD and self.now >= self.until:
            self._move("closed")

    def _move(self, state: str, *, until: float = -inf) -> None:
        if state not in ("open", "half_open"):
            self.probes_failed = 0
        self.generation += 1
        self.moves.append((self.state, state, self.generation))
        self.state, self.since, self.until = state, self.now, until
        self.row = self.good = 0

    def _open(self) -> None:
        if self.state == "held_closed":
            return
        rules = self.rules
        period = min(rules.open_for * rules.factor**self.probes_failed, rules.max_open)
        own = self.now + period * (1 - rules.jitter * self.luck)
        self._move("open", until=max(own, self.paused_until))

    def _lock_out(self, seconds: float) -> None:
        until = max(self.now + seconds, self.paused_until)
        if self.state == "open":
            self.until = max(self.until, until)
        elif self.state not in _HELD:
            self._move("open", until=until)

    def _pause(self, seconds: float) -> None:
        self.paused_until = max(self.paused_until, self.now + min(seconds, self.rules.max_retry_after))

    def _reject(self, wait: float) -> Rejected:
        self.rejected += 1
        return Rejected(self.state, wait)

    def _is_probe_wanted(self, policy: str) -> bool:
        self.asked += 1
        is_overdue = self.now - max(self.until, self.paused_until) >= self.rules.max_open
        return policy == "yes" or (policy == "raise" and is_overdue)

    def _is_fresh(self, call: Call) -> bool:
        if call.is_over or call.generation != self.generation:
            return False
        return not call.is_probe or self.now < call.began + self.rules.lease

    def _call_ended(self, fault: str, retry_after: float | None, *, is_slow: bool) -> None:
        if fault not in ("none", "service"):
            self._ended_otherwise(fault, retry_after)
            return
        has_failed = fault == "service"
        self.reports.append(_Report(self.now, self.generation, has_failed, is_slow))
        self.row = self.row + 1 if has_failed else 0
        if has_failed and (retry_after or 0) > 0:
            self._pause(retry_after or 0)
        if (has_failed or is_slow) and self._is_too_much():
            self._open()

    def _probe_ended(self, fault: str, retry_after: float | None, *, is_slow: bool) -> None:
        if fault == "service" or (fault == "none" and is_slow):
            if fault == "service" and (retry_after or 0) > 0:
                self._pause(retry_after or 0)
            self.probes_failed += 1
            self._open()
        elif fault == "none":
            self.good += 1
            if self.good >= self.rules.successes:
                self._move("closed")
        else:
            self._ended_otherwise(fault, retry_after)

    def _ended_otherwise(self, fault: str, retry_after: float | None) -> None:
        named = retry_after if retry_after is not None and retry_after > 0 else None
        if fault == "throttled":
            self._pause(self.rules.open_for if named is None else named)
        elif fault == "account":
            self._lock_out(max(self.rules.locked_for, min(named or 0.0, _DAY)))

    def _is_too_much(self) -> bool:
        rules, counted = self.rules, self._counted()
        failures = sum(report.has_failed for report in counted)
        if rules.consecutive is not None and self.row >= rules.consecutive:
            return True
        if rules.rate is not None and len(counted) >= rules.minimum and failures >= rules.rate * len(counted):
            return True
        return rules.slow_after is not None and self._is_too_slow()

    def _is_too_slow(self) -> bool:
        counted, overdue = self._counted(), self._overdue()
        slow, total = sum(report.was_slow for report in counted) + overdue, len(counted) + overdue
        return total >= self.rules.minimum and slow >= self.rules.slow_rate * total

    def _counted(self) -> list[_Report]:
        newest = self._bucket(self.now)
        fresh = [report for report in self.reports if report.generation == self.generation]
        return [report for report in fresh if newest - 10 < self._bucket(report.at)]

    def _bucket(self, moment: float) -> int:
        return int(moment // (self.rules.window / 10))

    def _running(self) -> list[Call]:
        rules = self.rules
        forgotten = max(rules.window, rules.lease, 2 * (rules.slow_after or 0.0))
        mine = [call for call in self.calls if call.generation == self.generation and not call.is_over]
        return [call for call in mine if self.now - call.began < forgotten]

    def _overdue(self) -> int:
        slow_after = self.rules.slow_after
        return 0 if slow_after is None else sum(self.now - call.began >= slow_after for call in self._running())

    def _probes_out(self) -> list[Call]:
        mine = [call for call in self.calls if call.is_probe and call.generation == self.generation]
        return [call for call in mine if not call.is_over and self.now < call.began + self.rules.lease]
