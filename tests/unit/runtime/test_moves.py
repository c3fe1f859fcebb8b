"""What is to go back into a shard that producers do not fill any more goes to where it belongs now."""

import pytest

from postman.core.ids import MailId
from postman.core.layout import Layout
from postman.core.message import SHARD_KEY, Message
from postman.core.verdict import Ack, DeadLetter, DeadReason, GiveBack
from postman.core.wire import digest
from postman.errors import QueueUnavailableError
from postman.ports.queue import Delivery
from postman.runtime.following import Following
from postman.runtime.settler import Settler
from tests.unit.runtime.pulling_scene import Pulling, mail_for, virtually

CLOSED, BEYOND = 1, 5
"""One shard is closed; the other is above those that are filled, because there are to be fewer."""


class Scene(Pulling):
    def __init__(self, *, hand: int = 0) -> None:
        super().__init__(4)
        self.layout = Layout(publish=4, consume=6, top=6, epoch=9, closed=frozenset({CLOSED}), hand=hand)
        following = Following(self.layout, clock=self.clock, store=self.layouts)
        self.settler = Settler(shards=self.shards, ledger=self.ledger, clock=self.clock, following=following)

    async def taken(self, shard: int, **attributes: str) -> Delivery:
        """Return the delivery of a mail that was put into *shard*."""
        await self.queues[shard].publish(Message(b"bytes", {"mail_id": "m-1", **attributes}))
        [delivery] = await self.queues[shard].pull(max_deliveries=1, wait=0.0)
        return delivery

    def depths(self) -> dict[int, int]:
        return {shard: queue.depth for shard, queue in self.queues.items() if queue.depth}


@pytest.mark.parametrize("shard", [CLOSED, BEYOND])
@virtually
async def test_a_mail_that_is_given_back_with_a_delay_moves_home_with_its_bytes_and_attributes(shard: int) -> None:
    here = Scene()
    added = {"CloudPubSubDeadLetterSourceDeliveryCount": "3", "googclient_schemaencoding": "JSON"}
    delivery = await here.taken(shard, schema="1", traceparent="t", **added)
    await here.settler.carry_out(shard, delivery, GiveBack(7.0))
    home = here.layout.shard_of("m-1")

    assert here.layout.takes(home)
    assert here.depths() == {home: 1}
    [moved] = await here.queues[home].pull(max_deliveries=1, wait=0.0)
    assert moved.message == Message(b"bytes", {"mail_id": "m-1", "schema": "1", "traceparent": "t"})


@virtually
async def test_its_home_is_that_of_its_class_where_a_layout_keeps_classes_apart() -> None:
    here = Scene(hand=1)
    homes = set()
    for key in ("ann", "bob", "eve", "joe"):
        delivery = await here.taken(BEYOND, **{SHARD_KEY: key})
        await here.settler.carry_out(BEYOND, delivery, GiveBack(7.0))
        home = here.layout.shard_of("m-1", key)
        [moved] = await here.queues[home].pull(max_deliveries=1, wait=0.0)
        assert moved.message.attributes[SHARD_KEY] == key
        await here.queues[home].ack(moved)
        homes.add(home)

    assert len(homes) > 1, "the class decided, not the id"


@pytest.mark.parametrize("shard", [CLOSED, BEYOND])
@virtually
async def test_what_was_not_begun_is_only_let_go_of(shard: int) -> None:
    """Another worker gets it at once there, with no message written anew."""
    here = Scene()
    await here.settler.carry_out(shard, await here.taken(shard), GiveBack())

    assert here.depths() == {shard: 1}
    [again] = await here.queues[shard].pull(max_deliveries=1, wait=0.0)
    assert again.attempt == 2


@virtually
async def test_in_a_shard_that_is_filled_a_mail_waits_where_it_is() -> None:
    here = Scene()
    await here.settler.carry_out(0, await here.taken(0), GiveBack(7.0))

    assert here.depths() == {0: 1}
    assert await here.queues[0].pull(max_deliveries=1, wait=6.9) == []
    assert len(await here.queues[0].pull(max_deliveries=1, wait=0.2)) == 1


@pytest.mark.parametrize("verdict", [Ack(), DeadLetter(DeadReason.MALFORMED)])
@virtually
async def test_what_is_done_is_done_in_any_shard(verdict: Ack | DeadLetter) -> None:
    here = Scene()
    await here.settler.carry_out(CLOSED, await here.taken(CLOSED), verdict)
    dead = await here.shards.dead(CLOSED).pull(max_deliveries=9, wait=0.0)

    assert here.depths() == {}
    assert [letter.message.attributes["dead_shard"] for letter in dead] == [str(CLOSED)] * isinstance(
        verdict, DeadLetter
    )


@virtually
async def test_a_move_whose_new_home_is_out_of_reach_loses_nothing() -> None:
    here = Scene()
    home = here.queues[here.layout.shard_of("m-1")]
    delivery = await here.taken(CLOSED)
    home.trouble = QueueUnavailableError("away")
    await here.settler.carry_out(CLOSED, delivery, GiveBack(7.0))
    assert here.depths() == {CLOSED: 1}
    home.trouble = None
    [again] = await here.queues[CLOSED].pull(max_deliveries=1, wait=here.ack_deadline + 1.0)
    await here.settler.carry_out(CLOSED, again, GiveBack(7.0))

    assert here.depths() == {here.layout.shard_of("m-1"): 1}


@virtually
async def test_a_move_that_breaks_off_in_the_middle_makes_two_messages_and_one_mail() -> None:
    """It was put into its new home, and stayed in the old: the ledger sees that it is the same mail."""
    here = Pulling(3)
    await here.change(lambda layout: layout.close(1, now=0.0))
    async with here.working(concurrency=2) as worker:
        [one] = await here.publish(1, 1)
        await here.until(lambda: here.service.busy_with[1] == 1, within=1.0, every=0.001)
        await here.queues[1].publish((await _peek(here, 1)).message)
        await here.clock.sleep(40.0)
        assert worker.in_flight == 0

    assert here.sent() == [one]
    assert {queue.depth for queue in here.queues.values()} == {0}


async def _peek(here: Pulling, shard: int) -> Delivery:
    stored = next(iter(here.queues[shard]._stored.values()))
    return Delivery(stored.message, "", 1, 0.0, 0.0)


@virtually
async def test_a_closed_shard_runs_empty_at_once_though_its_mails_have_to_wait() -> None:
    """Another worker holds them, for longer than the shard shall last."""
    here = Pulling(3)
    await here.change(lambda layout: layout.close(1, now=0.0))
    async with here.working():
        mails = [MailId(f"1-{number}") for number in range(10)]
        for each in mails:
            content = digest(mail_for(each))
            await here.ledger.claim(each, claim_id="another", digest=content, provider="a", lease=300.0)
        await here.publish(1, 10)
        await here.clock.sleep(1.0)
        assert here.queues[1].depth == 0
        assert here.queues[0].depth + here.queues[2].depth == 10
        await here.clock.sleep(60.0)
        assert here.queues[0].depth + here.queues[2].depth == 10
        assert set((here.queues[0].attempts + here.queues[2].attempts).values()) <= {1, 2}

    assert here.sent() == []


@virtually
async def test_a_mail_whose_home_takes_nothing_keeps_its_delay() -> None:
    here = Scene()
    delivery = await here.taken(CLOSED)
    home = here.layout.shard_of("m-1")
    here.queues[home].trouble = QueueUnavailableError("no permission")
    await here.settler.carry_out(CLOSED, delivery, GiveBack(600.0))

    await here.clock.sleep(599.0)
    assert not await here.queues[CLOSED].pull(max_deliveries=1, wait=0.0)
    await here.clock.sleep(2.0)
    assert len(await here.queues[CLOSED].pull(max_deliveries=1, wait=0.0)) == 1
