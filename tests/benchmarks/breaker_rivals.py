"""The breakers that are compared, each with the same settings: three failures in a row open it, for ten seconds.

The libraries are imported by name, and only when they are asked for: the project itself does not need them.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any, Final, Self

from postman.breaker import CircuitBreaker, Fault, Recovery, Trip, by_type
from tests.benchmarks.breaker_flights import CoroutineFlight, Flight, ThreadFlight

__all__ = ["OPEN_FOR", "RIVALS", "THRESHOLD", "Clocks", "Contestant", "IgnoredError", "Rival", "ServiceError"]

THRESHOLD: Final = 3
OPEN_FOR: Final = 10.0
_SLOW_AFTER: Final = 15.0


class ServiceError(Exception):
    """The service failed."""


class IgnoredError(Exception):
    """The call was wrong in itself; every library is told not to count it."""


@dataclass(slots=True)
class Clocks:
    """The two clocks of a machine, in seconds."""

    monotonic: float = 1_000.0
    wall: float = 1_700_000_000.0

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.monotonic += seconds
        self.wall += seconds

    def correct(self, seconds: float) -> None:
        """Move the wall clock alone, as an operator or a time server does."""
        self.wall += seconds

    def dates(self) -> type[datetime]:
        """Return a class `datetime` that takes the time from here."""

        class Dates(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Self:
                moment = cls.fromtimestamp(self.wall, UTC)
                return moment.replace(tzinfo=None) if tz is None else moment

            @classmethod
            def utcnow(cls) -> Self:
                return cls.now()

        return Dates


@dataclass(frozen=True, slots=True)
class Contestant:
    """One breaker under test."""

    start: Callable[[], Flight]
    state: Callable[[], str]
    """Closed, open or half-open, whatever the library calls it."""


@dataclass(frozen=True, slots=True)
class Rival:
    """A library, or one way to use it."""

    header: str
    package: str
    make: Callable[[Clocks], Contestant]
    clock_in: tuple[str, ...] = ()
    """The modules in which the library reads the time,"""
    clock_name: str = ""
    """by this name of theirs,"""
    substitute: Callable[[Clocks], object] = Clocks.dates
    """and what stands there instead."""

    @property
    def is_installed(self) -> bool:
        return find_spec(self.package) is not None

    @contextmanager
    def contestant(self, clocks: Clocks) -> Iterator[Contestant]:
        """A new breaker that takes the time from *clocks*."""
        modules = [import_module(name) for name in self.clock_in]
        originals = [getattr(module, self.clock_name) for module in modules]
        for module in modules:
            setattr(module, self.clock_name, self.substitute(clocks))
        try:
            yield self.make(clocks)
        finally:
            for module, original in zip(modules, originals, strict=True):
                setattr(module, self.clock_name, original)


def _state(name: object) -> str:
    known = {"working": "closed", "failing": "open", "recovering": "half-open", "opened": "open"}
    word = str(name).lower().replace("_", "-")
    return known.get(word, word.replace("half-opened", "half-open"))


def _postman(clocks: Clocks) -> Contestant:
    breaker = CircuitBreaker(
        "service",
        Trip(consecutive=THRESHOLD, slow_after=_SLOW_AFTER),
        Recovery(open_for=OPEN_FOR, jitter=0, successes=1),
        classify=by_type({IgnoredError: Fault.CALL}),
        clock=lambda: clocks.monotonic,
    )
    return Contestant(partial(CoroutineFlight, breaker.acall), lambda: _state(breaker.state))


def _pybreaker(clocks: Clocks) -> Contestant:
    breaker = import_module("pybreaker").CircuitBreaker(
        fail_max=THRESHOLD, reset_timeout=OPEN_FOR, exclude=[IgnoredError]
    )
    return Contestant(partial(ThreadFlight, breaker.call), lambda: _state(breaker.current_state))


def _circuitbreaker(clocks: Clocks) -> Contestant:
    breaker = import_module("circuitbreaker").CircuitBreaker(
        failure_threshold=THRESHOLD, recovery_timeout=OPEN_FOR, expected_exception=ServiceError, name="service"
    )
    return Contestant(partial(CoroutineFlight, lambda body: breaker(body)()), lambda: _state(breaker.state))


def _aiobreaker(clocks: Clocks) -> Contestant:
    breaker = import_module("aiobreaker").CircuitBreaker(
        fail_max=THRESHOLD, timeout_duration=timedelta(seconds=OPEN_FOR), exclude=[IgnoredError]
    )
    return Contestant(partial(CoroutineFlight, breaker.call_async), lambda: _state(breaker.current_state.name))


def _purgatory(clocks: Clocks) -> Contestant:
    factory = import_module("purgatory").AsyncCircuitBreakerFactory(
        default_threshold=THRESHOLD, default_ttl=OPEN_FOR, exclude=[IgnoredError]
    )
    breaker = _result(factory.get_breaker("service"))
    start = partial(CoroutineFlight, lambda body: factory("service")(body)())
    return Contestant(start, lambda: _state(breaker.context.state))


def _hyx(clocks: Clocks, *, by_with: bool) -> Contestant:
    breaker = import_module("hyx.circuitbreaker").consecutive_breaker(
        exceptions=ServiceError, failure_threshold=THRESHOLD, recovery_time_secs=OPEN_FOR, recovery_threshold=1
    )

    async def inside(body: Callable[[], Awaitable[None]]) -> None:
        if by_with:
            async with breaker:
                await body()
        else:
            await breaker(body)()

    start = partial(CoroutineFlight, inside)
    return Contestant(start, lambda: _state(breaker.state.name))


def _result(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return what a coroutine that waits for nothing returns."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("the coroutine waits for something")


def _monotonic(clocks: Clocks) -> Callable[[], float]:
    return lambda: clocks.monotonic


def _time(clocks: Clocks) -> SimpleNamespace:
    return SimpleNamespace(time=lambda: clocks.wall)


_HYX_STATES: Final = ("hyx.circuitbreaker.states",)

RIVALS: Final = (
    Rival("postman", "postman", _postman),
    Rival("pybreaker", "pybreaker", _pybreaker, ("pybreaker",), "datetime"),
    Rival("circuitbreaker", "circuitbreaker", _circuitbreaker, ("circuitbreaker",), "monotonic", _monotonic),
    Rival("aiobreaker", "aiobreaker", _aiobreaker, ("aiobreaker.circuitbreaker", "aiobreaker.state"), "datetime"),
    Rival("purgatory", "purgatory", _purgatory, ("purgatory.domain.model",), "time", _time),
    Rival("hyx", "hyx", partial(_hyx, by_with=False), _HYX_STATES, "datetime"),
    Rival("hyx `async with`", "hyx", partial(_hyx, by_with=True), _HYX_STATES, "datetime"),
)
