"""What a reading of the router found, kept so that it stays mended."""

import asyncio
from random import Random

import pytest

from postman import OnDoubt
from postman.breaker import CircuitBreaker, State
from postman.errors import (
    MailRejectedError,
    NoProviderError,
    OutcomeUnknownError,
    ProviderUnreachableError,
)
from postman.runtime.failover import Failover, Route
from postman.runtime.failover.limits import RetryBudget
from postman.testing.provider import Answer, FakeProvider
from postman.testing.virtual import VirtualClock, run_virtually
from tests.unit.runtime.router_scene import MAIL, OPEN_FOR, Scene, down


@pytest.mark.parametrize("rate", [20.0, 50.0, 200.0])
def test_a_rate_that_the_owner_set_is_reached(rate: float) -> None:
    """Fifty senders, who look again every twentieth of a second."""

    async def main() -> float:
        clock = VirtualClock()
        provider = FakeProvider("a", clock=clock)
        failover = Failover([Route(provider, CircuitBreaker("a", clock=clock.now), rate=rate)], clock=clock)
        until = clock.now() + 20.0

        async def keep_sending() -> None:
            while clock.now() < until:
                try:
                    leave = failover.choose(MAIL)
                except NoProviderError as none:
                    await failover.wait_for_room(none.retry_after)
                else:
                    await failover.send(MAIL, leave, deadline=clock.now() + 100.0, on_move=_stay)

        await asyncio.gather(*(keep_sending() for _ in range(50)))
        return len(provider.accepted) / 20.0

    assert run_virtually(main()) == pytest.approx(rate, rel=0.05)


async def _stay(_: str) -> None:
    raise AssertionError("there is nowhere to go")


def test_a_mail_that_times_out_tells_of_the_time_when_it_left() -> None:
    """It was under way when the way was cut; that it got no answer does not show that somebody can be reached."""

    async def main() -> tuple[bool, bool]:
        clock = VirtualClock()
        a, b = FakeProvider("a", clock=clock), FakeProvider("b", clock=clock)
        routes = [
            Route(each, CircuitBreaker(each.name, clock=clock.now), weight=weight)
            for each, weight in ((a, 1.0), (b, 0.0))
        ]
        failover = Failover(routes, clock=clock, random=Random(1))

        async def send() -> None:
            leave = failover.choose(MAIL)
            await failover.send(MAIL, leave, deadline=clock.now() + 100.0, on_move=lambda _: asyncio.sleep(0))

        a.then(Answer(delay=99.0))
        under_way = asyncio.ensure_future(send())
        await asyncio.sleep(0.5)
        for each in (a, b):
            each.always(ProviderUnreachableError("no route", provider=each.name))
        for _ in range(2):
            with pytest.raises(NoProviderError):
                await send()
        began = bool(failover.local_fault)
        with pytest.raises(OutcomeUnknownError):
            await under_way
        return began, bool(failover.local_fault)

    assert run_virtually(main()) == (True, True)


async def test_a_provider_whose_probes_were_refused_mails_begins_small_and_is_worked_with() -> None:
    scene = Scene()
    await scene.lose()
    scene.routes[0].limit._limit = 200.0
    await scene.clock.advance(OPEN_FOR)
    scene.a.then(*[MailRejectedError("x", provider="a")] * 2)
    for _ in range(2):
        with pytest.raises(MailRejectedError):
            await scene.send()

    assert scene.routes[0].breaker.state is State.CLOSED
    assert (scene.routes[0].limit.limit, scene.routes[0].failures_in_row) == (5, 0)


async def test_a_mail_that_may_not_probe_is_none_because_its_claim_took_long() -> None:
    """Home was in order when it was chosen, and waits for a probe when the mail is to leave."""
    scene = Scene()
    held = MAIL.model_copy(update={"on_doubt": OnDoubt.HOLD})
    leave = scene.failover.choose(held)
    await scene.lose()
    await scene.clock.advance(OPEN_FOR)

    assert await scene.send(leave, mail=held) == "b"
    assert scene.in_flight == [0, 0]
    assert scene.failover.choose(MAIL).probe is not None


def test_the_budget_is_not_given_twice_in_its_memory() -> None:
    budget = RetryBudget(ratio=0.0, floor=10, memory=10.0)
    assert [budget.withdraw(105.99) for _ in range(11)].count(True) == 10

    assert not budget.withdraw(115.9)
    assert budget.withdraw(117.0)


async def test_one_failure_in_a_row_is_down_to_the_last_answer() -> None:
    """A refused mail is an answer of a provider that works: as many as before may be in its hands."""
    scene = Scene()
    scene.a.then(down("a"), MailRejectedError("x", provider="a"))
    await scene.send()
    with pytest.raises(MailRejectedError):
        await scene.send()

    assert scene.routes[0].failures_in_row == 0
