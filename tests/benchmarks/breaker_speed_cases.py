"""What `breaker_speed` measures: each way of each library, in the states in which a breaker can be.

Every case is one statement in the same loop. Ours has all it can do switched on: both shares, the row, slow calls.
"""

import gc
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from itertools import count, repeat
from textwrap import indent
from time import perf_counter
from types import ModuleType
from typing import Any, Final

from postman.breaker import CircuitBreaker, Recovery, RejectedError, Trip

__all__ = ["OURS", "Case", "Kind", "cases"]

OURS: Final = "postman"
_NEVER: Final = 10**9
_LOOP: Final = """
{how} loop(count, clock, repeat):
    began = clock()
    for _ in repeat(None, count):
{statement}
    return clock() - began
"""
_CAUGHT: Final = "try:\n    {call}\nexcept error:\n    pass"

_FORGOTTEN: Final = "try:\n    guarded()\nexcept error as rejection:\n    rejection.__traceback__ = None"
"""For one that raises the same exception each time, whose traceback grows until the memory is full."""


class Kind(StrEnum):
    """What happens to each call."""

    SYNC = "successful call"
    ASYNC = "successful await"
    FAILURE = "failing call"
    PROBE = "successful probe"
    REJECTION = "rejected call"


class ServiceError(Exception):
    """The service failed."""


@dataclass(frozen=True, slots=True)
class Case:
    """One statement, with the names in it."""

    kind: Kind
    library: str
    way: str
    statement: str
    names: dict[str, Any]

    def runner(self) -> Callable[[int], float]:
        """Return what runs the statement so many times, and returns the seconds that it took."""
        is_async = "await " in self.statement or "async " in self.statement
        source = _LOOP.format(how="async def" if is_async else "def", statement=indent(self.statement, " " * 8))
        names = dict(self.names)
        exec(compile(source, "<case>", "exec"), names)
        loop = names["loop"]
        return lambda calls: _without_gc(loop, calls, is_async=is_async)


def cases() -> Iterator[Case]:
    """Yield those whose library is installed, each with a new breaker."""
    yield Case(Kind.SYNC, "bare", "", "work()", {"work": work})
    yield Case(Kind.ASYNC, "bare", "", "await work()", {"work": awork})
    yield Case(Kind.FAILURE, "bare", "", _CAUGHT.format(call="fail()"), {"fail": fail, "error": ServiceError})
    for package, make in _LIBRARIES.items():
        if find_spec(package) is not None:
            yield from make(import_module(package))


def work() -> int:
    return 1


async def awork() -> int:
    return 1


def fail() -> int:
    raise ServiceError


async def afail() -> int:
    raise ServiceError


def _without_gc(loop: Callable[..., Any], calls: int, *, is_async: bool) -> float:
    gc.disable()
    try:
        took = loop(calls, perf_counter, repeat)
        return float(_result(took) if is_async else took)
    finally:
        gc.enable()


def _result(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return what a coroutine that waits for nothing returns."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("the coroutine waits for something")


def _open(call: Callable[[], object]) -> None:
    """Let *call* fail once, whatever the library makes of it."""
    with suppress(Exception):
        call()


def _failures(library: str, way: str, call: str, error: type[BaseException], **names: object) -> Case:
    return Case(Kind.FAILURE, library, way, _CAUGHT.format(call=call), names | {"error": error})


def _rejections(library: str, way: str, call: str, error: type[BaseException], **names: object) -> Case:
    return Case(Kind.REJECTION, library, way, _CAUGHT.format(call=call), names | {"error": error})


def _ours(trip: Trip | None = None, recovery: Recovery | None = None) -> CircuitBreaker:
    return CircuitBreaker("service", trip or Trip(slow_after=1.0), recovery)


def _postman(_: ModuleType) -> Iterator[Case]:
    def names() -> dict[str, Any]:
        breaker = _ours()
        return {"breaker": breaker, "work": work, "guarded": breaker.protect(work)}

    def anames() -> dict[str, Any]:
        breaker = _ours()
        return {"breaker": breaker, "work": awork, "guarded": breaker.protect(awork)}

    yield Case(Kind.SYNC, OURS, "decorator", "guarded()", names())
    yield Case(Kind.SYNC, OURS, "`call`", "breaker.call(work)", names())
    yield Case(Kind.SYNC, OURS, "`with`", "with breaker.guard():\n    work()", names())
    by_hand = "permit = breaker.acquire()\nwork()\nbreaker.succeeded(permit)"
    yield Case(Kind.SYNC, OURS, "by hand", by_hand, names())
    yield Case(Kind.ASYNC, OURS, "decorator", "await guarded()", anames())
    yield Case(Kind.ASYNC, OURS, "`acall`", "await breaker.acall(work)", anames())
    yield Case(Kind.ASYNC, OURS, "`with`", "with breaker.guard():\n    await work()", anames())
    apart = CircuitBreaker("service", Trip(slow_after=1.0), clock=count(step=0.2).__next__)
    yield Case(Kind.SYNC, OURS, "decorator, calls 0.2 s apart", "guarded()", {"guarded": apart.protect(work)})
    yield from _postman_paths()


def _postman_paths() -> Iterator[Case]:
    lasting = _ours(Trip(consecutive=_NEVER, minimum=_NEVER, slow_after=1.0))
    yield _failures(OURS, "decorator", "guarded()", ServiceError, guarded=lasting.protect(fail))
    probing = _ours(Trip(consecutive=1, slow_after=1.0), Recovery(open_for=1e-6, successes=_NEVER))
    _open(probing.protect(fail))
    yield Case(Kind.PROBE, OURS, "decorator", "guarded()", {"guarded": probing.protect(work)})
    shut = _ours()
    shut.lock_out(3_600)
    yield _rejections(OURS, "decorator", "guarded()", RejectedError, guarded=shut.protect(work))


def _pybreaker(library: ModuleType) -> Iterator[Case]:
    name, make = library.__name__, library.CircuitBreaker
    breaker = make()
    yield Case(Kind.SYNC, name, "decorator", "guarded()", {"guarded": breaker(work)})
    yield Case(Kind.SYNC, name, "`call`", "breaker.call(work)", {"breaker": breaker, "work": work})
    inside = "with breaker.calling():\n    work()"
    yield Case(Kind.SYNC, name, "`with`", inside, {"breaker": breaker, "work": work})
    yield _failures(name, "decorator", "guarded()", ServiceError, guarded=make(fail_max=_NEVER)(fail))
    probing = make(fail_max=1, reset_timeout=0, success_threshold=_NEVER)
    _open(probing(fail))
    yield Case(Kind.PROBE, name, "decorator", "guarded()", {"guarded": probing(work)})
    shut = make(fail_max=1, reset_timeout=3_600)
    _open(shut(fail))
    yield _rejections(name, "decorator", "guarded()", library.CircuitBreakerError, guarded=shut(work))


def _circuitbreaker(library: ModuleType) -> Iterator[Case]:
    name, make = library.__name__, library.CircuitBreaker
    yield Case(Kind.SYNC, name, "decorator", "guarded()", {"guarded": make(name="a")(work)})
    yield Case(Kind.ASYNC, name, "decorator", "await guarded()", {"guarded": make(name="b")(awork)})
    lasting = make(failure_threshold=_NEVER, name="c")(fail)
    yield _failures(name, "decorator", "guarded()", ServiceError, guarded=lasting)
    shut = make(failure_threshold=1, recovery_timeout=3_600, name="d")
    _open(shut(fail))
    yield _rejections(name, "decorator", "guarded()", library.CircuitBreakerError, guarded=shut(work))


def _aiobreaker(library: ModuleType) -> Iterator[Case]:
    name, make = library.__name__, library.CircuitBreaker
    yield Case(Kind.SYNC, name, "decorator", "guarded()", {"guarded": make()(work)})
    yield Case(Kind.ASYNC, name, "decorator", "await guarded()", {"guarded": make()(awork)})
    yield Case(Kind.ASYNC, name, "`call_async`", "await breaker.call_async(work)", {"breaker": make(), "work": awork})
    yield _failures(name, "decorator", "guarded()", ServiceError, guarded=make(fail_max=_NEVER)(fail))
    shut = make(fail_max=1, timeout_duration=timedelta(hours=1))
    _open(shut(fail))
    yield _rejections(name, "decorator", "guarded()", library.CircuitBreakerError, guarded=shut(work))


def _purgatory(library: ModuleType) -> Iterator[Case]:
    name, make = library.__name__, library.SyncCircuitBreakerFactory
    yield Case(Kind.SYNC, name, "decorator", "guarded()", {"guarded": make()("service")(work)})
    reused = {"breaker": make().get_breaker("service"), "work": work}
    yield Case(Kind.SYNC, name, "`with`, kept", "with breaker:\n    work()", reused)
    afactory = library.AsyncCircuitBreakerFactory
    yield Case(Kind.ASYNC, name, "decorator", "await guarded()", {"guarded": afactory()("service")(awork)})
    areused = {"breaker": _result(afactory().get_breaker("service")), "work": awork}
    yield Case(Kind.ASYNC, name, "`with`, kept", "async with breaker:\n    await work()", areused)
    lasting = {"breaker": make(default_threshold=_NEVER).get_breaker("service"), "fail": fail, "error": ServiceError}
    failing = "try:\n    with breaker:\n        fail()\nexcept error:\n    pass"
    yield Case(Kind.FAILURE, name, "`with`, kept", failing, lasting)
    shut = make(default_threshold=1, default_ttl=3_600)("service")
    _open(shut(fail))
    rejected = {"guarded": shut(work), "error": import_module("purgatory.domain.model").OpenedState}
    yield Case(Kind.REJECTION, name, "decorator", _FORGOTTEN, rejected)


def _hyx(_: ModuleType) -> Iterator[Case]:
    make = import_module("hyx.circuitbreaker").consecutive_breaker
    yield Case(Kind.ASYNC, "hyx", "decorator", "await guarded()", {"guarded": make()(awork)})
    yield Case(
        Kind.ASYNC, "hyx", "`with`, kept", "async with breaker:\n    await work()", {"breaker": make(), "work": awork}
    )
    lasting = make(failure_threshold=_NEVER)(afail)
    yield _failures("hyx", "decorator, async", "await guarded()", ServiceError, guarded=lasting)
    probing = make(failure_threshold=1, recovery_time_secs=0, recovery_threshold=_NEVER)
    _open(lambda: _result(probing(afail)()))
    yield Case(Kind.PROBE, "hyx", "decorator, async", "await guarded()", {"guarded": probing(awork)})
    shut = make(failure_threshold=1, recovery_time_secs=3_600)
    _open(lambda: _result(shut(afail)()))
    rejected = import_module("hyx.circuitbreaker.exceptions").BreakerFailing
    yield _rejections("hyx", "decorator, async", "await guarded()", rejected, guarded=shut(awork))


_LIBRARIES: Final = {
    "postman": _postman,
    "pybreaker": _pybreaker,
    "circuitbreaker": _circuitbreaker,
    "aiobreaker": _aiobreaker,
    "purgatory": _purgatory,
    "hyx": _hyx,
}
