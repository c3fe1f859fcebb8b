"""What the Pub/Sub adapter makes of lost answers, ghosts and the other traps of Pub/Sub and its emulator."""

import asyncio
import time
from contextlib import suppress

import pytest

from postman.adapters.pubsub import open_shards
from postman.core.mail import MAX_ENCODED_BYTES
from postman.errors import DeliverySettledError, QueueUnavailableError
from postman.ports.opening import Cluster
from postman.ports.queue import Delivery, Message, Queue, ShardMap
from postman.testing.grpc_proxy import ANY, GrpcProxy
from postman.testing.waiting import wait_until
from tests.contract.pubsub.tools import MAIL, look, take, takes_less_than


class TestGhosts:
    """A pull that is given up must not take a message along: nobody would see it for a whole lease."""

    async def test_a_closed_worker_leaves_no_pull_behind(self, queue: Queue, shards: ShardMap, other: ShardMap) -> None:
        pulling = asyncio.create_task(queue.pull(max_deliveries=10, wait=1.5))
        await asyncio.sleep(0)
        await shards.aclose()
        await other.queue(0).publish(MAIL)

        with takes_less_than(1.0):
            assert (await take(other.queue(0))).attempt == 1
        assert await pulling == []

    async def test_closing_waits_for_the_pull_under_way_and_its_mails_are_not_lost(
        self, queue: Queue, shards: ShardMap, other: ShardMap, proxy: GrpcProxy
    ) -> None:
        pulling = asyncio.create_task(queue.pull(max_deliveries=10, wait=5.0))
        await wait_until(lambda: proxy.calls["Pull"], within=5.0)
        closing = asyncio.create_task(shards.aclose())
        await other.queue(0).publish(MAIL)
        await closing

        assert [delivery.message for delivery in await pulling] == [MAIL]

    async def test_what_a_cancelled_pull_took_along_is_given_back(
        self, queue: Queue, other: ShardMap, proxy: GrpcProxy
    ) -> None:
        """Nobody should cancel a pull; where it happens all the same, no mail waits for a lease to end."""
        pulling = asyncio.create_task(queue.pull(max_deliveries=10, wait=5.0))
        await wait_until(lambda: proxy.calls["Pull"], within=5.0)
        pulling.cancel()
        with suppress(asyncio.CancelledError):
            await pulling
        await other.queue(0).publish(MAIL)
        await wait_until(lambda: proxy.calls["ModifyAckDeadline"], within=2.0)

        with takes_less_than(1.0):
            assert (await take(other.queue(0))).attempt == 2

    async def test_an_idle_pull_ends_by_itself_and_asks_once(self, queue: Queue, proxy: GrpcProxy) -> None:
        """Its own deadline is far enough away that the emulator's empty answer comes in time: no hot loop."""
        start = time.monotonic()
        assert await queue.pull(max_deliveries=10, wait=2.0) == []
        took = time.monotonic() - start

        assert 1.7 < took < 3.5
        assert proxy.calls["Pull"] == 1


class TestSettling:
    async def test_an_ack_after_giving_back_does_not_swallow_the_next_delivery(
        self, queue: Queue, other: ShardMap
    ) -> None:
        """On the emulator the old id would acknowledge what another worker holds by now."""
        await queue.publish(MAIL)
        held = await take(queue)
        await queue.nack(held)
        with pytest.raises(DeliverySettledError):
            await queue.ack(held)
        again = await take(other.queue(0))
        await other.queue(0).nack(again)

        assert (await take(other.queue(0))).attempt == 3

    async def test_what_is_given_back_is_there_at_once(self, queue: Queue, other: ShardMap) -> None:
        await queue.publish(MAIL)
        await queue.nack(await take(queue))

        with takes_less_than(0.5):
            assert (await take(other.queue(0))).attempt == 2

    async def test_an_unknown_id_among_many_is_dropped_and_the_others_are_acked(
        self, queue: Queue, other: ShardMap, proxy: GrpcProxy
    ) -> None:
        """The emulator refuses the whole request for it, so the group is halved until the bad one stands alone."""
        await asyncio.gather(*(queue.publish(Message(b"%d" % number)) for number in range(32)))
        held = await _take_all(queue, 32)
        unknown = Delivery(MAIL, "unknown", 1, held[0].lease_ends, 0.0)
        await asyncio.gather(*(queue.ack(delivery) for delivery in [*held[:20], unknown, *held[20:]]))
        await asyncio.gather(*(queue.extend([delivery], 0.0) for delivery in held))

        assert await look(other.queue(0)) == []
        assert 1 < proxy.calls["Acknowledge"] < 20

    async def test_a_lost_answer_to_an_ack_is_an_error_and_the_ack_may_be_repeated(
        self, queue: Queue, other: ShardMap, proxy: GrpcProxy
    ) -> None:
        await queue.publish(MAIL)
        held = await take(queue)
        proxy.fail("Acknowledge", after=True, times=1)
        with pytest.raises(QueueUnavailableError):
            await queue.ack(held)
        await queue.ack(held)

        with pytest.raises(DeliverySettledError):
            await queue.ack(held)
        assert await look(other.queue(0)) == []

    async def test_a_failed_extension_is_an_error_and_the_delivery_stays_ours(
        self, queue: Queue, other: ShardMap, proxy: GrpcProxy
    ) -> None:
        await queue.publish(MAIL)
        held = await take(queue)
        proxy.fail("ModifyAckDeadline", times=1)
        with pytest.raises(QueueUnavailableError):
            await queue.extend([held], 20.0)

        assert await look(other.queue(0)) == []
        await queue.ack(held)

    async def test_giving_back_however_often_never_dead_letters_a_mail(self, shards: ShardMap) -> None:
        """Pub/Sub forwards what was handed out a hundred times; a mail that waits for a provider is none of those."""
        queue = shards.queue(0)
        await queue.publish(MAIL)
        attempts = []
        for _ in range(120):
            delivery = await take(queue)
            attempts.append(delivery.attempt)
            assert delivery.message == MAIL
            await queue.nack(delivery)

        assert max(attempts) == 90
        assert await look(shards.dead(0)) == []
        await queue.ack(await take(queue))
        assert await look(queue) == []

    async def test_a_failed_renewal_keeps_the_mail(self, queue: Queue, other: ShardMap, proxy: GrpcProxy) -> None:
        """Near the limit a mail is published anew and the old one acked, never in the other order."""
        await queue.publish(MAIL)
        for _ in range(89):
            await queue.nack(await take(queue))
        held = await take(queue)
        proxy.fail("Publish", times=1)
        with pytest.raises(QueueUnavailableError):
            await queue.nack(held)
        acked = proxy.calls["Acknowledge"]
        await queue.nack(held)

        assert held.attempt == 90
        assert acked == 0
        assert (await take(other.queue(0))).attempt == 1
        assert await look(other.queue(0)) == []


class TestPublishing:
    async def test_a_publish_that_never_arrived_is_an_error_and_nothing_is_there(
        self, queue: Queue, other: ShardMap, proxy: GrpcProxy
    ) -> None:
        proxy.fail("Publish", times=1)
        with pytest.raises(QueueUnavailableError):
            await queue.publish(MAIL)

        assert await look(other.queue(0)) == []

    async def test_a_publish_returns_only_when_the_message_is_stored(
        self, queue: Queue, other: ShardMap, proxy: GrpcProxy
    ) -> None:
        proxy.delay("Publish", 0.4, times=1)
        publishing = asyncio.create_task(queue.publish(MAIL))
        await wait_until(lambda: proxy.calls["Publish"], within=5.0)
        was_done = publishing.done()
        await publishing

        assert not was_done
        assert [delivery.message for delivery in await look(other.queue(0))] == [MAIL]

    async def test_closing_waits_for_what_is_being_published(
        self, queue: Queue, shards: ShardMap, other: ShardMap, proxy: GrpcProxy
    ) -> None:
        proxy.delay("Publish", 0.4, times=1)
        publishing = asyncio.create_task(queue.publish(MAIL))
        await asyncio.sleep(0)
        await shards.aclose()

        assert publishing.done()
        assert [delivery.message for delivery in await look(other.queue(0))] == [MAIL]

    async def test_a_lost_answer_makes_two_messages_of_one_mail(
        self, queue: Queue, other: ShardMap, proxy: GrpcProxy
    ) -> None:
        """The adapter says that it does not know; who publishes again makes a second message with the same mail id."""
        proxy.fail("Publish", after=True, times=1)
        with pytest.raises(QueueUnavailableError):
            await queue.publish(MAIL)
        await queue.publish(MAIL)
        deliveries = await _take_all(other.queue(0), 2)

        assert [delivery.message for delivery in deliveries] == [MAIL, MAIL]
        assert len({delivery.receipt for delivery in deliveries}) == 2

    async def test_a_group_is_one_request(self, queue: Queue, proxy: GrpcProxy) -> None:
        await asyncio.gather(*(queue.publish(Message(b"%d" % number)) for number in range(200)))
        held = await _take_all(queue, 200)
        await asyncio.gather(*(queue.ack(delivery) for delivery in held))

        assert proxy.calls["Publish"] == 1
        assert proxy.calls["Acknowledge"] == 1

    async def test_the_largest_mail_fits_also_as_a_dead_letter(self, shards: ShardMap, other: ShardMap) -> None:
        """Else it could be accepted and then neither be published nor put aside."""
        large = Message(b"x" * MAX_ENCODED_BYTES, {"mail_id": "m" * 128, "schema": "1", "dead_detail": "d" * 1_000})
        await shards.dead(0).publish(large)

        assert (await take(other.dead(0))).message == large

    async def test_large_messages_are_spread_over_several_requests(self, queue: Queue, proxy: GrpcProxy) -> None:
        """Pub/Sub takes ten million bytes in one, and the emulator does not even answer beyond."""
        await asyncio.gather(*(queue.publish(Message(b"x" * 4_000_000)) for _ in range(5)))

        assert proxy.calls["Publish"] == 3


class TestSetUp:
    async def test_a_cluster_is_made_with_all_requests_at_once(self, proxy: GrpcProxy, cluster: Cluster) -> None:
        """Four requests a shard, one after the other, would take long where each takes a while."""
        unmade = open_shards(proxy.address, cluster)
        proxy.delay(ANY, 0.3)
        with takes_less_than(1.8):
            assert len(await unmade.ensure()) == 8
        await unmade.aclose()

    async def test_two_machines_may_make_a_cluster_at_once(self, host: str, cluster: Cluster) -> None:
        """The emulator may tell both of them that they made a topic; there is one all the same."""
        both = [open_shards(host, cluster) for _ in range(2)]
        made = await asyncio.gather(*(each.ensure() for each in both))
        await asyncio.gather(*(each.check(shard) for each in both for shard in range(2)))
        queues = [pair for shard in range(2) for pair in _pairs(both[0], both[1], shard)]
        for here, _ in queues:
            await here.publish(Message(here.name.encode()))
        found = [(await take(there)).message.data.decode() for _, there in queues]
        for each in both:
            await each.aclose()

        assert len({*made[0], *made[1]}) == 8
        assert found == [here.name for here, _ in queues]


def _pairs(one: ShardMap, other: ShardMap, shard: int) -> list[tuple[Queue, Queue]]:
    """The queues of *shard*, as each of two machines sees them."""
    return [(one.queue(shard), other.queue(shard)), (one.dead(shard), other.dead(shard))]


async def _take_all(queue: Queue, count: int) -> list[Delivery]:
    taken: list[Delivery] = []
    while len(taken) < count:
        more = await queue.pull(max_deliveries=count - len(taken), wait=5.0)
        assert more, f"only {len(taken)} of {count} came"
        taken += more
    return taken
