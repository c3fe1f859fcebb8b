"""What is asked of every breaker, in what order things are done, and what a good breaker does."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from traceback import walk_tb
from typing import Final

from tests.benchmarks.breaker_flights import Flight, OneAtATimeError
from tests.benchmarks.breaker_rivals import OPEN_FOR, THRESHOLD, Clocks, Contestant, IgnoredError, Rival, ServiceError

__all__ = ["NEVER_ARISES", "QUESTIONS", "Question", "answer"]

NEVER_ARISES: Final = "-"
_A_LITTLE: Final = 0.5
_HOUR: Final = 3_600.0
_HANGING: Final = 20


class Scene:
    """One breaker, its clocks, and the calls that are under way."""

    def __init__(self, contestant: Contestant, clocks: Clocks) -> None:
        self._contestant = contestant
        self._flights: list[Flight] = []
        self.clocks = clocks

    @property
    def state(self) -> str:
        return self._contestant.state()

    def begin(self) -> Flight:
        """Begin a call, and leave it under way."""
        flight = self._contestant.start()
        self._flights.append(flight)
        return flight

    def run(self, error: BaseException | None = None) -> BaseException | None:
        """Make a call that raises *error*, or returns; return what its caller sees."""
        return self.begin().end(error)

    def cancel(self) -> None:
        """Make a call that is cancelled."""
        flight = self.begin()
        flight.end(flight.cancelled())

    def is_admitted(self) -> bool:
        """Make a call that succeeds, and tell whether it was made."""
        flight = self.begin()
        flight.end()
        return flight.is_inside

    def trip(self) -> None:
        """Open it by failures in a row."""
        for _ in range(THRESHOLD):
            self.run(ServiceError())

    def trip_and_wait(self) -> None:
        """Open it, and let its time pass: the next call is a probe."""
        self.trip()
        self.clocks.advance(OPEN_FOR + _A_LITTLE)

    def failures_until_open(self) -> int:
        """Let calls fail until it is open, and count them."""
        for count in range(1, 2 * THRESHOLD + 1):
            self.run(ServiceError())
            if self.state == "open":
                return count
        return 0

    def end_all(self) -> None:
        """Let all calls end, in whichever order they can."""
        for _ in self._flights:
            for flight in self._flights:
                with suppress(OneAtATimeError):
                    flight.end()
            if all(flight.is_over for flight in self._flights):
                return


@dataclass(frozen=True, slots=True)
class Question:
    """One row of the table."""

    title: str
    done: str
    """What was done, in one line."""
    good: str
    ask: Callable[[Scene], str]


def answer(question: Question, rival: Rival) -> str:
    """Ask a new breaker of *rival*."""
    clocks = Clocks()
    with rival.contestant(clocks) as contestant:
        scene = Scene(contestant, clocks)
        try:
            return question.ask(scene)
        except OneAtATimeError:
            return f"{NEVER_ARISES} (one call at a time)"
        finally:
            scene.end_all()


def _moved(before: str, after: str) -> str:
    """Put a move in a word."""
    verbs = {"closed": "closes", "open": "opens", "half-open": "half-opens"}
    return before if before == after else verbs[after]


def _admitted_probes(scene: Scene) -> str:
    scene.trip_and_wait()
    flights = [scene.begin() for _ in range(50)]
    waiting = sum(not flight.is_inside and not flight.is_over for flight in flights)
    return f"{sum(flight.is_inside for flight in flights)}" + (f" ({waiting} wait)" if waiting else "")


def _late_success_while_open(scene: Scene) -> str:
    older = scene.begin()
    scene.trip()
    older.end()
    return _moved("open", scene.state)


def _late_success_beside_a_probe(scene: Scene) -> str:
    older = scene.begin()
    scene.trip_and_wait()
    scene.begin()
    older.end()
    return _moved("half-open", scene.state)


def _late_failure_beside_a_probe(scene: Scene) -> str:
    older = scene.begin()
    scene.trip_and_wait()
    probe = scene.begin()
    older.end(ServiceError())
    before = scene.state
    probe.end()
    return f"{before}, then {scene.state}"


def _late_failure_while_open(scene: Scene) -> str:
    older = scene.begin()
    scene.trip()
    scene.clocks.advance(OPEN_FOR / 2)
    older.end(ServiceError())
    scene.clocks.advance(OPEN_FOR / 2 + _A_LITTLE)
    return "not prolonged" if scene.is_admitted() else "prolonged"


def _cancelled_probe(scene: Scene) -> str:
    scene.trip_and_wait()
    scene.cancel()
    return _moved("half-open", scene.state)


def _ignored_probe(scene: Scene) -> str:
    scene.trip_and_wait()
    scene.run(IgnoredError())
    return _moved("half-open", scene.state)


def _cancellations(scene: Scene) -> str:
    for _ in range(THRESHOLD):
        scene.cancel()
    return _moved("closed", scene.state)


def _kept(more: int) -> str:
    return {THRESHOLD - 2: "counted as a failure", THRESHOLD - 1: "count kept", THRESHOLD: "count reset"}[more]


def _cancellation_between_failures(scene: Scene) -> str:
    scene.run(ServiceError())
    scene.cancel()
    return _kept(scene.failures_until_open())


def _ignored_between_failures(scene: Scene) -> str:
    scene.run(ServiceError())
    scene.run(IgnoredError())
    return _kept(scene.failures_until_open())


def _wall_clock_back(scene: Scene) -> str:
    scene.trip()
    scene.clocks.correct(-_HOUR)
    scene.clocks.advance(OPEN_FOR + _A_LITTLE)
    if scene.is_admitted():
        return "no effect"
    scene.clocks.advance(_HOUR)
    return "open for 1 h more" if scene.is_admitted() else "open for longer than 1 h more"


def _wall_clock_forth(scene: Scene) -> str:
    scene.trip()
    scene.clocks.correct(_HOUR)
    return "probes at once" if scene.is_admitted() else "no effect"


def _error_on_the_trip(scene: Scene) -> str:
    seen: BaseException | None = None
    for _ in range(THRESHOLD):
        error = ServiceError()
        seen = scene.run(error)
    return "original" if seen is error else f"masked by {type(seen).__name__}"


def _half_of_all_fail(scene: Scene) -> str:
    for call in range(200):
        scene.run(ServiceError() if call % 2 == 0 else None)
        if scene.state == "open":
            return "trips"
    return "never trips"


def _hanging(scene: Scene) -> str:
    for _ in range(_HANGING):
        scene.begin()
    scene.clocks.advance(20.0)
    flight = scene.begin()
    if flight.is_inside:
        return "hangs too"
    return "rejected" if flight.is_over else "waits"


def _lost_probe(scene: Scene) -> str:
    scene.trip_and_wait()
    scene.begin()
    scene.clocks.advance(100.0)
    flight = scene.begin()
    if flight.is_inside:
        return "admitted"
    return "rejected" if flight.is_over else "waits"


def _rejected_often(scene: Scene) -> str:
    scene.trip()
    first = _depth(scene.run())
    for _ in range(99):
        last = _depth(scene.run())
    return "constant" if last == first else f"{first}, {last} after 100"


def _depth(error: BaseException | None) -> int:
    return 0 if error is None else sum(1 for _ in walk_tb(error.__traceback__))


QUESTIONS: Final = (
    Question(
        "50 calls at once when half-open: admitted",
        "opened, waited 10.5 s, began 50 calls that stay inside, counted those inside",
        "1",
        _admitted_probes,
    ),
    Question(
        "late success while open",
        "began a call, opened by three others, let the first succeed, looked at the state",
        "open",
        _late_success_while_open,
    ),
    Question(
        "late success while a probe is out",
        "began a call, opened, waited, began a probe, let the first call succeed, looked at the state",
        "half-open",
        _late_success_beside_a_probe,
    ),
    Question(
        "late failure while a probe is out; then the probe succeeds",
        "as before, but let the first call fail, looked at the state, then let the probe succeed and looked again",
        "half-open, then closed",
        _late_failure_beside_a_probe,
    ),
    Question(
        "late failure while open",
        "began a call, opened, let it fail 5 s later, called again 10.5 s after the opening",
        "not prolonged",
        _late_failure_while_open,
    ),
    Question(
        "probe cancelled",
        "opened, waited, cancelled the probe (pybreaker has no coroutines: KeyboardInterrupt), looked at the state",
        "half-open",
        _cancelled_probe,
    ),
    Question(
        "three cancellations while closed",
        "cancelled three calls, looked at the state",
        "closed",
        _cancellations,
    ),
    Question(
        "cancellation between failures",
        "one failure, one cancellation, then counted the failures until it opened: 1 counted, 2 kept, 3 reset",
        "count kept",
        _cancellation_between_failures,
    ),
    Question(
        "ignored error as probe",
        "opened, waited, let the probe raise an error that was to be ignored, looked at the state",
        "half-open",
        _ignored_probe,
    ),
    Question(
        "ignored error between failures",
        "one failure, one ignored error, then counted as for the cancellation",
        "count kept",
        _ignored_between_failures,
    ),
    Question(
        "wall clock set back 1 h while open",
        "opened, set the wall clock back, waited 10.5 s, called; where rejected, once more an hour later",
        "no effect",
        _wall_clock_back,
    ),
    Question(
        "wall clock set forth 1 h while open",
        "opened, set the wall clock forth, called at once",
        "no effect",
        _wall_clock_forth,
    ),
    Question(
        "what the caller sees on the trip",
        "let three calls fail, compared what the last caller caught with what was raised (pybreaker has a switch)",
        "original",
        _error_on_the_trip,
    ),
    Question(
        "every other call fails, for ever",
        "200 calls in turn failing and succeeding, looked at the state after each",
        "trips",
        _half_of_all_fail,
    ),
    Question(
        "20 calls hang, none ended yet: one more",
        "began 20 calls, waited 20 s, began another (postman: told that 15 s are slow; the others cannot be told)",
        "rejected",
        _hanging,
    ),
    Question(
        "a probe never ends: a call 100 s later",
        "opened, waited, began a probe that stays inside, waited 100 s, began another call",
        "admitted",
        _lost_probe,
    ),
    Question(
        "frames in the traceback of a rejection",
        "opened, called 100 times at once, compared the first rejection's traceback with the last one's",
        "constant",
        _rejected_often,
    ),
)
