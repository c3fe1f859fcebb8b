"""Pushed mails and time: how many at once, for how long, and how it ends."""

import asyncio
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from postman.breaker import CircuitBreaker
from postman.core.entry import State
from postman.core.ids import MailId
from postman.core.verdict import Ack, GiveBack
from postman.errors import (
    ConfigError,
)
from postman.runtime.failover import Failover, Route
from postman.runtime.pushworker import Busy, check_timeout
from postman.testing.provider import Answer as Does
from tests.unit.runtime.pulling_scene import virtually
from tests.unit.runtime.pushing_scene import Pushing


@virtually
async def test_who_comes_when_all_places_are_taken_is_told_at_once() -> None:
    here = Pushing()
    here.provider.always(Does(delay=5.0))
    async with here.pushing(concurrency=3) as worker:
        under_way = [asyncio.ensure_future(worker.deal_with(here.pushed(f"m-{number}"))) for number in range(3)]
        await here.until(lambda: worker.in_flight == 3, within=1.0)
        begun = here.clock.now()

        assert await worker.deal_with(here.pushed("m-3")) == Busy()

        assert here.clock.now() == begun
        assert await asyncio.gather(*under_way) == [Ack()] * 3
        assert await worker.deal_with(here.pushed("m-3")) == Ack()


@virtually
async def test_a_large_mail_for_which_there_is_no_memory_beside_others_is_told_so() -> None:
    here = Pushing()
    here.provider.always(Does(delay=5.0))
    async with here.pushing(memory=2_000_000) as worker:
        first = asyncio.ensure_future(worker.deal_with(here.pushed("m-1")))
        await here.until(lambda: worker.in_flight == 1, within=1.0)

        assert await worker.deal_with(here.pushed("m-2", text="x" * 600_000)) == Busy()

        assert await first == Ack()
        assert await worker.deal_with(here.pushed("m-2", text="x" * 600_000)) == Ack()


@virtually
async def test_the_answer_comes_before_the_lease_ends_and_the_mail_goes_on() -> None:
    """Here by a ledger that is slow. The next delivery hears what became of it; there is one copy."""
    here = Pushing()
    record_sent, may_record = here.ledger.record_sent, asyncio.Event()

    async def late(*given: Any) -> None:
        await may_record.wait()
        await record_sent(*given)

    here.ledger.record_sent = late  # type: ignore[method-assign,assignment]
    async with here.pushing() as worker:
        begun = here.clock.now()
        assert await worker.deal_with(here.pushed()) == GiveBack(1.0)
        assert here.clock.now() - begun == 29.0
        with capture_logs() as logs:
            may_record.set()
            await here.until(lambda: worker.in_flight == 0, within=1.0)
        assert "answered_too_late" in {line["event"] for line in logs}

        assert await worker.deal_with(here.pushed(attempt=2)) == Ack()
    assert len(here.provider.accepted) == 1


@virtually
async def test_no_mail_is_claimed_that_could_not_be_sent_before_its_lease_ends() -> None:
    """The provider has no room until then; the mail is given back as it was, and the next push sends it."""
    here = Pushing(ack_deadline=30.0)
    here.failover = Failover(
        [Route(here.provider, CircuitBreaker("a"), concurrency=1)], clock=here.clock, random=Random(1)
    )
    here.provider.then(Does(delay=9.9))
    async with here.pushing() as worker:
        first = asyncio.ensure_future(worker.deal_with(here.pushed("m-1")))
        await here.until(lambda: worker.in_flight == 1, within=1.0)
        begun = here.clock.now()

        answer = await worker.deal_with(here.pushed("m-2"))

        assert isinstance(answer, GiveBack)
        assert 6.0 <= here.clock.now() - begun < 7.0
        assert await here.ledger.find(MailId("m-2")) is None
        assert await first == Ack()
        assert await worker.deal_with(here.pushed("m-2")) == Ack()


@virtually
async def test_a_stopped_worker_finishes_what_is_under_way_and_takes_no_more() -> None:
    here = Pushing()
    here.provider.always(Does(delay=4.0))
    async with here.pushing() as worker:
        under_way = [asyncio.ensure_future(worker.deal_with(here.pushed(f"m-{number}"))) for number in range(3)]
        await here.until(lambda: worker.in_flight == 3, within=1.0)
        worker.stop()

        assert await worker.deal_with(here.pushed("m-9")) == GiveBack()
        assert await asyncio.gather(*under_way) == [Ack()] * 3
    assert len(here.provider.accepted) == 3


@virtually
async def test_a_stopped_worker_does_not_let_a_mail_wait_for_room() -> None:
    here = Pushing()
    here.failover = Failover(
        [Route(here.provider, CircuitBreaker("a"), concurrency=1)], clock=here.clock, random=Random(1)
    )
    here.provider.always(Does(delay=4.0))
    async with here.pushing() as worker:
        sending = asyncio.ensure_future(worker.deal_with(here.pushed("m-1")))
        await here.until(lambda: worker.in_flight == 1, within=1.0)
        waiting = asyncio.ensure_future(worker.deal_with(here.pushed("m-2")))
        await here.until(lambda: worker.in_flight == 2, within=1.0)
        begun = here.clock.now()
        worker.stop()

        assert await waiting == GiveBack()
        assert here.clock.now() == begun
        assert await sending == Ack()


@virtually
async def test_what_does_not_end_within_the_grace_is_recorded_as_doubtful_and_comes_again() -> None:
    here = Pushing(timeout=20.0)
    here.provider.always(Does(delay=15.0))
    async with here.pushing(grace=4.0) as worker:
        under_way = asyncio.ensure_future(worker.deal_with(here.pushed()))
        await here.until(lambda: len(here.provider.attempts) == 1, within=1.0)
        begun = here.clock.now()
        worker.stop()

        assert await under_way == GiveBack()
        assert here.clock.now() - begun <= 4.0
    assert (await here.entry()).state is State.IN_DOUBT


@virtually
async def test_mails_wait_until_all_is_ready_but_not_beyond_their_leases() -> None:
    here = Pushing()
    companion = _Companion()
    here.companions = [companion]
    async with here.pushing() as worker:
        begun = here.clock.now()
        assert await worker.deal_with(here.pushed()) == GiveBack()
        assert here.clock.now() - begun == 29.0
        waiting = asyncio.ensure_future(worker.deal_with(here.pushed()))
        await here.clock.sleep(1.0)
        assert not waiting.done()
        companion.is_ready.set()

        assert await waiting == Ack()
        assert companion.runs
    assert not companion.runs


def test_a_lease_that_is_too_short_for_an_attempt_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match="POSTMAN_ACK_DEADLINE"):
        check_timeout(10.0, 13.9)
    check_timeout(10.0, 14.0)


@pytest.mark.parametrize(("ack_deadline", "budget"), [(60.0, 23.0), (24.0, 23.0), (20.0, 19.0), (14.0, 13.0)])
@virtually
async def test_two_attempts_are_made_where_the_lease_is_long_enough(ack_deadline: float, budget: float) -> None:
    limits = Pushing(timeout=10.0).push_worker(ack_deadline=ack_deadline).limits

    assert limits.budget == budget
    assert limits.lease > limits.budget


class _Companion:
    """Gets ready when it is told to."""

    def __init__(self) -> None:
        self.is_ready = asyncio.Event()
        self.runs = False

    async def get_ready(self) -> None:
        await self.is_ready.wait()

    async def run(self) -> None:
        self.runs = True
        try:
            await asyncio.Event().wait()
        finally:
            self.runs = False
