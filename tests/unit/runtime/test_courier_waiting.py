"""Mails that no provider can take now: kept in hand, or given back."""

import asyncio

import pytest

from postman.core.protocol import State
from postman.core.verdict import Ack, DeadLetter, DeadReason, GiveBack
from postman.testing.waiting import wait_until
from tests.unit.runtime.courier_scene import Scene, at, down, mail


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_mail_that_no_provider_took_is_free_and_given_back(scene: Scene) -> None:
    """Where another worker might send it, it goes back at once."""
    one = mail()
    scene.a.then(down())
    scene.b.then(down("b"))
    scene.others_send = True
    verdict = await scene.deliver(one)

    assert isinstance(verdict, GiveBack)
    assert (await scene.entry(one)).state is State.FREE
    assert await scene.deliver(one) == Ack()


async def test_with_all_providers_down_nothing_is_claimed_or_sent(scene: Scene) -> None:
    """The mail waits in hand for ten minutes, since nobody knows how other workers do; then it is given back."""
    for breaker in scene.breakers.values():
        breaker.lock_out(700.0)
    one, began = mail(), scene.clock.now()

    verdict = await scene.deliver(one)
    assert isinstance(verdict, GiveBack)
    assert scene.clock.now() - began == pytest.approx(600.0, abs=10.0)
    assert verdict.delay == pytest.approx(100.0, abs=10.0)
    assert await scene.ledger.find(one.id) is None


async def test_a_mail_that_another_worker_might_send_goes_back_at_once(scene: Scene) -> None:
    for breaker in scene.breakers.values():
        breaker.lock_out(100.0)
    scene.others_send = True

    assert await scene.deliver(mail()) == GiveBack(100.0)


async def test_while_nobody_can_send_a_mail_waits_in_hand_however_long_and_is_sent_then(scene: Scene) -> None:
    for breaker in scene.breakers.values():
        breaker.lock_out(10_000.0)
    scene.others_send = False
    began = scene.clock.now()

    assert await scene.deliver(mail()) == Ack()
    assert scene.clock.now() - began == pytest.approx(10_000.0, abs=10.0)


async def test_a_mail_that_failed_everywhere_rests_in_hand_while_all_are_down(scene: Scene) -> None:
    """It is free in the ledger meanwhile, and burns no delivery attempt."""
    one = mail()
    for breaker, provider in zip(scene.breakers.values(), (scene.a, scene.b), strict=True):
        breaker.failed(breaker.acquire())
        provider.then(down(provider.name))
    began = scene.clock.now()

    assert await scene.deliver(one) == Ack()
    assert scene.clock.now() > began + 1.0
    events = [note.event for note in (await scene.entry(one)).history]
    assert events == ["claimed", "failed over", "released", "claimed", "sent"]


async def test_a_mail_that_expires_while_all_providers_are_down_is_dead_lettered_when_it_does(scene: Scene) -> None:
    for breaker in scene.breakers.values():
        breaker.lock_out(10_000.0)
    scene.others_send = False
    one = mail(expires_at=at(scene.clock.time() + 120))
    verdict = await scene.deliver(one)

    assert isinstance(verdict, GiveBack)
    assert one.has_expired(scene.clock.time())
    again = await scene.deliver(one)
    assert isinstance(again, DeadLetter)
    assert again.reason is DeadReason.EXPIRED


async def test_a_mail_that_failed_everywhere_twice_is_tried_again_in_the_same_delivery(scene: Scene) -> None:
    one, began = mail(), scene.clock.now()
    scene.a.then(down(), down())
    scene.b.then(down("b"), down("b"))
    for breaker in scene.breakers.values():
        breaker.force("disabled")

    assert await scene.deliver(one) == Ack()
    assert scene.clock.now() == began + 1.0 + 2.0


async def test_a_mail_that_fails_everywhere_rests_ever_longer(scene: Scene) -> None:
    one = mail()
    scene.a.always(down())
    scene.b.always(down("b"))
    scene.others_send = True
    rests = []
    for _ in range(9):
        verdict = await scene.deliver(one)
        assert isinstance(verdict, GiveBack)
        rests.append(verdict.delay)
        for breaker in scene.breakers.values():
            breaker.reset()

    assert rests == sorted(rests)
    assert rests[-1] == 60.0


async def test_a_mail_waits_for_a_provider_that_is_only_busy(scene: Scene) -> None:
    scene.failover._routes[1].breaker.lock_out(1_000.0)
    busy = scene.failover._routes[0]
    places = [scene.failover.choose(mail()) for _ in range(busy.limit.limit)]
    clock = scene.stop_the_clock()
    delivering = asyncio.ensure_future(scene.deliver(mail()))
    await wait_until(lambda: clock._sleepers, within=5.0)
    scene.failover.give_back(places.pop())

    assert await asyncio.wait_for(delivering, 5.0) == Ack()


async def test_a_mail_that_waits_for_a_provider_is_given_back_when_the_worker_drains(scene: Scene) -> None:
    for breaker in scene.breakers.values():
        breaker.lock_out(4.0)
    clock = scene.stop_the_clock()
    delivering = asyncio.ensure_future(scene.deliver(mail()))
    await wait_until(lambda: clock._sleepers, within=5.0)
    scene.is_draining = True
    scene.failover.wake_all()

    assert await asyncio.wait_for(delivering, 5.0) == GiveBack(0.0)
