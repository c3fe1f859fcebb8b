"""One topic with its subscription. What it promises is said in the package's docstring."""

import asyncio
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from postman.adapters._grouping import Grouper
from postman.adapters._settling import Settling
from postman.adapters.pubsub._connection import (
    ACKNOWLEDGE,
    MODIFY,
    PUBLISH,
    PULL,
    Connection,
    RefusedRequestError,
    TimedOutError,
)
from postman.errors import QueueError
from postman.ports.clock import Clock
from postman.ports.queue import Delivery, Message

__all__ = ["PubsubQueue", "Resource"]

_T = TypeVar("_T")

_PATIENCE = 5.0
"""Seconds for every request that does not wait for messages."""
_SLOWEST = 2_000_000.0
"""Bytes a second: a slow line is given this much longer for a large publish."""
_MAX_MESSAGES = 1_000
_MAX_PUBLISH_BYTES = 9_500_000
"""Of one request with several messages."""
_MAX_MESSAGE_BYTES = 9_990_000
"""Of a message, which then travels alone; Pub/Sub takes 10,000,000, and the emulator does not answer beyond."""
_MAX_IDS = 1_000
_MAX_ID_BYTES = 500_000
"""Of the ids of one request; Pub/Sub takes 524,288 bytes in all."""
_EXTENDED_AT_ONCE = 500
_MAX_DELAY = 600
_NEARLY_DEAD = 90
"""Deliveries after which a message that is given back is published anew; Pub/Sub dead-letters it after 100."""
_WIRE_DELAY = 1.0
"""Seconds that an answer with messages may take from Pub/Sub to us, at the most that leases allow for."""
_GOOGLES = ("CloudPubSub", "googclient_")
"""How attributes begin that Pub/Sub or its clients added."""


@dataclass(frozen=True, slots=True)
class Resource:
    """The full names of a topic and its subscription."""

    topic: str
    subscription: str
    dead_letters: str = ""
    """The topic of its dead letters; empty where these are dead letters themselves."""

    @property
    def name(self) -> str:
        """The subscription's own name, as an operator knows it."""
        return self.subscription.rpartition("/")[2]


class PubsubQueue:
    """A `Queue` on Pub/Sub; several share a connection, which none of them closes."""

    def __init__(self, resource: Resource, connection: Connection, clock: Clock, *, ack_deadline: float) -> None:
        self.resource = resource
        self._connection = connection
        self._clock = clock
        self._ack_deadline = ack_deadline
        self._settling = Settling()
        self._pulls: set[asyncio.Future[Any]] = set()
        self._publishing = Grouper[Message, None](
            self._publish, limit=_MAX_MESSAGES, weigh=_weight, max_weight=_MAX_PUBLISH_BYTES
        )
        self._acking = Grouper[str, None](self._ack, limit=_MAX_IDS, weigh=_id_weight, max_weight=_MAX_ID_BYTES)
        self._delaying = Grouper[tuple[str, int], None](
            self._delay, limit=_MAX_IDS, weigh=lambda item: _id_weight(item[0]), max_weight=_MAX_ID_BYTES
        )

    @property
    def name(self) -> str:
        return self.resource.name

    async def publish(self, message: Message) -> None:
        if _weight(message) > _MAX_MESSAGE_BYTES:
            raise QueueError(f"a message of {_weight(message)} bytes is too large for {self.name}")
        await self._publishing.add(message)

    async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
        """See the port. If it is cancelled all the same, what it would have returned is given back at once."""
        pulling = asyncio.ensure_future(self._pull(min(max_deliveries, _MAX_MESSAGES), wait))
        self._pulls.add(pulling)
        pulling.add_done_callback(self._pulls.discard)
        try:
            return await asyncio.shield(pulling)
        except asyncio.CancelledError:
            returning = asyncio.ensure_future(self._give_back(pulling))
            self._pulls.add(returning)
            returning.add_done_callback(self._pulls.discard)
            raise

    async def extend(self, deliveries: Sequence[Delivery], seconds: float) -> None:
        ids = [delivery.receipt for delivery in deliveries if delivery.receipt not in self._settling]
        for start in range(0, len(ids), _EXTENDED_AT_ONCE):
            await self._modify(ids[start : start + _EXTENDED_AT_ONCE], _whole(seconds))

    async def ack(self, delivery: Delivery) -> None:
        with self._settling.once(delivery.receipt):
            await self._acking.add(delivery.receipt)

    async def nack(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        with self._settling.once(delivery.receipt):
            if delivery.attempt >= _NEARLY_DEAD:
                await self._renew(delivery)
            else:
                await self._delaying.add((delivery.receipt, _whole(delay)))

    async def aclose(self) -> None:
        """Wait for what is under way, also for pulls that were cancelled: none is left to take messages along."""
        while self._pulls:
            await asyncio.gather(*self._pulls, return_exceptions=True)
        for grouper in (self._publishing, self._acking, self._delaying):
            await grouper.aclose()

    async def _pull(self, limit: int, wait: float) -> Sequence[Delivery]:
        request = PULL.request(subscription=self.resource.subscription, max_messages=limit)
        sent = self._clock.now()
        try:
            answer = await self._connection.call(PULL, request, timeout=max(wait, 1.0) + 1.0)
        except TimedOutError:
            return []
        lease_ends = self._handed_out(sent) + self._ack_deadline
        return [_delivery(received, lease_ends) for received in answer.received_messages]

    def _handed_out(self, sent: float) -> float:
        """Since when the messages of an answer may have been ours.

        Not since the request was *sent*: a pull that waited 20 s would come with leases that look over.
        """
        return max(sent, self._clock.now() - _WIRE_DELAY)

    async def _give_back(self, pulling: "asyncio.Future[Sequence[Delivery]]") -> None:
        with suppress(QueueError):
            ids = [delivery.receipt for delivery in await pulling]
            await self._modify(ids, 0)

    async def _renew(self, delivery: Delivery) -> None:
        attributes = delivery.message.attributes.items()
        own = {key: value for key, value in attributes if not key.startswith(_GOOGLES)}
        await self.publish(Message(delivery.message.data, own))
        await self._acking.add(delivery.receipt)

    async def _publish(self, messages: Sequence[Message]) -> Sequence[BaseException | None]:
        return await _divide(self._publish_all, messages)

    async def _publish_all(self, messages: Sequence[Message]) -> None:
        request = PUBLISH.request(topic=self.resource.topic)
        for message in messages:
            request.messages.add(data=message.data, attributes=message.attributes)
        patience = _PATIENCE + sum(map(_weight, messages)) / _SLOWEST
        await self._connection.call(PUBLISH, request, timeout=patience)

    async def _ack(self, ids: Sequence[str]) -> Sequence[None]:
        await _divide(self._ack_all, ids)
        return [None] * len(ids)

    async def _ack_all(self, ids: Sequence[str]) -> None:
        request = ACKNOWLEDGE.request(subscription=self.resource.subscription, ack_ids=ids)
        await self._connection.call(ACKNOWLEDGE, request, timeout=_PATIENCE)

    async def _delay(self, items: Sequence[tuple[str, int]]) -> Sequence[None]:
        by_delay: dict[int, list[str]] = defaultdict(list)
        for receipt, seconds in items:
            by_delay[seconds].append(receipt)
        await asyncio.gather(*(self._modify(ids, seconds) for seconds, ids in by_delay.items()))
        return [None] * len(items)

    async def _modify(self, ids: Sequence[str], seconds: int) -> None:
        async def modify_all(part: Sequence[str]) -> None:
            request = MODIFY.request(
                subscription=self.resource.subscription, ack_ids=part, ack_deadline_seconds=seconds
            )
            await self._connection.call(MODIFY, request, timeout=_PATIENCE)

        await _divide(modify_all, ids)


async def _divide(send: Callable[[Sequence[_T]], Awaitable[None]], items: Sequence[_T]) -> list[BaseException | None]:
    """Send *items* in one request; where it is refused, in halves, until the refused ones stand alone.

    The emulator refuses a request for one unknown id in it, and Pub/Sub for one bad message.
    """
    if not items:
        return []
    try:
        await send(items)
    except RefusedRequestError as error:
        if len(items) == 1:
            return [error]
        half = len(items) // 2
        return [*await _divide(send, items[:half]), *await _divide(send, items[half:])]
    return [None] * len(items)


def _delivery(received: Any, lease_ends: float) -> Delivery:
    message = received.message
    return Delivery(
        Message(message.data, dict(message.attributes)),
        receipt=received.ack_id,
        attempt=max(received.delivery_attempt, 1),
        lease_ends=lease_ends,
        published_at=message.publish_time.seconds + message.publish_time.nanos / 1e9,
    )


def _weight(message: Message) -> int:
    """Bytes on the wire, a little more than exactly."""
    attributes = message.attributes.items()
    return len(message.data) + sum(4 * len(key) + 4 * len(value) + 16 for key, value in attributes) + 64


def _id_weight(receipt: str) -> int:
    return len(receipt) + 4


def _whole(seconds: float) -> int:
    """Pub/Sub counts whole seconds: rather a little late than early."""
    return min(max(math.ceil(seconds), 0), _MAX_DELAY)
