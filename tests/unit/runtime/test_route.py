"""A provider as one worker sees it."""

import pytest

from postman.breaker import CircuitBreaker, Fault, Recovery, RejectedError, State, Trip, Verdict
from postman.errors import ProviderDownError
from postman.runtime.failover.route import Leave, Route
from postman.testing.clock import FakeClock
from postman.testing.provider import FakeProvider

OPEN_FOR = 10.0


class Scene:
    """One route on a clock that is moved by hand."""

    def __init__(
        self, *, timeout: float = 10.0, rate: float | None = None, concurrency: int | None = None, probe: float = 0.0
    ) -> None:
        self.clock = FakeClock()
        self.breaker = CircuitBreaker(
            "a", Trip(consecutive=2), Recovery(open_for=OPEN_FOR, jitter=0.0, successes=1), clock=self.clock.now
        )
        self.route = Route(
            FakeProvider("a", timeout=timeout, clock=self.clock),
            self.breaker,
            rate=rate,
            concurrency=concurrency,
            probe_timeout=probe or None,
        )

    @property
    def now(self) -> float:
        return self.clock.now()

    def enter(self) -> Leave:
        return Leave(self.route, self.route.enter(self.now))

    def open(self) -> None:
        for _ in range(2):
            self.breaker.report(
                self.breaker.acquire(), Verdict(Fault.SERVICE), error=ProviderDownError("no", provider="a")
            )


@pytest.mark.parametrize(("timeout", "expected"), [(30.0, 10.0), (10.0, 10.0 / 3), (2.0, 1.0), (0.5, 0.5)])
def test_a_probe_may_take_a_third_of_the_time_but_not_too_little(timeout: float, expected: float) -> None:
    assert Scene(timeout=timeout).route.probe_timeout == pytest.approx(expected)


def test_the_time_of_a_probe_can_be_set() -> None:
    assert Scene(probe=0.25).route.probe_timeout == 0.25


async def test_only_a_probe_has_the_short_time() -> None:
    scene = Scene()
    assert scene.enter().timeout == 10.0
    scene.open()
    await scene.clock.advance(OPEN_FOR)

    probe = scene.enter()
    assert probe.probe is not None
    assert probe.timeout == scene.route.probe_timeout


def test_where_the_breaker_lets_nobody_through_no_place_is_taken() -> None:
    scene = Scene(rate=1.0)
    scene.open()

    with pytest.raises(RejectedError):
        scene.enter()
    assert scene.route.limit.in_flight == 0
    assert scene.route.rate.wait(scene.now) == 0.0


def test_it_is_waited_for_until_its_breaker_is_due() -> None:
    scene = Scene()
    assert scene.route.wait(scene.now) == 0.0
    scene.open()

    assert scene.route.wait(scene.now) == OPEN_FOR


async def test_a_probe_under_way_is_looked_at_again_soon() -> None:
    scene = Scene()
    scene.open()
    await scene.clock.advance(OPEN_FOR)
    scene.enter()

    assert scene.breaker.state is State.HALF_OPEN
    assert scene.route.wait(scene.now) == 0.5


def test_the_longer_of_two_waits_counts() -> None:
    scene = Scene(rate=0.1)
    for _ in range(2):
        scene.enter()
    assert scene.route.wait(scene.now) == pytest.approx(20.0, abs=0.2)
    scene.breaker.pause(60.0)

    assert scene.route.wait(scene.now) == 60.0


def test_few_are_in_its_hands_before_one_succeeded() -> None:
    scene = Scene()
    for _ in range(5):
        assert scene.route.has_room
        scene.enter()

    assert not scene.route.has_room


def test_each_failure_leaves_fewer_in_its_hands_but_one_always() -> None:
    scene = Scene()
    room = []
    for failures in range(9):
        scene.route.failures_in_row = failures
        scene.route.limit.in_flight = 0
        while scene.route.has_room:
            scene.route.limit.enter()
        room.append(scene.route.limit.in_flight)

    assert room == [5, 4, 3, 2, 1, 1, 1, 1, 1]


def test_room_is_waited_for_only_while_all_is_well_and_its_limit_is_being_found_out() -> None:
    scene = Scene()
    worth = [scene.route.makes_room]
    for _ in range(5):
        scene.enter()
    worth.append(scene.route.makes_room)
    scene.route.failures_in_row = 1
    worth.append(scene.route.makes_room)
    scene.route.failures_in_row = 0
    scene.open()
    worth.append(scene.route.makes_room)

    assert worth == [False, True, False, False]


def test_room_is_not_waited_for_where_the_owner_set_the_limit() -> None:
    scene = Scene(concurrency=2)
    for _ in range(2):
        scene.enter()

    assert not scene.route.has_room
    assert not scene.route.makes_room


@pytest.mark.parametrize(("to", "expected"), [("open", False), ("closed", True), ("disabled", True)])
def test_a_forced_breaker_is_obeyed(to: str, expected: bool) -> None:
    scene = Scene()
    scene.breaker.force(to)  # type: ignore[arg-type]  # one of the three

    assert scene.route.is_closed is expected


async def test_it_reports_how_it_stands() -> None:
    scene = Scene()
    scene.enter()
    scene.open()
    await scene.clock.advance(4.0)
    standing = scene.route.standing(is_home=True)

    assert (standing.breaker, standing.is_home, standing.in_flight, standing.limit) == ("open", True, 1, 5)
    assert standing.retry_after == OPEN_FOR - 4.0
    assert "no" in standing.problem


def test_in_order_it_reports_no_problem() -> None:
    standing = Scene().route.standing(is_home=False)

    assert (standing.breaker, standing.is_home, standing.problem, standing.retry_after) == ("closed", False, "", 0.0)
