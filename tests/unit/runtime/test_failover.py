"""The router: which provider takes a mail, and which one after that."""

import asyncio
from random import Random

import pytest

from postman.breaker import CircuitBreaker, State
from postman.errors import (
    CredentialsError,
    MailRejectedError,
    NoProviderError,
    OutcomeUnknownError,
    ProviderDownError,
    ProviderError,
    RouteRefusedError,
    ThrottledError,
)
from postman.runtime.failover import Failover, Route
from postman.testing.clock import FakeClock
from postman.testing.provider import Answer, FakeProvider
from tests.unit.runtime.router_scene import MAIL, REHOME, Scene, down


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_it_stays_at_home_while_home_works(scene: Scene) -> None:
    assert [await scene.send() for _ in range(5)] == ["a"] * 5


async def test_a_mail_that_home_certainly_did_not_take_goes_to_the_other(scene: Scene) -> None:
    scene.a.then(down("a"))

    assert await scene.send() == "b"
    assert scene.moves == ["b"]


@pytest.mark.parametrize(
    "error",
    [
        ProviderDownError("x", provider="a"),
        ThrottledError("x", provider="a", retry_after=3.0),
        CredentialsError("x", provider="a"),
        RouteRefusedError("x", provider="a"),
    ],
)
async def test_every_certain_failure_of_a_provider_fails_over(scene: Scene, error: ProviderError) -> None:
    scene.a.then(error)

    assert await scene.send() == "b"


@pytest.mark.parametrize("kind", [MailRejectedError, OutcomeUnknownError])
async def test_a_refused_mail_and_an_unknown_outcome_go_nowhere_else(
    scene: Scene, kind: type[MailRejectedError] | type[OutcomeUnknownError]
) -> None:
    scene.a.then(kind("x", provider="a"))

    with pytest.raises(kind):
        await scene.send()
    assert not scene.b.attempts


async def test_refused_mails_never_open_a_breaker(scene: Scene) -> None:
    scene.a.always(MailRejectedError("x", provider="a"))
    for _ in range(20):
        with pytest.raises(MailRejectedError):
            await scene.send()

    assert scene.routes[0].breaker.state is State.CLOSED


async def test_after_enough_failures_no_mail_is_tried_there(scene: Scene) -> None:
    scene.a.always(down("a"))
    for _ in range(10):
        await scene.send()

    assert len(scene.a.attempts) == 2


async def test_two_probes_close_the_breaker_and_the_traffic_comes_home_later(scene: Scene) -> None:
    scene.a.then(down("a"), down("a"))
    for _ in range(3):
        await scene.send()
    await scene.clock.advance(10.0)

    assert [await scene.send() for _ in range(4)] == ["a", "a", "b", "b"]
    await scene.clock.advance(REHOME / 2 - 1.0)
    assert await scene.send() == "b"
    await scene.clock.advance(REHOME + 1.0)
    assert [await scene.send() for _ in range(2)] == ["a", "a"]


async def test_home_that_fails_again_before_the_traffic_came_back_is_waited_for_anew(scene: Scene) -> None:
    scene.a.then(down("a"), down("a"))
    for _ in range(3):
        await scene.send()
    await scene.clock.advance(10.0)
    for _ in range(3):
        await scene.send()
    scene.routes[0].breaker.lock_out(5.0)
    await scene.clock.advance(1.5 * REHOME)

    assert [await scene.send() for _ in range(4)] == ["a", "a", "b", "b"]


async def test_workers_come_home_at_different_times() -> None:
    times = {Failover(Scene().routes, clock=FakeClock(), random=Random(seed))._rehome_after for seed in range(20)}

    assert len(times) == 20
    assert all(60.0 <= each <= 180.0 for each in times)


async def test_a_probe_that_fails_goes_on_to_the_working_one(scene: Scene) -> None:
    scene.a.always(down("a"))
    for _ in range(3):
        await scene.send()
    await scene.clock.advance(10.0)

    assert await scene.send() == "b"
    assert len(scene.a.attempts) == 3


async def test_only_one_of_many_mails_probes(scene: Scene) -> None:
    scene.a.always(down("a"))
    for _ in range(3):
        await scene.send()
    await scene.clock.advance(10.0)
    leaves = [scene.failover.choose(MAIL) for _ in range(6)]

    assert [leave.provider for leave in leaves] == ["a", "b", "b", "b", "b", "b"]
    with pytest.raises(NoProviderError):
        scene.failover.choose(MAIL)


async def test_when_all_are_down_it_says_when_to_come_back(scene: Scene) -> None:
    scene.a.always(down("a"))
    scene.b.always(down("b"))
    for _ in range(2):
        with pytest.raises(NoProviderError):
            await scene.send()

    with pytest.raises(NoProviderError) as none:
        scene.failover.choose(MAIL)
    assert none.value.retry_after == scene.failover.wait() == 10.0


async def test_a_throttled_provider_rests_until_the_time_it_named(scene: Scene) -> None:
    scene.a.then(ThrottledError("x", provider="a", retry_after=7.0))
    assert await scene.send() == "b"
    assert scene.routes[0].wait(scene.clock.now()) == 7.0
    assert scene.routes[0].breaker.state is State.CLOSED


async def test_wrong_credentials_shut_a_provider_out_for_long(scene: Scene) -> None:
    scene.a.then(CredentialsError("x", provider="a"))
    await scene.send()

    assert scene.routes[0].wait(scene.clock.now()) >= 300.0


async def test_a_sender_that_all_refuse_is_the_mails_own_fault(scene: Scene) -> None:
    scene.a.then(RouteRefusedError("x", provider="a"))
    scene.b.then(RouteRefusedError("x", provider="b"))

    with pytest.raises(MailRejectedError):
        await scene.send()


async def test_it_does_not_start_what_cannot_end_in_time(scene: Scene) -> None:
    scene.a.then(Answer(down("a"), takes=False, delay=5.0))

    with pytest.raises(NoProviderError):
        await scene.send(budget=12.0)
    assert not scene.b.attempts


async def test_a_worker_that_slept_through_its_lease_starts_nothing(scene: Scene) -> None:
    leave = scene.failover.choose(MAIL)

    with pytest.raises(NoProviderError):
        await scene.send(leave, budget=-5.0)
    assert not scene.a.attempts
    assert scene.routes[0].limit.in_flight == 0


async def test_what_the_ledger_says_against_a_move_stops_the_mail(scene: Scene) -> None:
    scene.a.then(down("a"))

    async def refuse(_: str) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await scene.failover.send(MAIL, scene.failover.choose(MAIL), deadline=scene.clock.now() + 100.0, on_move=refuse)
    assert not scene.b.attempts
    assert [route.limit.in_flight for route in scene.routes] == [0, 0]


async def test_a_place_given_back_is_free_again() -> None:
    scene = Scene(concurrency=1)
    leaves = [scene.failover.choose(MAIL), scene.failover.choose(MAIL)]
    with pytest.raises(NoProviderError):
        scene.failover.choose(MAIL)
    for leave in leaves:
        scene.failover.give_back(leave)

    assert scene.failover.choose(MAIL).provider == "a"


async def test_a_rate_is_kept() -> None:
    scene = Scene(rate=10.0)
    sent = 0
    until = scene.clock.now() + 2.0
    while scene.clock.now() < until:
        try:
            await scene.send()
            sent += 1
        except NoProviderError as none:
            await scene.clock.sleep(none.retry_after)

    assert 38 <= sent <= 44  # two providers, ten a second each, for two seconds, and one each ahead


async def test_a_cancelled_attempt_is_no_evidence(scene: Scene) -> None:
    scene.clock = FakeClock(auto=False)
    scene.a = FakeProvider("a", clock=scene.clock)
    scene.routes = [Route(scene.a, scene.breaker("a"))]
    scene.failover = Failover(scene.routes, clock=scene.clock)
    scene.a.always(Answer(delay=5.0))
    for _ in range(5):
        sending = asyncio.ensure_future(scene.send())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    assert scene.routes[0].breaker.state is State.CLOSED
    assert scene.routes[0].limit.in_flight == 0


def test_homes_are_spread_by_weight() -> None:
    clock = FakeClock()
    homes = []
    for seed in range(300):
        routes = [
            Route(FakeProvider(name, clock=clock), CircuitBreaker(name), weight=weight)
            for name, weight in (("a", 2.0), ("b", 1.0))
        ]
        homes.append(Failover(routes, clock=clock, random=Random(seed)).choose(MAIL).provider)

    assert 170 <= homes.count("a") <= 230


async def test_nothing_starts_after_a_move_that_took_too_long(scene: Scene) -> None:
    scene.a.then(down("a"))

    async def slow(_: str) -> None:
        await scene.clock.sleep(95.0)

    with pytest.raises(NoProviderError):
        await scene.failover.send(MAIL, scene.failover.choose(MAIL), deadline=scene.clock.now() + 100.0, on_move=slow)
    assert not scene.b.attempts
    assert [route.limit.in_flight for route in scene.routes] == [0, 0]


async def test_a_probe_that_is_under_way_is_waited_for_only_a_little(scene: Scene) -> None:
    for route in scene.routes:
        route.breaker.lock_out(10.0)
    await scene.clock.advance(10.0)
    probes = [scene.failover.choose(MAIL), scene.failover.choose(MAIL)]

    assert scene.failover.wait() == 0.5
    assert {probe.provider for probe in probes} == {"a", "b"}
