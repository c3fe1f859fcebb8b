"""What every check of the breaker is handed: the package under test, and a clock to be set.

A check that takes a `Kit` can be run against a breaker with a fault planted in
it, and so be seen to fail.
"""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from types import ModuleType

from postman import breaker as true_package
from postman.breaker import CircuitBreaker, Classify, Fault, Recovery, RejectedError, ShouldProbe, Trip, Verdict
from postman.breaker.events import OnEvent

__all__ = ["TRUE", "Kit", "Time", "in_time", "is_rejected", "kit_of", "open_it", "take"]


@dataclass(frozen=True, slots=True)
class Kit:
    """The names of one breaker's package that checks use."""

    breaker: type[CircuitBreaker]
    trip: type[Trip]
    recovery: type[Recovery]
    verdict: type[Verdict]
    fault: type[Fault]
    rejected: type[RejectedError]

    def make(
        self,
        clock: "Time",
        trip: Trip | None = None,
        recovery: Recovery | None = None,
        *,
        classify: Classify | None = None,
        should_probe: ShouldProbe | None = None,
        on_event: OnEvent | None = None,
    ) -> CircuitBreaker:
        """Return a breaker that opens after 3 failures in a row, for 8 s without jitter, unless told otherwise."""
        return self.breaker(
            "a",
            trip or self.trip(consecutive=3),
            recovery or self.recovery(open_for=8.0, jitter=0.0, successes=1),
            classify=classify or (lambda _: self.says("service")),
            should_probe=should_probe,
            clock=clock,
            on_event=on_event,
        )

    def says(self, fault: str, retry_after: float | None = None) -> Verdict:
        """Return a verdict of the package under test."""
        return self.verdict(self.fault(fault), retry_after)


def kit_of(package: ModuleType) -> Kit:
    """Return the names of *package*, a breaker's."""
    return Kit(
        breaker=package.CircuitBreaker,
        trip=package.Trip,
        recovery=package.Recovery,
        verdict=package.Verdict,
        fault=package.Fault,
        rejected=package.RejectedError,
    )


TRUE = kit_of(true_package)


@dataclass(slots=True)
class Time:
    """A clock to be set."""

    now: float = 1024.0

    def __call__(self) -> float:
        return self.now


def is_rejected(kit: Kit, breaker: CircuitBreaker) -> bool:
    """Whether a call is turned away now; one that is let through is ignored."""
    try:
        permit = breaker.acquire()
    except kit.rejected:
        return True
    breaker.ignored(permit)
    return False


def take(breaker: CircuitBreaker, *, failures: int = 0, successes: int = 0) -> None:
    """Make so many calls, one after another, by hand: first those that succeed."""
    for _ in range(successes):
        breaker.succeeded(breaker.acquire())
    for _ in range(failures):
        breaker.failed(breaker.acquire())


def open_it(breaker: CircuitBreaker) -> None:
    """Let it trip, as `Kit.make` made it."""
    take(breaker, failures=3)


def in_time(work: Callable[[], object], limit: float = 5.0) -> None:
    """Do *work* on a thread of its own, and assert that it does not wait for ever; raise what it raises."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 — it is raised again by the one who waits
            raised.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit)
    assert not thread.is_alive(), "it waits for ever"
    if raised:
        raise raised[0]
