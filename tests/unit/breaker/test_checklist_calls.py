"""Points 12 to 16 of the checklist: errors, callbacks, the lock, async, and mistakes of the breaker's own users."""

import asyncio
import gc
import traceback
import weakref
from collections.abc import Generator
from threading import Thread

import pytest

from postman.breaker import CircuitBreaker, Event, RejectedError
from tests.unit.breaker.kit import Kit, Time, in_time, is_rejected, open_it, take


def test_12_errors_reach_the_caller_as_they_were_raised(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    for _ in range(3):
        error = OSError("refused")
        with pytest.raises(OSError, match="refused") as raised:
            breaker.call(_raise, error)
        assert raised.value is error
        assert error.__cause__ is error.__context__ is None

    assert breaker.state == "open"


def test_12_errors_the_rejection_says_who_why_and_for_how_long(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    for _ in range(3):
        with pytest.raises(OSError, match="refused"):
            breaker.call(_raise, OSError("refused"))
    time.now += 1.0
    with pytest.raises(kit.rejected) as rejected:
        breaker.call(int)

    error = rejected.value
    assert (error.name, error.state, error.retry_after) == ("a", "open", 7.0)
    assert error.last is not None
    assert (error.last.type, error.last.text, error.last.fault) == ("OSError", "refused", "service")
    assert str(error) == "a is open, for 7 s at least; last failure: OSError: refused"


def test_12_errors_a_hundredth_rejection_has_no_longer_traceback_than_the_first(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    open_it(breaker)

    depths = {len(traceback.extract_tb(_rejection(kit, breaker).__traceback__)) for _ in range(100)}

    assert len(depths) == 1


def test_12_errors_a_rejection_is_gone_as_soon_as_nobody_wants_it(kit: Kit, time: Time) -> None:
    """Else it would keep its callers' frames, and the mails in them, until the garbage is collected."""
    breaker = kit.make(time)
    open_it(breaker)
    gc.disable()
    try:
        gone = weakref.ref(_rejection(kit, breaker))
        assert gone() is None
    finally:
        gc.enable()


def test_13_callbacks_may_call_the_breaker_and_hear_of_all_in_order(kit: Kit, time: Time) -> None:
    heard: list[tuple[int, str]] = []

    def listen(event: Event) -> None:
        heard.append((event.generation, event.new))
        assert breaker.view().generation >= event.generation
        if event.new == "open":
            breaker.reset()

    breaker = kit.make(time, on_event=listen)
    in_time(lambda: open_it(breaker), 2.0)

    assert heard == [(1, "open"), (2, "closed")]


def test_13_callbacks_that_raise_are_contained(kit: Kit, time: Time) -> None:
    heard: list[Event] = []

    def listen(event: Event) -> None:
        heard.append(event)
        raise RuntimeError("a listener's own mistake")

    breaker = kit.make(time, on_event=listen)
    for _ in range(3):
        with pytest.raises(OSError, match="refused"):
            breaker.call(_raise, OSError("refused"))

    assert breaker.state == "open"
    assert [event.kind for event in heard] == ["moved"]


@pytest.mark.parametrize("way", ["call", "protect", "guard"])
@pytest.mark.parametrize("is_probe", [False, True])
def test_14_lock_is_not_held_while_a_call_runs(kit: Kit, time: Time, way: str, is_probe: bool) -> None:
    breaker = kit.make(time)
    if is_probe:
        open_it(breaker)
        time.now += 8.0

    def look() -> None:
        in_time(lambda: (breaker.view(), breaker.retry_after(), is_rejected(kit, breaker)), 2.0)

    if way == "guard":
        with breaker.guard():
            look()
    else:
        (breaker.call if way == "call" else lambda work: breaker.protect(work)())(look)
    assert breaker.state == "closed"


def test_14_lock_is_not_waited_for_by_what_a_garbage_collection_under_it_closes(kit: Kit) -> None:
    """A task that was abandoned is closed wherever the collector happens to run, and says then that it was given up."""
    time = _Collecting()
    breaker = kit.make(time)

    async def hang() -> None:
        await _Never()

    flight = breaker.acall(hang)
    flight.send(None)
    garbage: list[object] = [flight]
    garbage.append(garbage)
    del flight, garbage
    take(breaker, failures=1)
    time.is_due = True

    in_time(breaker.view, 2.0)
    assert not time.is_due
    take(breaker, successes=1)
    assert breaker.view().running == 0


def test_15_async_one_breaker_serves_several_loops_in_several_threads(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)

    async def work() -> None:
        await asyncio.sleep(0)

    async def client() -> None:
        await asyncio.gather(*(breaker.acall(work) for _ in range(50)))

    threads = [Thread(target=lambda: asyncio.run(client())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10.0)

    assert (breaker.view().successes, breaker.view().running) == (150, 0)


async def test_15_async_a_rejected_call_makes_no_coroutine(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    open_it(breaker)
    made: list[str] = []

    async def work() -> None:
        made.append("begun")

    def make() -> object:
        made.append("made")
        return work()

    with pytest.raises(kit.rejected):
        await breaker.acall(make)  # type: ignore[arg-type]
    assert not made


def test_16_own_bugs_a_classifier_that_raises_counts_against_the_service(kit: Kit, time: Time) -> None:
    """And masks nothing."""
    events: list[Event] = []

    def classify(error: Exception) -> object:
        raise LookupError(str(error))

    breaker = kit.make(time, classify=classify, on_event=events.append)  # type: ignore[arg-type]
    for _ in range(3):
        with pytest.raises(OSError, match="refused"):
            breaker.call(_raise, OSError("refused"))

    assert breaker.state == "open"
    assert [event.detail for event in events if event.kind == "classifier failed"] == ["LookupError"] * 3
    assert breaker.view().running == 0


def test_16_own_bugs_a_policy_that_raises_keeps_the_service_out_for_a_while_only(kit: Kit, time: Time) -> None:
    events: list[Event] = []

    def policy(_: object) -> bool:
        raise LookupError("a policy's own mistake")

    recovery = kit.recovery(open_for=8.0, max_open=32.0, jitter=0.0)
    breaker = kit.make(time, recovery=recovery, should_probe=policy, on_event=events.append)
    open_it(breaker)
    time.now += 8.0
    assert is_rejected(kit, breaker)
    assert [event.kind for event in events] == ["moved", "policy failed"]
    time.now += 32.0

    assert breaker.acquire().is_probe


class _Never:
    def __await__(self) -> Generator[None, None, None]:
        yield


class _Collecting(Time):
    """A clock during whose next reading the garbage is collected."""

    is_due = False

    def __call__(self) -> float:
        if self.is_due:
            self.is_due = False
            gc.collect()
        return self.now


def _raise(error: BaseException) -> None:
    raise error


def _rejection(kit: Kit, breaker: CircuitBreaker) -> RejectedError:
    try:
        breaker.acquire()
    except kit.rejected as error:
        return error
    pytest.fail("it was let through")
