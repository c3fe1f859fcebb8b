"""The ways to guard a call, and what outlives a process."""

import json
import pickle
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest

from tests.unit.breaker.kit import Kit, Time, is_rejected, open_it, take

SNAPSHOT: dict[str, object] = {
    "version": 1,
    "name": "a",
    "state": "open",
    "left": 5.0,
    "paused_for": 0.0,
    "failures_in_row": 0,
    "probes_failed": 1,
    "failing_for": 9.0,
}


def test_a_call_gets_its_arguments_and_gives_its_result_back(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)

    assert breaker.call(divmod, 7, 2) == (3, 1)
    assert breaker.call(int, "11", base=2) == 3
    assert breaker.view().successes == 2


async def test_what_is_protected_keeps_its_name_and_its_kind(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)

    @breaker.protect
    def add(one: int, *, two: int) -> int:
        """Add."""
        return one + two

    @breaker.protect
    async def later(one: int, *, two: int) -> int:
        return one + two

    assert (add.__name__, add.__doc__, add(1, two=2)) == ("add", "Add.", 3)
    assert await later(1, two=2) == 3
    assert breaker.view().successes == 2


def test_a_generator_cannot_be_protected(kit: Kit, time: Time) -> None:
    def some() -> Iterator[int]:
        yield 1

    async def others() -> AsyncIterator[int]:
        yield 1

    for generator in (some, others):
        with pytest.raises(TypeError, match="generator"):
            kit.make(time).protect(generator)


def test_a_guard_counts_what_leaves_its_body(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    with breaker.guard() as permit:
        assert not permit.is_probe
    for _ in range(3):
        with pytest.raises(OSError, match="refused"), breaker.guard():
            raise OSError("refused")

    assert breaker.state == "open"
    with pytest.raises(kit.rejected), breaker.guard():
        pytest.fail("the body was begun")


def test_what_was_reported_in_the_body_is_not_reported_by_its_end(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    with breaker.guard() as permit:
        breaker.failed(permit)
    with suppress(OSError), breaker.guard() as permit:
        breaker.ignored(permit)
        raise OSError("refused")

    view = breaker.view()
    assert (view.successes, view.failures, view.stale) == (0, 1, 0)


async def test_an_answer_may_be_a_failure(kit: Kit, time: Time) -> None:
    """Where it says so itself; the caller gets it all the same."""
    breaker = kit.breaker(
        "a", classify_result=lambda status: kit.says("none" if status == 200 else "service"), clock=time
    )

    async def answer(status: int) -> int:
        return status

    assert breaker.call(int, 503) == 503
    assert await breaker.acall(answer, 500) == 500
    assert await breaker.protect(answer)(200) == 200

    view = breaker.view()
    assert (view.successes, view.failures, view.running) == (1, 2, 0)


def test_a_classifier_of_answers_that_raises_counts_against_the_service(kit: Kit, time: Time) -> None:
    def classify(_: object) -> object:
        raise LookupError("a classifier's own mistake")

    breaker = kit.breaker("a", classify_result=classify, clock=time)  # type: ignore[arg-type]

    assert breaker.call(int) == 0
    assert (breaker.view().failures, breaker.view().running) == (1, 0)


def test_a_rejection_can_be_sent_to_another_process(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    open_it(breaker)
    with pytest.raises(kit.rejected) as rejected:
        breaker.acquire()

    twin = pickle.loads(pickle.dumps(rejected.value))
    assert (str(twin), twin.retry_after) == (str(rejected.value), 8.0)


def test_another_process_goes_on_from_a_snapshot(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    open_it(breaker)
    time.now += 8.0
    take(breaker, failures=1)
    snapshot = json.loads(json.dumps(breaker.snapshot()))
    elsewhere = Time(7.0)
    other = kit.breaker.restore(snapshot, recovery=kit.recovery(open_for=8.0, jitter=0.0), elapsed=6.0, clock=elsewhere)

    assert (other.name, other.state, other.retry_after()) == ("a", "open", 10.0)
    elsewhere.now += 10.0
    take(other, failures=1)
    assert other.retry_after() == 32.0


def test_one_that_was_half_open_is_open_and_due_in_another_process(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    open_it(breaker)
    time.now += 8.0
    breaker.acquire()
    other = kit.breaker.restore(breaker.snapshot(), clock=time)

    assert (other.state, other.retry_after()) == ("open", 0.0)
    assert other.acquire().is_probe
    assert is_rejected(kit, other)


def test_a_pause_and_an_endless_hold_outlive_a_process(kit: Kit, time: Time) -> None:
    breaker = kit.make(time)
    breaker.pause(20.0)
    breaker.force("open")
    other = kit.breaker.restore(json.loads(json.dumps(breaker.snapshot())), elapsed=5.0, clock=time)
    assert is_rejected(kit, other)
    other.release()

    assert other.retry_after() == 15.0


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"name": None},
        {"state": "ajar"},
        {"left": -1.0},
        {"left": "soon"},
        {"left": float("nan")},
        {"paused_for": True},
        {"probes_failed": None},
        {"failing_for": float("inf")},
    ],
    ids=str,
)
def test_what_is_no_snapshot_is_refused(kit: Kit, change: dict[str, object]) -> None:
    kit.breaker.restore(SNAPSHOT)
    with pytest.raises(ValueError, match=r"snapshot|ajar"):
        kit.breaker.restore(SNAPSHOT | change)


@pytest.mark.parametrize("missing", ["version", "name", "state", "left", "paused_for", "failures_in_row"])
def test_a_snapshot_that_lacks_something_is_refused(kit: Kit, missing: str) -> None:
    lacking = {name: value for name, value in SNAPSHOT.items() if name != missing}
    with pytest.raises(ValueError, match="snapshot"):
        kit.breaker.restore(lacking)


async def test_an_object_that_is_called_like_an_async_function_is_awaited(kit: Kit, time: Time) -> None:
    class Send:
        async def __call__(self, mail: str) -> str:
            raise OSError(mail)

    breaker = kit.make(time)
    with pytest.raises(OSError, match="m"):
        await breaker.protect(Send())("m")

    assert breaker.view().failures == 1
