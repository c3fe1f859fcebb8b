"""Dead letters: looked at, replayed, left where they are."""

import asyncio
from collections.abc import Sequence

import pytest

from postman import Mail
from postman.adapters.memory import MemoryQueue
from postman.core.layout import Layout
from postman.core.message import Message
from postman.core.protocol import Claimed, State
from postman.core.shards import shard_for
from postman.core.wire import message_for
from postman.errors import (
    MailRejectedError,
    QueueUnavailableError,
)
from postman.ports.queue import Delivery
from postman.runtime.deadletters import Choice, DeadLetters
from postman.testing.waiting import wait_until
from tests.unit.runtime.worker_scene import SHARDS, Jumping, Scene, mails


@pytest.fixture
async def scene() -> Scene:
    scene = Scene()
    await scene.shards.ensure()
    return scene


async def has(letters: DeadLetters, number: int) -> bool:
    return len(await letters.find(Choice())) == number


async def was_sent(scene: Scene, mail: Mail) -> bool:
    return await scene.states([mail]) == {State.SENT}


async def test_a_mail_that_is_refused_lies_among_the_dead_letters_until_it_is_replayed(scene: Scene) -> None:
    [one] = mails(1)
    scene.a.then(MailRejectedError("bad recipient", provider="a"))
    letters = DeadLetters(shards=scene.shards, ledger=scene.ledger)
    await scene.publish([one])
    async with scene.working():
        await wait_until(lambda: has(letters, 1), within=5.0)
        replayed = await letters.replay(Choice(), reason="mended")
        await wait_until(lambda: scene.a.accepted == [one], within=5.0)

    assert replayed.published == 1
    assert not await has(letters, 1)
    entry = await scene.ledger.find(one.id)
    assert entry is not None
    assert [note.event for note in entry.history][-4:] == ["dead-lettered", "reopened", "claimed", "sent"]


async def test_a_dead_letter_that_was_sent_after_all_is_not_sent_again(scene: Scene) -> None:
    [one] = mails(1)
    dead = scene.shards.dead(shard_for(one.id, SHARDS))
    await dead.publish(Message(message_for(one).data, {"mail_id": one.id, "dead_reason": "in_doubt"}))
    await scene.publish([one])
    async with scene.working():
        await wait_until(lambda: scene.a.accepted == [one], within=5.0)
        await wait_until(lambda: was_sent(scene, one), within=5.0)
        replayed = await DeadLetters(shards=scene.shards, ledger=scene.ledger).replay(Choice(), reason="r")

    assert (replayed.published, replayed.already_sent) == (0, 1)
    assert await scene.left() == []


async def test_copies_of_one_id_with_other_bytes_are_letters_of_their_own(scene: Scene) -> None:
    dead = scene.shards.dead(0)
    for data in (b"first", b"first", b"second"):
        await dead.publish(Message(data, {"mail_id": "x", "dead_reason": "conflict"}))
    letters = DeadLetters(shards=scene.shards, ledger=scene.ledger)

    assert len(await letters.find(Choice())) == 2
    assert (await letters.replay(Choice(), reason="r")).published == 2
    assert sorted(delivery.message.data for delivery in await scene.left()) == [b"first", b"second"]


async def test_a_doubt_whose_dead_letter_the_ledger_does_not_know_yet_is_not_replayed(scene: Scene) -> None:
    [one] = mails(1)
    answer = await scene.ledger.claim(one.id, claim_id="c", digest="d", provider="a", lease=3.0)
    assert isinstance(answer, Claimed)
    await scene.ledger.record_doubt(answer.claim, reason="no answer")
    await scene.shards.dead(0).publish(Message(b"x", {"mail_id": one.id, "dead_reason": "in_doubt"}))
    letters = DeadLetters(shards=scene.shards, ledger=scene.ledger)

    assert (await letters.replay(Choice(), reason="r")).held == 1
    await scene.ledger.park(one.id, token=answer.claim.token)
    assert (await letters.replay(Choice(), reason="r")).published == 1


async def test_looking_at_dead_letters_ends_however_slowly_they_come(scene: Scene) -> None:
    class Slow(MemoryQueue):
        async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
            clock.jump(8.0)
            return await super().pull(max_deliveries=1, wait=wait)

    clock = Jumping()
    queue = Slow("slow", clock, 10.0)
    scene.shards._dead[0] = queue
    for number in range(20):
        await queue.publish(Message(b"x", {"mail_id": f"{number}", "dead_reason": "refused"}))
    found = await asyncio.wait_for(DeadLetters(shards=scene.shards, ledger=scene.ledger).find(Choice()), 5.0)

    assert len(found) == 20
    assert all(len(letter.copies) == 1 for letter in found)


async def test_looking_that_is_broken_off_gives_the_letters_back(scene: Scene) -> None:
    class Hanging(MemoryQueue):
        pulls = 0

        async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
            self.pulls += 1
            if self.pulls == 2:
                await asyncio.sleep(30.0)
            return await super().pull(max_deliveries=1, wait=wait)

    queue = Hanging("hanging", scene.clock, 10.0)
    scene.shards._dead[0] = queue
    await queue.publish(Message(b"x", {"mail_id": "1"}))
    looking = asyncio.ensure_future(DeadLetters(shards=scene.shards, ledger=scene.ledger).find(Choice()))
    await wait_until(lambda: queue.pulls == 2, within=5.0)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking

    assert len(await queue.pull(max_deliveries=1, wait=0)) == 1


async def test_a_retired_shard_that_was_removed_keeps_nobody_from_the_others(scene: Scene) -> None:
    """Any other one that fails ends the command, and gives back what was taken."""

    class Gone(MemoryQueue):
        async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
            raise QueueUnavailableError("it does not exist")

    await scene.shards.dead(0).publish(Message(b"x", {"mail_id": "m-1", "dead_reason": "refused"}))
    scene.shards._dead[5] = Gone("gone", scene.clock, 10.0)
    smaller = Layout(publish=4, consume=4, top=6, epoch=3)
    found = await DeadLetters(shards=scene.shards, ledger=scene.ledger, layout=smaller).find(Choice())
    assert [letter.mail_id for letter in found] == ["m-1"]

    larger = Layout(publish=6, consume=6, top=6, epoch=5)
    with pytest.raises(QueueUnavailableError):
        await DeadLetters(shards=scene.shards, ledger=scene.ledger, layout=larger).find(Choice())
    assert len(await scene.shards.dead(0).pull(max_deliveries=10, wait=0)) == 1


class Counting(MemoryQueue):
    """Notes how many letters are acked at the same time; from the *failing*-th on it is out of reach."""

    failing = 10_000
    acked = 0
    under_way = 0
    most = 0

    async def ack(self, delivery: Delivery) -> None:
        self.acked += 1
        if self.acked >= self.failing:
            raise QueueUnavailableError("out of reach")
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0.001)
        self.under_way -= 1
        await super().ack(delivery)


async def _full(scene: Scene, count: int) -> Counting:
    queue = Counting("counting", scene.clock, 10.0)
    scene.shards._dead[0] = queue
    for number in range(count):
        await queue.publish(Message(b"x", {"mail_id": f"{number}", "dead_reason": "conflict"}))
    return queue


@pytest.mark.parametrize("act", ["replay", "drop"])
async def test_many_are_dealt_with_in_groups_and_how_far_it_is_is_told(scene: Scene, act: str) -> None:
    queue = await _full(scene, 250)
    letters = DeadLetters(shards=scene.shards, ledger=scene.ledger)
    heard: list[tuple[int, int]] = []

    def told(done: int, total: int) -> None:
        heard.append((done, total))

    if act == "drop":
        assert await letters.drop(Choice(), reason="by nina", told=told) == 250
    else:
        assert (await letters.replay(Choice(), reason="r", told=told)).published == 250
    assert heard == [(done, 250) for done in range(251)]
    assert 50 <= queue.most <= 100
    assert await has(letters, 0)


async def test_what_was_not_dealt_with_when_a_queue_fails_lies_there_for_the_next_who_looks(scene: Scene) -> None:
    queue = await _full(scene, 250)
    queue.failing = 120
    letters = DeadLetters(shards=scene.shards, ledger=scene.ledger)
    with pytest.raises(QueueUnavailableError):
        await letters.drop(Choice(), reason="by nina")

    queue.failing = 10_000
    left = len(await letters.find(Choice()))
    assert 130 < left < 250
    assert await letters.drop(Choice(), reason="by nina") == left
