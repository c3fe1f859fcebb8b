"""Mails that are pushed: each waits for its answer, and whatever happens the queue is told the truth about it."""

import asyncio
from itertools import count
from typing import Any

import pytest
from structlog.testing import capture_logs

from postman.adapters.memory import MemoryQueue
from postman.core.entry import State
from postman.core.ids import MailId
from postman.core.layout import Layout
from postman.core.message import Message
from postman.core.verdict import Ack, GiveBack
from postman.errors import (
    DeliverySettledError,
    LedgerUnavailableError,
    MailRejectedError,
    ProviderDownError,
    QueueUnavailableError,
)
from postman.ports.queue import Delivery
from postman.runtime.pushed import Answers, PushedShards
from postman.runtime.pushworker import PushWorker
from postman.testing.provider import Answer as Does
from tests.unit.runtime.courier_scene import at
from tests.unit.runtime.pulling_scene import virtually
from tests.unit.runtime.pushing_scene import Pushing

REFUSED = MailRejectedError("no such domain", provider="a")
DOWN = ProviderDownError("is down", provider="a")


@virtually
async def test_a_pushed_mail_is_sent_and_recorded_before_the_answer() -> None:
    here = Pushing()
    async with here.pushing() as worker:
        assert await worker.deal_with(here.pushed()) == Ack()

        assert [mail.id for mail in here.provider.accepted] == ["m-1"]
        assert (await here.entry()).state is State.SENT


@virtually
async def test_a_mail_that_was_sent_is_not_sent_again() -> None:
    here = Pushing()
    async with here.pushing() as worker:
        answers = [await worker.deal_with(here.pushed(attempt=attempt)) for attempt in (1, 2, 3)]

    assert answers == [Ack()] * 3
    assert len(here.provider.accepted) == 1


@virtually
async def test_a_mail_that_comes_twice_at_once_is_sent_once() -> None:
    here = Pushing()
    here.provider.always(Does(delay=1.0))
    async with here.pushing() as worker:
        answers = await asyncio.gather(*(worker.deal_with(here.pushed()) for _ in range(5)))

    assert sorted(type(answer).__name__ for answer in answers) == ["Ack", *["GiveBack"] * 4]
    assert len(here.provider.accepted) == 1


@virtually
async def test_a_refused_mail_lies_among_the_dead_letters_of_its_shard_before_the_answer() -> None:
    here = Pushing()
    here.provider.always(REFUSED)
    pushed = here.pushed()
    async with here.pushing() as worker:
        assert await worker.deal_with(pushed) == Ack()

        [letter] = await here.dead()
    assert letter.data == pushed.message.data
    assert (letter.attributes["dead_reason"], letter.attributes["dead_shard"]) == ("refused", "2")


@virtually
async def test_what_is_no_mail_is_dead_lettered_with_its_bytes() -> None:
    here = Pushing()
    junk = Message(b"\xff\x00 no mail", {"mail_id": "m-1", "schema": "1"})
    async with here.pushing() as worker:
        assert await worker.deal_with(here.brought(junk)) == Ack()

        [letter] = await here.dead()
    assert (letter.data, letter.attributes["dead_reason"]) == (junk.data, "malformed")


@virtually
async def test_a_suppressed_mail_is_dead_lettered() -> None:
    here = Pushing()
    here.objection = "suppressed: to[0]"
    async with here.pushing() as worker:
        assert await worker.deal_with(here.pushed()) == Ack()

        [letter] = await here.dead()
    assert letter.attributes["dead_reason"] == "suppressed"


@virtually
async def test_a_mail_whose_dead_letter_cannot_be_written_comes_again() -> None:
    here = Pushing()
    here.provider.always(REFUSED)
    dead = here.shards.dead(2)
    assert isinstance(dead, MemoryQueue)
    publish, dead.publish = dead.publish, _fail  # type: ignore[method-assign,assignment]
    async with here.pushing() as worker:
        begun = here.clock.now()
        with capture_logs() as logs:
            assert await worker.deal_with(here.pushed()) == GiveBack(1.0)
        assert "not_settled" in {line["event"] for line in logs}
        assert here.clock.now() == begun
        dead.publish = publish  # type: ignore[method-assign]

        assert await worker.deal_with(here.pushed(attempt=2)) == Ack()
        assert len(await here.dead()) == 1


@virtually
async def test_while_all_providers_are_down_mails_are_sent_back_at_once() -> None:
    """No request is kept waiting for a recovery, and none asks the provider before it is due."""
    here = Pushing()
    here.provider.always(DOWN)
    async with here.pushing() as worker:
        arrived = here.clock.now()
        first = [await worker.deal_with(here.pushed(f"m-{number}")) for number in range(3)]
        assert here.clock.now() - arrived < 1.0
        await here.clock.sleep(max(0.0, here.failover.wait() - 2.0))
        begun, attempts = here.clock.now(), len(here.provider.attempts)
        answers = [await worker.deal_with(here.pushed(f"n-{number}")) for number in range(50)]

        assert all(isinstance(answer, GiveBack) for answer in first)
        assert all(isinstance(answer, GiveBack) and answer.delay > 0 for answer in answers)
        assert (here.clock.now(), len(here.provider.attempts)) == (begun, attempts)
        here.provider.always(Does())
        await here.clock.sleep(90.0)
        assert await worker.deal_with(here.pushed("m-0")) == Ack()


@virtually
async def test_while_the_ledger_is_away_nothing_is_sent_and_mails_come_again() -> None:
    here = Pushing()
    claim, asked = here.ledger.claim, []

    async def away(mail_id: MailId, **_named: Any) -> Any:
        asked.append(mail_id)
        raise LedgerUnavailableError("away")

    here.ledger.claim = away  # type: ignore[method-assign]
    async with here.pushing() as worker:
        answers = [await worker.deal_with(here.pushed(f"m-{number}")) for number in range(50)]
        assert all(isinstance(answer, GiveBack) and answer.delay > 0 for answer in answers)
        assert not here.provider.attempts
        assert set(asked) == {"m-0"}

        here.ledger.claim = claim  # type: ignore[method-assign]
        await here.clock.sleep(20.0)
        assert await worker.deal_with(here.pushed("m-0")) == Ack()


@virtually
async def test_a_surprise_of_one_mail_harms_no_other() -> None:
    here = Pushing()
    claim, here.ledger.claim = here.ledger.claim, _surprise  # type: ignore[method-assign]
    async with here.pushing() as worker:
        with capture_logs() as logs:
            assert isinstance(await worker.deal_with(here.pushed("m-1")), GiveBack)
        assert "unexpected" in {line["event"] for line in logs}
        here.ledger.claim = claim  # type: ignore[method-assign]

        assert await worker.deal_with(here.pushed("m-2")) == Ack()


@virtually
async def test_waiting_for_a_provider_never_dead_letters_a_mail() -> None:
    """Before the queue would, it is published anew, as it was; where that fails it is given back."""
    here = Pushing()
    here.provider.always(DOWN)
    own = here.pushed().message
    told = Message(own.data, {**own.attributes, "googclient_schemaencoding": "JSON"})
    async with here.pushing() as worker:
        here.queues[2].trouble = QueueUnavailableError("away")
        assert isinstance(await worker.deal_with(here.brought(told, attempt=90)), GiveBack)
        here.queues[2].trouble = None
        assert isinstance(await worker.deal_with(here.brought(told, attempt=89)), GiveBack)
        assert here.queues[2].depth == 0

        assert await worker.deal_with(here.brought(told, attempt=90)) == Ack()

        [renewed] = await here.queues[2].pull(max_deliveries=10, wait=0.0)
    assert renewed.message == own
    assert not await here.dead()


@virtually
async def test_without_word_of_the_shard_it_is_the_layout_s() -> None:
    here = Pushing()
    here.provider.always(REFUSED)
    async with here.pushing() as worker:
        assert await worker.deal_with(here.pushed("m-1", shard=None)) == Ack()

        home = Layout.of(here.count).shard_of("m-1", "")
        assert len(await here.dead(home)) == 1


@virtually
async def test_a_mail_of_a_shard_that_shall_run_empty_moves_home_when_it_is_given_back() -> None:
    """The layout is known from the first mail on, and a change of it soon after."""
    here = Pushing()
    await here.change(lambda layout: layout.close(1, now=here.clock.time()))
    async with here.pushing() as worker:
        for number, shard in enumerate((1, 3)):
            early = at(here.clock.time() + 100.0)
            assert await worker.deal_with(here.pushed(f"m-{number}", shard=shard, send_at=early)) == Ack()
            assert sum(queue.depth for queue in here.queues.values()) == number + 1
            await here.change(lambda layout: layout.close(3, now=here.clock.time()))
            await here.clock.sleep(6.0)


@virtually
async def test_a_scheduled_mail_comes_again_until_it_is_due() -> None:
    here = Pushing()
    async with here.pushing() as worker:
        pushed = here.pushed(send_at=at(here.clock.time() + 100.0))

        assert await worker.deal_with(pushed) == GiveBack(100.0)
        await here.clock.sleep(101.0)
        assert await worker.deal_with(here.brought(pushed.message)) == Ack()


@virtually
async def test_a_worker_that_pulls_and_one_that_is_pushed_to_send_each_mail_once() -> None:
    """Each mail goes both ways, and comes again until both were told that it is done."""
    here = Pushing()
    mails = [f"{number % 4}-{number}" for number in range(200)]
    here.provider.always(Does(delay=0.3))

    async def insist(worker: PushWorker, mail_id: str) -> None:
        for attempt in count(1):
            answer = await worker.deal_with(here.pushed(mail_id, attempt=attempt, shard=None))
            if answer == Ack():
                return
            await here.clock.sleep(1.0)

    here.service = here.provider  # type: ignore[assignment]
    async with here.pushing() as worker, here.working() as pulling:
        for shard in range(4):
            await here.publish(shard, 0)
        for mail_id in mails:
            await here.queues[int(mail_id[0])].publish(here.pushed(mail_id).message)
        await asyncio.gather(*(insist(worker, mail_id) for mail_id in mails))
        await here.until(lambda: not any(queue.depth for queue in here.queues.values()), within=60.0)
        by_push, by_pull = worker.tally.verdicts["Ack"], pulling.tally.verdicts["Ack"]

    assert sorted(mail.id for mail in here.provider.accepted) == sorted(mails)
    assert (by_push, by_pull) == (200, 200)
    owners = {(await here.entry(mail_id)).claim_id.split("-")[0] for mail_id in mails}
    assert owners == {"push", "claim"}


@virtually
async def test_a_delivery_is_answered_once() -> None:
    here = Pushing()
    answers = Answers()
    queue = PushedShards(here.shards, answers).queue(1)
    delivery = Delivery(here.pushed().message, "r", 1, 0.0, 0.0)
    with answers.expecting(delivery) as answer:
        await queue.ack(delivery)
        with pytest.raises(DeliverySettledError):
            await queue.nack(delivery)
        answers.conclude(delivery)

    assert answer.result() == Ack()


async def _fail(_message: Message) -> None:
    raise QueueUnavailableError("away")


async def _surprise(*_given: object, **_named: object) -> Any:
    raise ZeroDivisionError
