"""The contract of the queue port, as tests.

A subclass gives the fixtures; every adapter, also one of a third party, passes
the whole of it. It takes messages only through the port, so it says nothing
about how an adapter keeps them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from postman.errors import DeliverySettledError
from postman.ports.clock import Clock
from postman.ports.queue import Delivery, Message, Queue, ShardMap
from postman.testing._queue_shards import ShardMapContract
from postman.testing._queue_tools import SOON, is_empty, message_with, take, take_one, texts

__all__ = ["OpenAgain", "QueueSuite"]

OpenAgain = Callable[[], ShardMap]
"""Opens the cluster of *shards* once more, as another process would."""

_Settle = Callable[[Queue, Delivery], Awaitable[None]]


async def _until(clock: Clock, time: float) -> None:
    await clock.sleep(time - clock.now())


async def _ack(queue: Queue, delivery: Delivery) -> None:
    await queue.ack(delivery)


async def _nack(queue: Queue, delivery: Delivery) -> None:
    await queue.nack(delivery)


class QueueSuite(ShardMapContract):
    """Subclass it, and give it four fixtures.

    *clock*: that of the cluster; *shards*: a cluster of two shards that is made (`ensure`) and empty, with an ack
    deadline of ten seconds, closed by the fixture; *open_again*: an `OpenAgain`, whose clusters the suite closes;
    *unmade*: a cluster for which `ensure` was not called. An adapter that cannot tell a queue's depth sets
    *tells_depth* to False.
    """

    @pytest.fixture
    def queue(self, shards: ShardMap) -> Queue:
        return shards.queue(0)

    @pytest.mark.parametrize(
        "message",
        [
            Message(b"plain"),
            Message("Grüße, 世界 ✉".encode(), {"schema": "1", "тема": "öäü ✉", "empty": ""}),
            Message(bytes(range(256)), {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}),
            Message(b"", {"only": "attributes"}),
            Message(b"x" * 1_000_000, {"size": "1 MB"}),
        ],
        ids=["plain", "unicode", "all bytes", "no data", "1 MB"],
    )
    async def test_bytes_and_attributes_arrive_unaltered(self, queue: Queue, message: Message) -> None:
        await queue.publish(message)
        delivery = await take_one(queue)

        assert delivery.message.data == message.data
        assert dict(delivery.message.attributes) == dict(message.attributes)

    async def test_a_delivery_says_when_it_was_published_and_how_long_it_is_ours(
        self, queue: Queue, clock: Clock
    ) -> None:
        before = clock.time()
        await queue.publish(message_with("a"))
        delivery = await take_one(queue)

        assert before - 1.0 <= delivery.published_at <= clock.time() + 1.0
        assert 5.0 <= delivery.lease_ends - clock.now() <= 10.0

    async def test_attempts_are_counted_from_one_and_receipts_differ(self, queue: Queue) -> None:
        await queue.publish(message_with("a"))
        deliveries = []
        for _ in range(3):
            deliveries.append(await take_one(queue))
            await queue.nack(deliveries[-1])

        assert [delivery.attempt for delivery in deliveries] == [1, 2, 3]
        assert len({delivery.receipt for delivery in deliveries}) == 3

    async def test_leases_end_unless_extended_or_settled(
        self, queue: Queue, shards: ShardMap, clock: Clock, open_again: OpenAgain
    ) -> None:
        """What nobody settled comes back, also what a closed process held; what was acked does not.

        All that takes a whole lease is seen in one wait: ten seconds are the least that some queues can.
        """
        await self._close_while_holding(open_again, "closed")
        for text in ("lapsed", "extended", "acked"):
            await queue.publish(message_with(text))
        held = {delivery.message.data.decode(): delivery for delivery in await take(queue, 3)}
        await queue.ack(held["acked"])
        await queue.extend([held["extended"]], 25.0)
        await _until(clock, held["lapsed"].lease_ends - 2.5)
        early = await queue.pull(max_deliveries=10, wait=0.0)
        await _until(clock, held["lapsed"].lease_ends + 1.0)
        late = [await take_one(queue), await take_one(shards.queue(1))]

        assert not early
        assert texts(late) == ["closed", "lapsed"]
        assert [delivery.attempt for delivery in late] == [2, 2]
        assert await is_empty(queue)
        await self._settle_a_lost_one(queue, held["lapsed"], late[0])
        await queue.ack(held["extended"])

    async def _close_while_holding(self, open_again: OpenAgain, text: str) -> None:
        other = open_again()
        await other.queue(1).publish(message_with(text))
        await take_one(other.queue(1))
        await other.aclose()

    async def _settle_a_lost_one(self, queue: Queue, old: Delivery, new: Delivery) -> None:
        """An ack that comes too late does not settle the delivery that another worker holds."""
        await queue.ack(old)
        await queue.extend([old, new], 30.0)
        await queue.nack(new)
        again = await take_one(queue)

        assert again.message.data == new.message.data
        assert again.attempt == 3

    async def test_an_acked_message_is_gone(self, queue: Queue) -> None:
        await queue.publish(message_with("a"))
        await queue.ack(await take_one(queue))

        assert await is_empty(queue)

    async def test_a_message_given_back_is_there_at_once(self, queue: Queue, clock: Clock) -> None:
        await queue.publish(message_with("a"))
        first = await take_one(queue)
        start = clock.now()
        await queue.nack(first)
        again = await take_one(queue)

        assert again.message.data == b"a"
        assert clock.now() - start < 1.0

    async def test_a_waiting_worker_gets_what_another_gives_back(
        self, queue: Queue, clock: Clock, open_again: OpenAgain
    ) -> None:
        other = open_again()
        await queue.publish(message_with("a"))
        held = await take_one(queue)
        waiting = asyncio.ensure_future(other.queue(0).pull(max_deliveries=1, wait=SOON))
        await clock.sleep(0.3)
        start = clock.now()
        await queue.nack(held)
        [again] = await waiting
        took = clock.now() - start
        await other.queue(0).ack(again)
        await other.aclose()

        assert again.message.data == b"a"
        assert took < 1.0

    async def test_a_message_given_back_for_later_comes_later(self, queue: Queue, clock: Clock) -> None:
        await queue.publish(message_with("a"))
        first = await take_one(queue)
        start = clock.now()
        await queue.nack(first, delay=2.5)
        again = await take_one(queue)

        assert again.message.data == b"a"
        assert 2.4 <= clock.now() - start <= 4.5

    @pytest.mark.parametrize("first", [_ack, _nack])
    @pytest.mark.parametrize("second", [_ack, _nack])
    async def test_a_delivery_is_settled_once(self, queue: Queue, first: _Settle, second: _Settle) -> None:
        """The second time is a bug of ours, and must not touch the message's next delivery."""
        await queue.publish(message_with("a"))
        delivery = await take_one(queue)
        await first(queue, delivery)

        with pytest.raises(DeliverySettledError):
            await second(queue, delivery)
        assert await is_empty(queue) == (first is _ack)

    async def test_two_at_once_cannot_both_settle_a_delivery(self, queue: Queue) -> None:
        await queue.publish(message_with("a"))
        delivery = await take_one(queue)
        outcomes = await asyncio.gather(queue.ack(delivery), queue.ack(delivery), return_exceptions=True)

        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["DeliverySettledError", "NoneType"]

    async def test_a_settled_delivery_is_not_extended(self, queue: Queue) -> None:
        """A renewal that is late by a moment does not take the message from its next worker."""
        await queue.publish(message_with("a"))
        delivery = await take_one(queue)
        await queue.nack(delivery)
        await queue.extend([delivery], 60.0)

        assert texts([await take_one(queue)]) == ["a"]

    async def test_a_stale_ack_does_not_spoil_those_that_come_with_it(self, queue: Queue) -> None:
        await asyncio.gather(*(queue.publish(message_with(f"m{n}")) for n in range(100)))
        deliveries = await take(queue, 100)
        foreign = _foreign(deliveries[0])
        await asyncio.gather(*(queue.ack(delivery) for delivery in [*deliveries[:99], foreign]))
        await queue.nack(deliveries[99])

        assert texts(await take(queue, 1)) == texts(deliveries[99:])
        assert await is_empty(queue)

    async def test_a_stale_delivery_does_not_spoil_the_extension_of_others(self, queue: Queue, clock: Clock) -> None:
        await queue.publish(message_with("a"))
        delivery = await take_one(queue)
        start = clock.now()
        await queue.extend([_foreign(delivery), delivery], 3.0)
        again = await take_one(queue)

        assert again.message.data == b"a"
        assert 2.5 <= clock.now() - start <= 5.0

    async def test_an_empty_queue_is_waited_for(self, queue: Queue, clock: Clock) -> None:
        start = clock.now()

        assert await queue.pull(max_deliveries=10, wait=1.5) == []
        assert 1.2 <= clock.now() - start <= 3.5

    async def test_a_look_at_an_empty_queue_is_short(self, queue: Queue, clock: Clock) -> None:
        start = clock.now()

        assert await queue.pull(max_deliveries=10, wait=0.0) == []
        assert clock.now() - start <= 2.5

    async def test_a_pull_returns_when_something_arrives(self, queue: Queue, clock: Clock) -> None:
        pulling = asyncio.ensure_future(queue.pull(max_deliveries=10, wait=SOON))
        await clock.sleep(0.3)
        start = clock.now()
        await queue.publish(message_with("a"))
        deliveries = await pulling

        assert texts(deliveries) == ["a"]
        assert clock.now() - start < 1.0

    async def test_no_more_is_handed_out_than_asked_for(self, queue: Queue) -> None:
        await asyncio.gather(*(queue.publish(message_with(f"m{n}")) for n in range(5)))
        first = await queue.pull(max_deliveries=2, wait=SOON)
        rest = await take(queue, 5 - len(first))

        assert 1 <= len(first) <= 2
        assert texts([*first, *rest]) == ["m0", "m1", "m2", "m3", "m4"]

    async def test_what_many_publish_at_once_arrives_once_each(self, queue: Queue) -> None:
        await asyncio.gather(*(queue.publish(message_with(f"m{n:03}")) for n in range(200)))
        deliveries = await take(queue, 200)
        await asyncio.gather(*(queue.ack(delivery) for delivery in deliveries))

        assert texts(deliveries) == [f"m{n:03}" for n in range(200)]
        assert await is_empty(queue)

    async def test_no_two_workers_hold_the_same_message(self, queue: Queue, open_again: OpenAgain) -> None:
        other = open_again()
        await asyncio.gather(*(queue.publish(message_with(f"m{n:02}")) for n in range(40)))
        found = await asyncio.gather(*(_some(each) for each in [queue, other.queue(0)] * 4))
        rest = await take(queue, 40 - sum(map(len, found)))
        await other.aclose()

        assert texts([*rest, *(delivery for part in found for delivery in part)]) == [f"m{n:02}" for n in range(40)]

    async def test_closing_twice_is_fine(self, open_again: OpenAgain) -> None:
        other = open_again()
        await other.queue(0).publish(message_with("a"))
        await other.queue(0).aclose()
        await other.queue(0).aclose()
        await other.aclose()
        await other.aclose()

    async def test_closing_before_any_use_is_fine(self, open_again: OpenAgain) -> None:
        await open_again().aclose()


def _foreign(delivery: Delivery) -> Delivery:
    """A delivery that this queue never made."""
    return Delivery(delivery.message, f"{delivery.receipt}9999", 1, delivery.lease_ends, delivery.published_at)


async def _some(queue: Queue) -> Sequence[Delivery]:
    return await queue.pull(max_deliveries=5, wait=SOON)
