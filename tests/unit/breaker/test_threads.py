"""Real threads on a real clock, switched as often as Python can."""

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic

import pytest

from postman.breaker import CircuitBreaker, Event
from tests.unit.breaker.kit import Kit

_LIMIT = 20.0
"""Seconds for all threads together."""


@pytest.fixture(autouse=True)
def hectic() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.parametrize("slow_after", [None, 1e-4])
def test_no_end_of_a_call_is_lost_and_no_call_is_left_over(kit: Kit, slow_after: float | None) -> None:
    """The shorter a call may last, the more often the breaker settles what it noted without its lock."""
    trip = kit.trip(consecutive=None, rate=None, slow_after=slow_after, minimum=10**9, window=80_000.0)
    breaker = kit.breaker("a", trip, classify=lambda _: kit.says("service"))
    ended: Counter[str] = Counter()
    together(lambda number: ended.update(_hammer(breaker, number)), 5)

    view = breaker.view()
    assert (view.successes, view.failures, view.running) == (ended["good"], ended["bad"], 0)
    assert (ended["good"], ended["bad"], ended["cancelled"]) == (5 * 960, 5 * 120, 5 * 120)


def test_while_half_open_never_more_than_one_is_inside(kit: Kit) -> None:
    """However often the breaker opens and closes; counted inside the calls."""
    recovery = kit.recovery(open_for=1e-4, max_open=1e-3, successes=2)
    breaker = kit.breaker("a", kit.trip(consecutive=1), recovery, classify=lambda _: kit.says("service"))
    inside = _Inside()

    def work(number: int) -> None:
        for turn in range(300):
            with suppress(kit.rejected, OSError), breaker.guard() as permit, inside.count(is_counted=permit.is_probe):
                if turn % (number + 2) == 0:
                    raise OSError

    together(work, 5)

    assert inside.total > 0
    assert inside.most == 1


def test_while_half_open_as_many_as_it_may_and_no_more_are_inside(kit: Kit) -> None:
    recovery = kit.recovery(open_for=1e-4, jitter=0.0, probes=3, successes=10**6)
    breaker = kit.breaker("a", kit.trip(consecutive=1), recovery)
    breaker.failed(breaker.acquire())
    inside = _Inside()

    def work(_: int) -> None:
        ends = monotonic() + _LIMIT
        done = 0
        while done < 100 and monotonic() < ends:
            with suppress(kit.rejected), breaker.guard(), inside.count(is_counted=True):
                breaker.view()
                done += 1
        assert done == 100

    together(work, 5)

    assert inside.total == 500
    assert inside.most <= 3
    assert breaker.view().probes_out == 0


def test_what_happened_is_told_in_order_and_one_at_a_time(kit: Kit) -> None:
    """Though the listener asks the breaker, makes calls of its own, and fails at last."""
    heard: list[Event] = []
    telling = _Inside()

    def listen(event: Event) -> None:
        with telling.count(is_counted=True):
            heard.append(event)
            assert breaker.view().generation >= event.generation
            with suppress(kit.rejected):
                breaker.ignored(breaker.acquire())
            raise RuntimeError("a listener's own mistake")

    recovery = kit.recovery(open_for=1e-4, max_open=1e-3, successes=1)
    breaker = kit.breaker("a", kit.trip(consecutive=1), recovery, on_event=listen)

    def work(number: int) -> None:
        for turn in range(60):
            with suppress(kit.rejected):
                permit = breaker.acquire()
                (breaker.failed if turn % 3 == number % 3 else breaker.succeeded)(permit)

    together(work, 4)

    moves = [event.generation for event in heard if event.kind == "moved"]
    assert moves == list(range(1, breaker.view().generation + 1))
    assert len(moves) > 2
    assert telling.most == 1


def test_operators_and_callers_do_not_wait_for_each_other_for_ever(kit: Kit) -> None:
    breaker = kit.breaker("a", kit.trip(consecutive=2), kit.recovery(open_for=1e-4))
    acts: list[Callable[[], object]] = [
        lambda: breaker.force("open", 1e-5),
        breaker.release,
        breaker.reset,
        lambda: breaker.lock_out(1e-5),
        lambda: breaker.pause(1e-5),
        breaker.view,
        breaker.snapshot,
    ]

    def work(number: int) -> None:
        for turn in range(200):
            acts[(turn + number) % len(acts)]()
            with suppress(kit.rejected):
                breaker.call(int)

    together(work, 4)
    breaker.force("closed")

    assert breaker.call(int) == 0


class _Inside:
    """Counts who is inside."""

    def __init__(self) -> None:
        self.most = self.total = self._now = 0
        self._lock = threading.Lock()

    def count(self, *, is_counted: bool) -> "_Visit":
        return _Visit(self, int(is_counted))

    def change(self, by: int) -> None:
        with self._lock:
            self._now += by
            self.total += max(by, 0)
            self.most = max(self.most, self._now)


class _Visit:
    def __init__(self, inside: _Inside, weight: int) -> None:
        self._inside = inside
        self._weight = weight

    def __enter__(self) -> None:
        self._inside.change(self._weight)

    def __exit__(self, *_: object) -> None:
        self._inside.change(-self._weight)


def together(work: Callable[[int], None], count: int) -> None:
    """Do *work* on so many threads at once, and raise the first thing that one of them raised."""
    raised: list[BaseException] = []
    start = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            start.wait()
            work(number)
        except BaseException as error:  # noqa: BLE001 — it is raised again by the one who waits
            raised.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    ends = monotonic() + _LIMIT
    for thread in threads:
        thread.join(max(0.0, ends - monotonic()))
        assert not thread.is_alive(), "it waits for ever"
    if raised:
        raise raised[0]


def _hammer(breaker: CircuitBreaker, number: int) -> Counter[str]:
    """Make 1,200 calls in each of the ways, one in ten failing and one in ten cancelled."""
    ended: Counter[str] = Counter()

    def work(end: str) -> None:
        ended[end] += 1
        if end == "bad":
            raise OSError
        if end == "cancelled":
            raise KeyboardInterrupt

    def guarded(end: str) -> None:
        with breaker.guard():
            work(end)

    def by_hand(end: str) -> None:
        permit = breaker.acquire()
        ended[end] += 1
        {"good": breaker.succeeded, "bad": breaker.failed, "cancelled": breaker.ignored}[end](permit)

    ways = [breaker.protect(work), lambda end: breaker.call(work, end), guarded, by_hand]
    ends = ["good"] * 8 + ["bad", "cancelled"]
    for turn in range(1_200):
        with suppress(OSError, KeyboardInterrupt):
            ways[(turn + turn // 10) % 4](ends[(turn + number) % 10])
    return ended
