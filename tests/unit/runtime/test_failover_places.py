"""Who gets a place: the budget, the overflow, those who wait, and a fault that is here."""

import asyncio
from collections import Counter
from random import Random

import pytest

from postman.breaker import CircuitBreaker, State
from postman.errors import (
    NoProviderError,
    ProviderError,
    ProviderUnreachableError,
    RouteRefusedError,
    ThrottledError,
)
from postman.runtime.failover import Failover, Leave, Route
from postman.runtime.failover.limits import RetryBudget
from postman.testing.clock import FakeClock
from postman.testing.provider import FakeProvider
from postman.testing.virtual import VirtualClock, run_virtually
from tests.unit.runtime.router_scene import MAIL, REHOME, Scene, down


@pytest.fixture
def scene() -> Scene:
    return Scene()


def fill(scene: Scene) -> list[Leave]:
    """Take every place that there is."""
    leaves = []
    while True:
        try:
            leaves.append(scene.failover.choose(MAIL))
        except NoProviderError:
            return leaves


class TestBudget:
    async def test_once_it_is_used_up_a_mail_goes_nowhere_else_and_comes_back_soon(self) -> None:
        scene = Scene(budget=RetryBudget(ratio=0.0, floor=1))
        scene.a.then(RouteRefusedError("x", provider="a"), RouteRefusedError("x", provider="a"))
        assert await scene.send() == "b"

        with pytest.raises(NoProviderError) as none:
            await scene.send()
        assert none.value.retry_after == 1.0
        assert scene.attempts == (2, 1)
        assert scene.moves == ["b"]
        assert scene.in_flight == [0, 0]

    async def test_first_attempts_are_free_and_add_to_it(self) -> None:
        scene = Scene(budget=RetryBudget(ratio=0.5, floor=0))
        for _ in range(2):
            await scene.send()
        scene.a.always(RouteRefusedError("x", provider="a"))

        assert [await scene.send() for _ in range(2)] == ["b"] * 2
        with pytest.raises(NoProviderError):
            await scene.send()

    async def test_a_mail_that_found_no_second_place_leaves_it_to_others(self) -> None:
        scene = Scene(budget=RetryBudget(ratio=0.0, floor=1))
        scene.routes[1].breaker.lock_out(10.0)
        scene.a.then(RouteRefusedError("x", provider="a"))
        with pytest.raises(NoProviderError):
            await scene.send()

        assert scene.failover._budget.left(scene.clock.now()) == 1.0


class TestOverflow:
    def test_a_patient_mail_waits_while_the_limit_is_being_found_out(self, scene: Scene) -> None:
        for _ in range(5):
            scene.failover.choose(MAIL, is_patient=True)

        with pytest.raises(NoProviderError) as none:
            scene.failover.choose(MAIL, is_patient=True)
        assert none.value.retry_after == 0.25
        assert scene.failover.choose(MAIL).provider == "b"

    def test_where_the_owner_set_the_limit_it_overflows_at_once(self) -> None:
        scene = Scene(concurrency=2)
        chosen = [scene.failover.choose(MAIL, is_patient=True).provider for _ in range(4)]

        assert chosen == ["a", "a", "b", "b"]

    async def test_nobody_waits_for_a_provider_that_fails(self, scene: Scene) -> None:
        scene.a.then(down("a"))
        await scene.send()
        for _ in range(4):
            scene.failover.choose(MAIL, is_patient=True)

        assert scene.failover.choose(MAIL, is_patient=True).provider == "b"

    def test_nobody_waits_for_a_provider_that_rests(self, scene: Scene) -> None:
        for _ in range(5):
            scene.failover.choose(MAIL)
        scene.routes[0].breaker.pause(3.0)

        assert scene.failover.choose(MAIL, is_patient=True).provider == "b"

    def test_who_avoids_a_provider_does_not_wait_for_it(self, scene: Scene) -> None:
        for _ in range(5):
            scene.failover.choose(MAIL)

        assert scene.failover.choose(MAIL, avoid="a", is_patient=True).provider == "b"

    def test_it_falls_on_the_others_by_their_weights(self) -> None:
        took: Counter[str] = Counter()
        for seed in range(400):
            failover = _three(seed)
            home = failover.choose(MAIL).provider
            if home == "a":
                took[failover.choose(MAIL).provider] += 1

        assert took.keys() == {"b", "c"}
        assert 0.55 <= took["b"] / took.total() <= 0.95


def _three(seed: int) -> Failover:
    clock = FakeClock()
    routes = [
        Route(FakeProvider(name, clock=clock), CircuitBreaker(name, clock=clock.now), weight=weight, concurrency=1)
        for name, weight in (("a", 4.0), ("b", 3.0), ("c", 1.0))
    ]
    return Failover(routes, clock=clock, random=Random(seed))


class TestAvoid:
    def test_the_avoided_comes_last(self, scene: Scene) -> None:
        assert scene.failover.choose(MAIL, avoid="a").provider == "b"
        assert scene.failover.choose(MAIL).provider == "a"

    def test_the_avoided_is_better_than_none(self, scene: Scene) -> None:
        scene.routes[1].breaker.lock_out(10.0)

        assert scene.failover.choose(MAIL, avoid="a").provider == "a"

    def test_a_name_that_was_retired_is_avoided_without_effect(self, scene: Scene) -> None:
        assert scene.failover.choose(MAIL, avoid="gone").provider == "a"


class _Queue:
    """A full router in virtual time, and those who wait for room there."""

    def __init__(self) -> None:
        self.scene = Scene()
        clock = VirtualClock()
        self.scene.routes = [
            Route(self.scene.a, CircuitBreaker("a", clock=clock.now), concurrency=2),
        ]
        self.failover = Failover(self.scene.routes, clock=clock)
        self.scene.failover = self.failover
        self.leaves = fill(self.scene)
        self.woken: list[str] = []

    def join(self, name: str, seconds: float = 100.0) -> "asyncio.Task[None]":
        async def wait() -> None:
            await self.failover.wait_for_room(seconds)
            self.woken.append(name)

        return asyncio.ensure_future(wait())

    def free(self) -> None:
        self.failover.give_back(self.leaves.pop())


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class TestWaiting:
    def test_those_who_wait_are_woken_one_by_one_in_order(self) -> None:
        async def main() -> list[list[str]]:
            queue, seen = _Queue(), list[list[str]]()
            waiting = [queue.join(name) for name in ("first", "second", "third")]
            await _settle()
            for _ in range(2):
                queue.free()
                await _settle()
                seen.append(list(queue.woken))
            await asyncio.gather(*waiting)
            return [*seen, queue.woken]

        one, two, all_three = run_virtually(main())
        assert one == ["first"]
        assert two == ["first", "second"]
        assert all_three == ["first", "second", "third"]

    def test_who_waited_long_enough_is_woken_without_room_and_takes_nobodys_turn(self) -> None:
        async def main() -> tuple[float, list[str]]:
            queue, began = _Queue(), VirtualClock().now()
            soon, late = queue.join("soon", 0.25), queue.join("late")
            await soon
            waited = VirtualClock().now() - began
            queue.free()
            await late
            assert VirtualClock().now() - began == waited
            return waited, queue.woken

        waited, woken = run_virtually(main())
        assert waited == pytest.approx(0.25)
        assert woken == ["soon", "late"]

    @pytest.mark.parametrize("is_late", [False, True], ids=["while it waits", "when its turn has come"])
    def test_who_is_cancelled_passes_the_turn_on(self, is_late: bool) -> None:
        async def main() -> tuple[bool, float]:
            queue, began = _Queue(), VirtualClock().now()
            first, second = queue.join("first"), queue.join("second")
            await _settle()
            if is_late:
                queue.free()
            first.cancel()
            await asyncio.wait([first])
            if not is_late:
                queue.free()
            await second
            return first.cancelled(), VirtualClock().now() - began

        assert run_virtually(main()) == (True, 0.0)

    def test_a_mail_that_ends_wakes_the_next(self) -> None:
        async def main() -> float:
            queue, began = _Queue(), VirtualClock().now()
            waiting = queue.join("next")
            await _settle()
            await queue.scene.send(queue.leaves.pop())
            await waiting
            return VirtualClock().now() - began

        scene_time = run_virtually(main())
        assert scene_time == 0.0


class TestStandings:
    def test_they_say_who_is_home_and_how_each_stands(self, scene: Scene) -> None:
        scene.failover.choose(MAIL)
        standings = scene.failover.standings()

        assert {name: one.is_home for name, one in standings.items()} == {"a": True, "b": False}
        assert (standings["a"].in_flight, standings["b"].in_flight) == (1, 0)
        assert standings["a"].breaker == "closed"

    async def test_home_stays_home_while_the_traffic_is_elsewhere(self, scene: Scene) -> None:
        await scene.lose()
        assert await scene.send() == "b"
        standing = scene.failover.standings()["a"]

        assert (standing.breaker, standing.is_home, standing.retry_after) == ("open", True, 10.0)
        assert "down" in standing.problem


class TestHome:
    async def test_traffic_that_stays_away_does_not_count_while_home_is_throttled(self, scene: Scene) -> None:
        """A pause is no outage: when it is over, home has the traffic at once."""
        scene.a.then(ThrottledError("x", provider="a", retry_after=7.0))
        assert [await scene.send() for _ in range(2)] == ["b", "b"]
        await scene.clock.advance(7.0)

        assert await scene.send() == "a"

    async def test_overflow_goes_home_before_the_traffic_does(self, scene: Scene) -> None:
        await scene.lose()
        await scene.clock.advance(10.0)
        assert [await scene.send() for _ in range(3)] == ["a", "a", "b"]
        scene.routes[1].breaker.pause(5.0)

        assert await scene.send() == "a"
        await scene.clock.advance(5.0)
        assert await scene.send() == "b"
        await scene.clock.advance(1.5 * REHOME)
        assert await scene.send() == "a"


def unreachable(name: str) -> ProviderUnreachableError:
    return ProviderUnreachableError("no route", provider=name)


async def _cut_off(scene: Scene) -> None:
    """Let nobody be reached until it is known that the fault is here."""
    scene.a.always(unreachable("a"))
    scene.b.always(unreachable("b"))
    for _ in range(2):
        with pytest.raises(NoProviderError):
            await scene.send()
    assert scene.failover.local_fault


class TestLocalFault:
    def test_it_is_empty_while_there_is_none(self, scene: Scene) -> None:
        assert scene.failover.local_fault == ""

    async def test_it_says_for_how_long(self, scene: Scene) -> None:
        await _cut_off(scene)
        await scene.clock.advance(90.0)

        assert "no provider could be reached" in scene.failover.local_fault
        assert "90 s" in scene.failover.local_fault

    async def test_no_breaker_learns_from_it(self, scene: Scene) -> None:
        await _cut_off(scene)
        for _ in range(10):
            await scene.clock.advance(31.0)
            with pytest.raises(NoProviderError):
                await scene.send()

        assert [route.breaker.state for route in scene.routes] == [State.CLOSED, State.CLOSED]

    async def test_one_mail_at_a_time_tries(self, scene: Scene) -> None:
        await _cut_off(scene)
        assert scene.failover.wait() > 0
        await scene.clock.advance(1.0)
        trial = scene.failover.choose(MAIL)

        with pytest.raises(NoProviderError):
            scene.failover.choose(MAIL)
        scene.failover.give_back(trial)
        assert 0 < scene.failover.wait() <= 2.0
        await scene.clock.advance(2.0)
        assert scene.failover.choose(MAIL).is_trial

    async def test_the_first_that_is_reached_ends_it(self, scene: Scene) -> None:
        await _cut_off(scene)
        scene.b.always(down("b"))
        await scene.clock.advance(1.0)
        with pytest.raises(NoProviderError):
            await scene.send()

        assert scene.failover.local_fault == ""
        scene.b.always(RouteRefusedError("x", provider="b"))
        assert scene.failover.choose(MAIL).provider == "a"

    @pytest.mark.parametrize("kind", [ThrottledError, RouteRefusedError])
    async def test_where_one_of_them_answers_the_fault_is_not_here(
        self, scene: Scene, kind: type[ProviderError]
    ) -> None:
        scene.a.always(unreachable("a"))
        scene.b.then(unreachable("b"), kind("x", provider="b", retry_after=0.1), unreachable("b"))
        for _ in range(3):
            with pytest.raises(NoProviderError):
                await scene.send()
            await scene.clock.advance(0.5)

        assert scene.failover.local_fault == ""
        assert scene.routes[0].breaker.state is State.OPEN


async def test_who_waited_for_room_in_vain_is_forgotten(scene: Scene) -> None:
    for _ in range(10):
        await scene.failover.wait_for_room(0.25)

    assert not scene.failover._room.waiting
