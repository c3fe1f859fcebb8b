"""What the router learns from each answer: how much a provider may have, and who may come next."""

import asyncio
from collections import Counter
from contextlib import suppress

import pytest

from postman.breaker import CircuitBreaker
from postman.errors import (
    CredentialsError,
    MailRejectedError,
    NoProviderError,
    OutcomeUnknownError,
    ProviderDownError,
    ProviderError,
    ProviderUnreachableError,
    RouteRefusedError,
    ThrottledError,
)
from postman.runtime.failover import Failover, Leave, Route
from postman.runtime.failover.locality import Locality
from postman.testing.provider import Answer, FakeProvider
from postman.testing.virtual import VirtualClock, run_virtually
from tests.unit.runtime.router_scene import MAIL, Scene, down

START = 5


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def grow(scene: Scene) -> None:
    """Let a take as many mails at once as it may have, and all of them end well."""
    leaves = [scene.failover.choose(MAIL) for _ in range(START)]
    for leave in leaves:
        await scene.send(leave)
    assert limit_of_a(scene) > START


def limit_of_a(scene: Scene) -> int:
    return scene.failover.standings()["a"].limit


class TestGrowth:
    def test_mails_under_way_double_with_each_round_trip(self) -> None:
        """Each mail that ends well frees its own place and makes another, and whoever waits takes both at once."""

        async def main() -> Counter[int]:
            clock, began = VirtualClock(), Counter[int]()
            provider = FakeProvider("a", clock=clock)
            provider.always(Answer(delay=1.0))
            provider.then(*(Answer(delay=1.0 + number / 100) for number in range(START)))
            failover = Failover([Route(provider, CircuitBreaker("a", clock=clock.now))], clock=clock)
            start = clock.now()

            async def send() -> None:
                leave = await _a_place(failover)
                began[int(clock.now() - start)] += 1
                await failover.send(MAIL, leave, deadline=clock.now() + 100.0, on_move=_stay)

            await asyncio.gather(*(send() for _ in range(35)))
            return began

        assert run_virtually(main()) == {0: 5, 1: 10, 2: 20}

    async def test_a_mail_that_was_not_taken_makes_no_room(self, scene: Scene) -> None:
        leaves = [scene.failover.choose(MAIL) for _ in range(START)]
        scene.a.then(down("a"))
        await scene.send(leaves[0])

        assert limit_of_a(scene) == START

    async def test_a_refused_mail_shows_that_there_is_room_for_more(self, scene: Scene) -> None:
        leaves = [scene.failover.choose(MAIL) for _ in range(START)]
        scene.a.then(MailRejectedError("x", provider="a"))
        with pytest.raises(MailRejectedError):
            await scene.send(leaves[0])

        assert limit_of_a(scene) == START + 1


async def _a_place(failover: Failover) -> Leave:
    """Take a place; where there is none, wait for one and for nothing else."""
    while True:
        try:
            return failover.choose(MAIL)
        except NoProviderError:
            await failover.wait_for_room(1_000.0)


async def _stay(_provider: str) -> None:
    raise AssertionError("there is nowhere to go")


class TestCongestion:
    @pytest.mark.parametrize(
        ("kind", "limit"),
        [
            (ThrottledError, 3),
            (OutcomeUnknownError, 3),
            (ProviderDownError, START),
            (CredentialsError, START),
            (RouteRefusedError, START),
        ],
    )
    async def test_only_what_fewer_mails_might_have_prevented_leaves_fewer(
        self, scene: Scene, kind: type[ProviderError], limit: int
    ) -> None:
        """A provider that asks for less, or that did not answer in time, has a third less in its hands."""
        scene.a.then(kind("x", provider="a"))
        with suppress(OutcomeUnknownError):
            await scene.send()

        assert limit_of_a(scene) == limit

    def test_what_was_under_way_before_an_outage_says_nothing_of_the_time_after_it(self) -> None:
        """It times out when the provider is already held back for the failures of others."""

        async def main() -> int:
            scene = Scene()
            scene.clock = VirtualClock()  # type: ignore[assignment]  # both are clocks
            scene.a = FakeProvider("a", clock=scene.clock)
            scene.a.then(Answer(delay=99.0), down("a"), down("a"))
            scene.routes[0] = Route(scene.a, scene.breaker("a"))
            scene.failover = Failover([scene.routes[0]], clock=scene.clock)
            under_way = asyncio.ensure_future(scene.send())
            for _ in range(2):
                await asyncio.sleep(0.1)
                with pytest.raises(NoProviderError):
                    await scene.send()
            with pytest.raises(OutcomeUnknownError):
                await under_way
            return limit_of_a(scene)

        assert run_virtually(main()) == START


class TestFailuresInARow:
    async def test_each_leaves_fewer_in_the_providers_hands(self, scene: Scene) -> None:
        """So that no more are lost to it than its breaker needs to see that it is dead."""
        scene.routes[0].breaker = CircuitBreaker("a", clock=scene.clock.now)
        scene.a.then(down("a"), down("a"), down("a"))
        for _ in range(3):
            await scene.send()

        assert [scene.failover.choose(MAIL).provider for _ in range(3)] == ["a", "a", "b"]

    async def test_one_success_makes_up_for_them(self, scene: Scene) -> None:
        scene.routes[0].breaker = CircuitBreaker("a", clock=scene.clock.now)
        scene.a.then(down("a"), down("a"), down("a"))
        for _ in range(4):
            await scene.send()

        assert [scene.failover.choose(MAIL).provider for _ in range(6)] == [*["a"] * START, "b"]


class TestAfterAFaultHere:
    async def _cut_off(self, scene: Scene) -> None:
        for provider in (scene.a, scene.b):
            provider.always(ProviderUnreachableError("no route", provider=provider.name))
        for _ in range(2):
            with pytest.raises(NoProviderError):
                await scene.send()
        assert scene.failover.local_fault

    async def test_a_mail_that_is_taken_ends_it(self, scene: Scene) -> None:
        await self._cut_off(scene)
        scene.a.always(Answer())
        await scene.clock.advance(1.0)

        assert await scene.send() == "a"
        assert scene.failover.local_fault == ""
        assert scene.failover.wait() == 0.0

    async def test_every_provider_begins_small_again(self, scene: Scene) -> None:
        """Nobody knows how much it takes after that."""
        await grow(scene)
        await self._cut_off(scene)

        assert limit_of_a(scene) == START

    @pytest.mark.parametrize("begun", [99.0, 102.0], ids=["before its own last failure", "before that of the others"])
    def test_an_answer_to_a_mail_from_before_it_is_none(self, begun: float) -> None:
        """A time-out of today shows who could be reached when the mail left."""
        locality = Locality("ab")
        for provider, now in (("a", 100.0), ("a", 101.0), ("b", 102.5), ("b", 103.0)):
            locality.unreached(provider, now)

        assert locality.reached("a", begun) is False
        assert locality.since == 103.0

    def test_an_answer_to_a_mail_from_before_the_last_failure_is_none(self) -> None:
        locality = Locality("ab")
        for provider, now in (("a", 100.0), ("a", 101.0), ("b", 102.5), ("b", 103.0), ("a", 110.0)):
            locality.unreached(provider, now)

        assert locality.reached("a", 105.0) is False
        assert locality.reached("b", 105.0) is True
