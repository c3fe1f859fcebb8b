"""What the router owes to those around it: places and rates given back, time kept, nobody left waiting."""

import asyncio
from random import Random

import pytest

from postman import OnDoubt
from postman.breaker import CircuitBreaker
from postman.errors import NoProviderError, ProviderUnreachableError
from postman.runtime.failover import Failover, Route
from postman.runtime.failover.limits import RetryBudget
from postman.testing.clock import FakeClock
from postman.testing.provider import FakeProvider
from postman.testing.virtual import VirtualClock, run_virtually
from tests.unit.runtime.router_scene import MAIL, OPEN_FOR, Scene, down


@pytest.fixture
def scene() -> Scene:
    return Scene()


def routes_of(*providers: FakeProvider, clock: FakeClock | VirtualClock) -> list[Route]:
    return [Route(each, CircuitBreaker(each.name, clock=clock.now)) for each in providers]


class TestWhatItSays:
    def test_the_longest_timeout_is_that_of_the_slowest(self) -> None:
        """The budget of a claim is made for it."""
        clock = FakeClock()
        quick, slow = FakeProvider("a", clock=clock, timeout=3.0), FakeProvider("b", clock=clock, timeout=20.0)
        for order in ([quick, slow], [slow, quick]):
            assert Failover(routes_of(*order, clock=clock), clock=clock).longest_timeout == 20.0

    def test_a_provider_is_found_by_its_name_alone(self, scene: Scene) -> None:
        """One that was retired is not, and no other in its place."""
        assert scene.failover.find("a") is scene.a
        assert scene.failover.find("b") is scene.b
        assert scene.failover.find("retired") is None

    def test_the_wait_is_that_for_the_first_that_may_take_a_mail(self, scene: Scene) -> None:
        scene.routes[0].breaker.lock_out(30.0)
        assert scene.failover.wait() == 0.0
        scene.routes[1].breaker.lock_out(20.0)
        assert scene.failover.wait() == 20.0
        with pytest.raises(NoProviderError) as none:
            scene.failover.choose(MAIL)
        assert none.value.retry_after == 20.0

    def test_homecoming_takes_two_minutes_give_or_take_a_half(self) -> None:
        """Where nothing else was set."""
        clock = FakeClock()
        failovers = [Failover(routes_of(FakeProvider("a", clock=clock), clock=clock), clock=clock) for _ in range(200)]
        times = [failover._rehome_after for failover in failovers]
        assert 60.0 <= min(times) < 75.0
        assert 165.0 < max(times) <= 180.0

    async def test_workers_of_one_seed_wait_alike_when_the_fault_is_here(self) -> None:
        """All that is drawn comes from the chance that was handed in."""

        async def wait_of(seed: int) -> float:
            clock = FakeClock()
            providers = [FakeProvider(name, clock=clock) for name in ("a", "b")]
            failover = Failover(routes_of(*providers, clock=clock), clock=clock, random=Random(seed))
            for _ in range(2):
                for provider in providers:
                    provider.then(ProviderUnreachableError("no route", provider=provider.name))
                with pytest.raises(NoProviderError):
                    await failover.send(MAIL, failover.choose(MAIL), deadline=2_000.0, on_move=_unheard)
            assert failover.local_fault
            return failover.wait()

        assert await wait_of(3) == await wait_of(3)
        assert await wait_of(3) != await wait_of(4)


class TestPlaces:
    def test_a_place_given_back_gives_back_its_share_of_the_rate(self) -> None:
        scene = Scene(rate=2.0)
        scene.failover.give_back(scene.failover.choose(MAIL))
        assert scene.failover.choose(MAIL).provider == "a"
        assert scene.failover.choose(MAIL).provider == "b"
        with pytest.raises(NoProviderError):
            scene.failover.choose(MAIL)

    async def test_a_mail_without_time_for_the_next_provider_does_not_name_it(self) -> None:
        """The ledger is not asked for a move that nothing follows."""
        clock, moves = FakeClock(), list[str]()
        quick, slow = FakeProvider("a", clock=clock, timeout=2.0), FakeProvider("b", clock=clock, timeout=20.0)
        quick.then(down("a"))
        routes = [
            Route(quick, CircuitBreaker("a", clock=clock.now)),
            Route(slow, CircuitBreaker("b", clock=clock.now), weight=0.0),
        ]
        failover = Failover(routes, clock=clock, random=Random(1))

        async def moved(provider: str) -> None:
            moves.append(provider)

        with pytest.raises(NoProviderError):
            await failover.send(MAIL, failover.choose(MAIL), deadline=clock.now() + 3.0, on_move=moved)
        assert moves == []
        assert [route.limit.in_flight for route in routes] == [0, 0]

    async def test_a_mail_that_may_end_at_the_last_moment_is_sent(self, scene: Scene) -> None:
        assert await scene.send(budget=scene.a.timeout) == "a"

    async def test_a_mail_without_time_comes_back_in_a_second(self, scene: Scene) -> None:
        """For a new claim, with time of its own."""
        with pytest.raises(NoProviderError) as none:
            await scene.send(budget=scene.a.timeout - 0.5)
        assert none.value.retry_after == 1.0
        assert scene.attempts == (0, 0)

    async def test_a_mail_that_comes_too_late_for_a_probe_costs_nothing_of_the_budget(self) -> None:
        """It was not tried anywhere yet: what it does next is its first attempt."""
        scene = Scene(budget=RetryBudget(ratio=0.0, floor=2))
        leave = scene.failover.choose(MAIL)
        await scene.lose()
        await scene.clock.advance(OPEN_FOR)
        assert scene.failover._budget.left(scene.clock.now()) == 0.0

        assert await scene.send(leave) == "b"
        assert len(scene.a.attempts) == 2

    async def test_a_patient_mail_does_not_wait_for_a_provider_that_rests_a_moment(self, scene: Scene) -> None:
        """Half a second's pause of a full provider is no reason to wait: the other one is free."""
        for _ in range(5):
            scene.failover.choose(MAIL)
        scene.routes[0].breaker.pause(0.5)
        assert scene.failover.choose(MAIL, is_patient=True).provider == "b"

    async def test_closing_closes_every_provider(self, scene: Scene) -> None:
        await scene.failover.aclose()
        assert scene.a.is_closed
        assert scene.b.is_closed


class TestWhoProbes:
    async def test_a_mail_that_may_not_probe_does_not_probe_one_that_waits_since_a_moment(self) -> None:
        """That another one waits for its probe since a minute is no reason."""
        clock = FakeClock()
        routes = routes_of(*(FakeProvider(name, clock=clock) for name in ("fresh", "overdue", "works")), clock=clock)
        failover = Failover(routes, clock=clock, random=Random(1))
        held = MAIL.model_copy(update={"on_doubt": OnDoubt.HOLD})
        for route, seconds in zip(routes, (65.0, 5.0), strict=False):
            route.breaker.lock_out(seconds)
        for seconds in (5.0, 60.0):
            await clock.advance(seconds)
            assert failover.choose(held).provider == "works"

        assert failover.choose(MAIL).provider == "fresh"
        assert failover.choose(held).provider == "overdue"


class TestStandingBy:
    """A claimed mail whose second provider is only full waits for room there, for half a second."""

    def _send(self, free_after: float) -> tuple[float, str]:
        async def main() -> tuple[float, str]:
            clock = VirtualClock()
            a, b = FakeProvider("a", clock=clock), FakeProvider("b", clock=clock)
            routes = [
                Route(a, CircuitBreaker("a", clock=clock.now), weight=1.0),
                Route(b, CircuitBreaker("b", clock=clock.now), weight=0.0, concurrency=1),
            ]
            failover = Failover(routes, clock=clock, random=Random(1))
            a.always(down("a"))
            blocking, began = routes[1].enter(clock.now()), clock.now()
            assert blocking is None
            asyncio.get_running_loop().call_later(free_after, routes[1].limit.leave)
            try:
                receipt = await failover.send(
                    MAIL, failover.choose(MAIL), deadline=clock.now() + 100.0, on_move=_unheard
                )
            except NoProviderError as none:
                return clock.now() - began, f"none for {none.retry_after:.0f}"
            return clock.now() - began, receipt.provider

        return run_virtually(main())

    def test_it_takes_the_room_that_is_made_meanwhile(self) -> None:
        waited, outcome = self._send(free_after=0.3)
        assert outcome == "b"
        assert waited == pytest.approx(0.5)

    def test_it_does_not_wait_longer(self) -> None:
        waited, outcome = self._send(free_after=0.8)
        assert outcome == "none for 1"
        assert waited == pytest.approx(0.5)


class TestResting:
    def test_it_lasts_as_long_as_it_was_asked_for(self, scene: Scene) -> None:
        async def main() -> float:
            clock = VirtualClock()
            failover = Failover(routes_of(scene.a, clock=clock), clock=clock)
            began = clock.now()
            await failover.rest(30.0)
            assert not failover._room.resting
            return clock.now() - began

        assert run_virtually(main()) == pytest.approx(30.0)

    @pytest.mark.parametrize("how", ["rest", "wait_for_room"])
    def test_everybody_can_be_woken(self, scene: Scene, how: str) -> None:
        """A drained worker waits for nobody, and leaves no alarm behind."""

        async def main() -> float:
            clock = VirtualClock()
            failover = Failover(routes_of(scene.a, clock=clock), clock=clock)
            began = clock.now()
            waiting = [asyncio.ensure_future(getattr(failover, how)(30.0)) for _ in range(3)]
            await asyncio.sleep(1.0)
            failover.wake_all()
            await asyncio.gather(*waiting)
            await asyncio.sleep(0)
            assert len(asyncio.all_tasks()) == 1
            return clock.now() - began

        assert run_virtually(main()) == pytest.approx(1.0)

    def test_who_gives_up_waiting_wakes_nobody(self, scene: Scene) -> None:
        """There is no more room than before."""

        async def main() -> float:
            clock = VirtualClock()
            failover = Failover(routes_of(scene.a, clock=clock), clock=clock)
            began = clock.now()
            first, second = (asyncio.ensure_future(failover.wait_for_room(30.0)) for _ in range(2))
            await asyncio.sleep(1.0)
            first.cancel()
            await second
            assert first.cancelled()
            return clock.now() - began

        assert run_virtually(main()) == pytest.approx(30.0)

    def test_who_is_woken_for_another_reason_takes_nobodys_turn(self, scene: Scene) -> None:
        """A place is freed between the call to all and the moment at which the first of them hears it."""

        async def main() -> float:
            clock = VirtualClock()
            failover = Failover(routes_of(scene.a, clock=clock), clock=clock)
            leave, began = failover.choose(MAIL), clock.now()
            first = asyncio.ensure_future(failover.wait_for_room(30.0))
            await asyncio.sleep(1.0)
            second = asyncio.ensure_future(failover.wait_for_room(30.0))
            asyncio.get_running_loop().call_soon(failover.give_back, leave)
            failover.wake_all()
            await asyncio.gather(first, second)
            return clock.now() - began

        assert run_virtually(main()) == pytest.approx(1.0)

    def test_one_who_rests_takes_no_turn_of_those_who_wait_for_room(self, scene: Scene) -> None:
        async def main() -> list[str]:
            clock, woken = VirtualClock(), list[str]()
            failover = Failover(routes_of(scene.a, clock=clock), clock=clock)
            leave = failover.choose(MAIL)

            async def wait(name: str) -> None:
                await (failover.rest(10.0) if name == "rests" else failover.wait_for_room(20.0))
                woken.append(name)

            tasks = [asyncio.ensure_future(wait(name)) for name in ("rests", "waits")]
            await asyncio.sleep(1.0)
            failover.give_back(leave)
            await asyncio.sleep(1.0)
            assert woken == ["waits"]
            await asyncio.gather(*tasks)
            return woken

        assert run_virtually(main()) == ["waits", "rests"]


async def _unheard(_provider: str) -> None:
    """Let every move be."""
