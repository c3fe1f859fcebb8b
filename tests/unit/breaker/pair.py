"""A breaker and its model, driven together: each action asserts that both answer alike.

A call is made by hand, or through each of the ways that guard it. Coroutines
are driven by hand too, so that guarded calls overlap as it is told, on one
thread and without a loop.
"""

import json
from asyncio import CancelledError
from collections.abc import Callable, Coroutine, Generator
from dataclasses import asdict, dataclass, field
from types import coroutine
from typing import Literal

from postman.breaker import CircuitBreaker, Event, Permit, ProbeStats, Recovery, Trip, Verdict
from tests.unit.breaker.kit import Kit, Time
from tests.unit.breaker.model import Admitted, Call, Model, Rejected, Rules

__all__ = ["AT_ONCE", "OVERLAPPING", "Ending", "Pair"]

OVERLAPPING = ("hand", "acall", "protected", "guard")
AT_ONCE = ("call", "protected", "guard")

Flight = Coroutine[object, None, str]

_TRIP = ("consecutive", "rate", "slow_after", "slow_rate", "minimum", "window")
_GIVING_UP = {"cancel": CancelledError, "close": GeneratorExit, "interrupt": KeyboardInterrupt}


class _Ended(Exception):  # noqa: N818 — an end of a call, not only an error
    """Carries what the classifier is to say; None: it is to fail."""

    def __init__(self, verdict: Verdict | None) -> None:
        self.verdict = verdict


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call is to end; a *fault* of "broken" is one over which the classifier itself stumbles."""

    fault: str
    retry_after: float | None = None
    by: Literal["cancel", "close", "interrupt"] = "cancel"

    @property
    def counted_as(self) -> str:
        return "service" if self.fault == "broken" else self.fault


@dataclass(slots=True, eq=False)
class Held:
    """A call under way."""

    call: Call
    moves: int
    """How often the breaker had moved when it began."""
    at: float
    was_probe: bool
    permit: Permit | None = None
    flight: Flight | None = None


@coroutine
def _pause() -> Generator[None, None, None]:
    yield


async def _fly() -> str:
    await _pause()
    return "landed"


def _classify(error: Exception) -> Verdict:
    assert isinstance(error, _Ended)
    if error.verdict is None:
        raise LookupError("a classifier's own mistake")
    return error.verdict


@dataclass(slots=True)
class Pair:
    """See the module. Its methods are the actions."""

    kit: Kit
    rules: Rules
    time: Time
    policy: str = "yes"
    luck: float = 0.0
    asked: int = 0
    events: list[Event] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    breaker: CircuitBreaker = field(init=False)
    model: Model = field(init=False)
    protected: Callable[[], Flight] = field(init=False)

    def __post_init__(self) -> None:
        trip, recovery = self._settings()
        self.breaker = self.kit.breaker(
            "a",
            trip,
            recovery,
            classify=_classify,
            should_probe=self._should_probe,
            clock=self.time,
            random=self._random,
            on_event=self.events.append,
        )
        self.model = Model(self.rules, self.time.now)
        self.protected = self.breaker.protect(_fly)

    def begin(self, way: str) -> None:
        """Let a call begin in one of the `OVERLAPPING` ways, and keep it if it was let through."""
        answer = self._admitted()
        permit: Permit | None = None
        flight: Flight | None = None
        try:
            if way == "hand":
                permit = self.breaker.acquire()
            else:
                flight = self._flight(way)
                flight.send(None)
        except self.kit.rejected as error:
            self._compare(answer, Rejected(str(error.state), error.retry_after))
            return
        assert isinstance(answer, Admitted), f"let through, where {answer} was due"
        if permit is not None:
            assert (permit.is_probe, permit.generation) == (answer.call.is_probe, answer.call.generation)
            assert permit.began in (self.time.now, answer.call.began)
        was_probe = self.breaker.state == "half_open"
        self.held.append(Held(answer.call, self._moved(), self.time.now, was_probe, permit, flight))
        self.check()

    def end(self, index: int, ending: Ending, *, keep: bool = False) -> None:
        """Let a call that is held end; *keep* it to be reported again, if it was made by hand."""
        held = self.held[index] if keep and self.held[index].permit else self.held.pop(index)
        expected = self.model.report(self.time.now, held.call, ending.counted_as, ending.retry_after)
        if held.permit is not None:
            assert self.breaker.report(held.permit, self._verdict(ending)) is expected
        elif held.flight is not None:
            self._land(held.flight, ending)
        self.check()

    def at_once(self, way: str, ending: Ending, inside: Callable[[], None]) -> None:
        """Make a call in one of the ways of `AT_ONCE`, *inside* being all of its work."""
        answer = self._admitted()
        error = self._error(ending)

        def work() -> str:
            inside()
            assert isinstance(answer, Admitted), f"called, where {answer} was due"
            self.model.report(self.time.now, answer.call, ending.counted_as, ending.retry_after)
            if error is not None:
                raise error
            return "landed"

        try:
            assert self._run(way, work) == "landed"
        except self.kit.rejected as rejected:
            self._compare(answer, Rejected(str(rejected.state), rejected.retry_after))
        except BaseException as raised:
            if raised is not error:
                raise
        self.check()

    def operate(self, act: str, seconds: float | None) -> None:
        """Let an operator act on both."""
        breaker, model, now = self.breaker, self.model, self.time.now
        match act, seconds:
            case ("open" | "closed" | "disabled") as to, _:
                breaker.force(to, seconds)
                model.force(now, to if to == "disabled" else f"held_{to}", seconds)
            case "release", None:
                breaker.release()
                model.release(now)
            case "reset", None:
                breaker.reset()
                model.reset(now)
            case "lock out", float():
                breaker.lock_out(seconds)
                model.lock_out(now, seconds)
            case "pause", float():
                breaker.pause(seconds)
                model.pause(now, seconds)
            case _:
                raise AssertionError(f"no such act: {act}")
        self.check()

    def take_over(self, elapsed: float) -> None:
        """Let another process go on from a snapshot, which passes through JSON; calls under way are left behind."""
        snapshot = json.loads(json.dumps(self.breaker.snapshot()))
        self.model = self.model.reborn(self.time.now, elapsed)
        self.drop()
        self.events.clear()
        self.asked = 0
        trip, recovery = self._settings()
        self.breaker = self.kit.breaker.restore(
            snapshot,
            trip,
            recovery,
            elapsed=elapsed,
            classify=_classify,
            should_probe=self._should_probe,
            clock=self.time,
            random=self._random,
            on_event=self.events.append,
        )
        self.protected = self.breaker.protect(_fly)
        self.check()

    def set_luck(self, luck: float) -> None:
        self.luck = self.model.luck = luck

    def drop(self) -> None:
        """Abandon all calls, those of a breaker that is gone."""
        for held in self.held:
            if held.flight is not None:
                held.flight.close()
        self.held.clear()

    def check(self) -> None:
        """Assert what can be seen without asking the breaker to count, which would settle what it has put off."""
        assert str(self.breaker.state) == self.model.state
        moves = [(str(e.old), str(e.new), e.generation) for e in self.events if e.kind == "moved"]
        assert moves == self.model.moves
        assert sum(e.kind == "stale" for e in self.events) == self.model.stale
        assert self.asked == self.model.asked
        fresh = [held for held in self.held if held.was_probe and held.moves == len(moves) and not held.call.is_over]
        now = self.model.now
        assert sum(now < held.call.began + self.rules.lease for held in fresh) <= self.rules.probes

    def look(self) -> None:
        """Assert that all that can be seen of the breaker is as it should be, and that looking changed nothing."""
        expected = asdict(self.model.see(self.time.now))
        for _ in range(2):
            view = self.breaker.view()
            assert {name: getattr(view, name) for name in expected} == expected
        assert self.breaker.retry_after() == expected["retry_after"]
        self.check()

    def _settings(self) -> tuple[Trip, Recovery]:
        rules = asdict(self.rules)
        trip = self.kit.trip(**{name: rules.pop(name) for name in _TRIP})
        return trip, self.kit.recovery(**rules)

    def _should_probe(self, _: ProbeStats) -> bool:
        self.asked += 1
        if self.policy == "raise":
            raise LookupError("a policy's own mistake")
        return self.policy == "yes"

    def _random(self) -> float:
        return self.luck

    def _admitted(self) -> Admitted | Rejected:
        return self.model.acquire(self.time.now, self.policy)

    def _moved(self) -> int:
        return sum(event.kind == "moved" for event in self.events)

    def _compare(self, expected: Admitted | Rejected, seen: Rejected) -> None:
        assert seen == expected
        self.check()

    def _flight(self, way: str) -> Flight:
        if way == "acall":
            return self.breaker.acall(_fly)
        return self.protected() if way == "protected" else self._fly_guarded()

    async def _fly_guarded(self) -> str:
        with self.breaker.guard():
            return await _fly()

    def _run(self, way: str, work: Callable[[], str]) -> str:
        if way == "call":
            return self.breaker.call(work)
        if way == "protected":
            return self.breaker.protect(work)()
        with self.breaker.guard():
            return work()

    def _verdict(self, ending: Ending) -> Verdict:
        return self.kit.says(ending.counted_as, ending.retry_after)

    def _error(self, ending: Ending) -> BaseException | None:
        match ending.fault:
            case "none":
                return None
            case "cancelled":
                return _GIVING_UP[ending.by]()
            case "broken":
                return _Ended(None)
        return _Ended(self._verdict(ending))

    def _land(self, flight: Flight, ending: Ending) -> None:
        """Let a flight end, and assert that its caller gets what it returned or raised, and nothing else."""
        error = self._error(ending)
        try:
            if error is None:
                flight.send(None)
            else:
                flight.throw(error)
        except StopIteration as landed:
            outcome = landed.value
        except BaseException as raised:
            if raised is not error:
                raise
            outcome = raised
        else:
            outcome = "still in the air"
        assert outcome == ("landed" if error is None else error)
