"""How the router finds out that a provider is back, and at whose cost."""

import asyncio
from datetime import UTC, datetime

import pytest

from postman import Mail, OnDoubt
from postman.breaker import State
from postman.errors import (
    MailRejectedError,
    NoProviderError,
    OutcomeUnknownError,
    ProviderUnreachableError,
    RouteRefusedError,
    ThrottledError,
)
from postman.runtime.failover.limits import RetryBudget
from postman.testing.provider import Answer
from tests.unit.runtime.router_scene import MAIL, OPEN_FOR, Scene, down

HELD = MAIL.model_copy(update={"on_doubt": OnDoubt.HOLD})


@pytest.fixture
async def scene() -> Scene:
    """Provider a, which is home, was left and is due for a probe; its next answer is the probe's."""
    scene = Scene()
    await _make_due(scene)
    return scene


async def _make_due(scene: Scene) -> None:
    await scene.lose()
    await scene.clock.advance(OPEN_FOR)


def _expiring(scene: Scene, seconds: float) -> Mail:
    at = datetime.fromtimestamp(scene.clock.time() + seconds, UTC)
    return MAIL.model_copy(update={"expires_at": at})


async def test_a_probe_has_less_time_than_a_mail(scene: Scene) -> None:
    scene.a.then(Answer(delay=9.0))
    began = scene.clock.now()

    with pytest.raises(OutcomeUnknownError):
        await scene.send()
    assert scene.clock.now() - began == pytest.approx(10.0 / 3)


async def test_all_other_mails_have_the_providers_own_time() -> None:
    scene = Scene()
    scene.a.then(Answer(delay=9.0))

    assert await scene.send() == "a"


async def test_a_probe_that_fails_cleanly_is_taken_by_the_working_one_in_the_same_round(scene: Scene) -> None:
    before = scene.attempts
    scene.a.then(down("a"))
    leave = scene.failover.choose(MAIL)

    assert leave.provider == "a"
    assert await scene.send(leave) == "b"
    assert scene.attempts == (before[0] + 1, before[1] + 1)
    assert scene.moves[-1] == "b"


async def test_a_probe_that_ends_in_doubt_goes_nowhere_else(scene: Scene) -> None:
    before = scene.attempts
    scene.a.then(OutcomeUnknownError("x", provider="a"))

    with pytest.raises(OutcomeUnknownError):
        await scene.send()
    assert scene.attempts == (before[0] + 1, before[1])
    assert await scene.send() == "b"


async def test_a_failed_probe_is_followed_by_none_until_the_next_longer_period_is_over(scene: Scene) -> None:
    scene.a.always(down("a"))
    await scene.send()
    tried = len(scene.a.attempts)
    for _ in range(19):
        await scene.clock.advance(1.0)
        assert await scene.send() == "b"
    assert len(scene.a.attempts) == tried

    await scene.clock.advance(1.0)
    await scene.send()
    assert len(scene.a.attempts) == tried + 1


async def test_going_on_after_a_probe_costs_nothing_of_the_budget() -> None:
    scene = Scene(budget=RetryBudget(ratio=0.0, floor=2))
    await _make_due(scene)
    scene.a.then(down("a"))

    while scene.failover._budget.withdraw(scene.clock.now()):
        pass
    assert await scene.send() == "b"


async def test_a_mail_that_would_be_held_back_in_doubt_is_no_probe(scene: Scene) -> None:
    tried = len(scene.a.attempts)

    assert await scene.send(mail=HELD) == "b"
    assert len(scene.a.attempts) == tried
    assert await scene.send() == "a"


@pytest.mark.parametrize(("seconds", "expected"), [(59.0, "b"), (61.0, "a")])
async def test_a_mail_that_expires_within_a_minute_is_no_probe(scene: Scene, seconds: float, expected: str) -> None:
    assert await scene.send(mail=_expiring(scene, seconds)) == expected


async def test_a_probe_that_is_overdue_by_a_minute_may_be_any_mail(scene: Scene) -> None:
    began = scene.clock.now()
    took = [await scene.send(mail=HELD)]
    while took[-1] == "b" and scene.clock.now() < began + 120.0:
        await scene.clock.advance(1.0)
        took.append(await scene.send(mail=HELD))

    assert took[-1] == "a"
    assert scene.clock.now() - began == 60.0


async def test_where_nobody_else_is_left_any_mail_is_a_probe(scene: Scene) -> None:
    scene.routes[1].breaker.force("open")

    assert await scene.send(mail=HELD) == "a"


async def test_a_mail_that_avoids_the_provider_is_no_probe_of_it(scene: Scene) -> None:
    assert scene.failover.choose(MAIL, avoid="a").provider == "b"


async def test_a_probe_that_was_given_back_leaves_the_leave_to_another(scene: Scene) -> None:
    first = scene.failover.choose(MAIL)
    scene.failover.give_back(first)

    assert first.provider == "a"
    assert scene.failover.choose(MAIL).probe is not None
    assert scene.in_flight == [1, 0]


async def test_a_probe_that_is_cancelled_leaves_the_leave_to_another(scene: Scene) -> None:
    sending = asyncio.ensure_future(scene.send())
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending

    assert scene.in_flight == [0, 0]
    assert scene.failover.choose(MAIL).provider == "a"


async def test_a_probe_that_is_never_heard_of_again_is_replaced_in_time(scene: Scene) -> None:
    scene.failover.choose(MAIL)
    assert scene.failover.choose(MAIL).provider == "b"
    await scene.clock.advance(30.0)

    assert scene.failover.choose(MAIL).provider == "a"


async def test_a_refused_mail_shows_that_the_provider_is_back(scene: Scene) -> None:
    scene.a.then(MailRejectedError("x", provider="a"), MailRejectedError("x", provider="a"))
    for _ in range(2):
        with pytest.raises(MailRejectedError):
            await scene.send()

    assert scene.routes[0].breaker.state is State.CLOSED


async def test_a_refused_sender_shows_nothing_and_the_next_mail_probes(scene: Scene) -> None:
    scene.a.then(RouteRefusedError("x", provider="a"))

    assert await scene.send() == "b"
    assert scene.routes[0].breaker.state is State.HALF_OPEN
    assert scene.failover.choose(MAIL).provider == "a"


async def test_a_throttled_probe_is_no_failure_but_the_provider_rests(scene: Scene) -> None:
    scene.a.then(ThrottledError("x", provider="a", retry_after=7.0))

    assert await scene.send() == "b"
    assert await scene.send() == "b"
    await scene.clock.advance(7.0)
    assert await scene.send() == "a"


async def test_an_unreachable_provider_fails_its_probe(scene: Scene) -> None:
    scene.a.then(ProviderUnreachableError("no route", provider="a"))

    assert await scene.send() == "b"
    assert scene.routes[0].breaker.state is State.OPEN


async def test_with_all_down_the_first_that_is_back_takes_the_traffic(scene: Scene) -> None:
    scene.a.always(down("a"))
    scene.b.then(down("b"), down("b"))
    for _ in range(2):
        with pytest.raises(NoProviderError):
            await scene.send()
    await scene.clock.advance(OPEN_FOR)

    assert [await scene.send() for _ in range(3)] == ["b"] * 3


class TestHeldBack:
    """A breaker that opens between the choice of a provider and the attempt."""

    async def test_the_mail_goes_elsewhere_without_an_attempt(self) -> None:
        scene = Scene(budget=RetryBudget(ratio=0.0, floor=0))
        leave = scene.failover.choose(MAIL)
        scene.routes[0].breaker.lock_out(10.0)

        assert await scene.send(leave) == "b"
        assert scene.attempts == (0, 1)
        assert scene.moves == ["b"]
        assert scene.in_flight == [0, 0]

    async def test_where_all_are_held_back_nothing_was_sent(self) -> None:
        scene = Scene()
        leave = scene.failover.choose(MAIL)
        for route in scene.routes:
            route.breaker.lock_out(20.0)

        with pytest.raises(NoProviderError) as none:
            await scene.send(leave)
        assert none.value.retry_after == 20.0
        assert scene.attempts == (0, 0)
        assert scene.moves == []
        assert scene.in_flight == [0, 0]

    async def test_a_pause_that_begins_then_is_kept_too(self) -> None:
        scene = Scene()
        leave = scene.failover.choose(MAIL)
        scene.routes[0].breaker.pause(5.0)

        assert await scene.send(leave) == "b"
        assert len(scene.a.attempts) == 0
