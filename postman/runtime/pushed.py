"""Messages that were pushed, as the queues that they came from.

Each came with a request of the queue's, and is settled by its answer: acked is
"done", given back is "send it again". The lease ends when the queue stops
waiting for the answer, and cannot be extended. What else is done with a queue
is done with the real one: publishing, and its dead letters.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from postman.core.message import Message
from postman.core.verdict import Ack, GiveBack
from postman.errors import DeliverySettledError, QueueError
from postman.ports.queue import Delivery, Queue, ShardMap

__all__ = ["Answer", "Answers", "Pushed", "PushedShards"]

_LOG = structlog.get_logger("postman.pushed")

Answer = Ack | GiveBack
"""What the queue is told: that the message is done, or that it shall be sent again."""

_UNSETTLED: Final = GiveBack(1.0)
_NEARLY_DEAD: Final = 90
"""Deliveries after which a message that is given back is published anew: Pub/Sub dead-letters it after 100."""
_ADDED: Final = ("CloudPubSub", "googclient_")
"""How the names of attributes begin that Pub/Sub or its clients added."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """One message as a request brought it."""

    message: Message
    attempt: int
    """1 for the first delivery, and where the queue does not count them."""
    published_at: float
    """Seconds since 1970, by the queue's clock."""
    lease_ends: float
    """On `Clock.now()`'s scale: then the queue stops waiting for the answer, and sends the message again."""
    shard: int | None = None
    """The one that it came from; None where that was not told."""


class Answers:
    """The answers to the requests that are under way; each is given once."""

    def __init__(self) -> None:
        self._open: dict[Delivery, asyncio.Future[Answer]] = {}

    def __len__(self) -> int:
        """How many requests are under way."""
        return len(self._open)

    @contextmanager
    def expecting(self, delivery: Delivery) -> Iterator["asyncio.Future[Answer]"]:
        """Give what will hold the answer about *delivery*, for as long as somebody waits for it."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._open[delivery] = answer
        try:
            yield answer
        finally:
            del self._open[delivery]

    def tell(self, delivery: Delivery, answer: Answer) -> None:
        """Answer; where nobody waits any more the message comes again. `DeliverySettledError` for a second answer."""
        expected = self._open.get(delivery)
        if expected is None:
            _LOG.warning("answered_too_late", mail_id=delivery.message.attributes.get("mail_id"))
        elif expected.done():
            raise DeliverySettledError("this delivery was acked or given back before")
        else:
            expected.set_result(answer)

    def conclude(self, delivery: Delivery) -> None:
        """Let what could not be settled be sent again."""
        expected = self._open.get(delivery)
        if expected is not None and not expected.done():
            expected.set_result(_UNSETTLED)


class _PushedQueue:
    """A `Queue` from which nothing can be pulled."""

    def __init__(self, queue: Queue, answers: Answers) -> None:
        self._queue = queue
        self._answers = answers

    @property
    def name(self) -> str:
        return self._queue.name

    async def publish(self, message: Message) -> None:
        await self._queue.publish(message)

    async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:  # noqa: ARG002 — the port's
        return ()

    async def extend(self, deliveries: Sequence[Delivery], seconds: float) -> None:
        """Nothing: the queue waits for an answer as long as its subscription says."""

    async def ack(self, delivery: Delivery) -> None:
        self._answers.tell(delivery, Ack())

    async def nack(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        """See the port. The delay is told with the answer, and it is the queue's affair whether it keeps to it."""
        is_done = delivery.attempt >= _NEARLY_DEAD and await self._renew(delivery.message)
        self._answers.tell(delivery, Ack() if is_done else GiveBack(delay))

    async def aclose(self) -> None:
        """The queue is closed with its `ShardMap`."""

    async def _renew(self, message: Message) -> bool:
        own = {name: value for name, value in message.attributes.items() if not name.startswith(_ADDED)}
        try:
            await self._queue.publish(Message(message.data, own))
        except QueueError as error:
            _LOG.warning("not_renewed", mail_id=message.attributes.get("mail_id"), reason=str(error))
            return False
        return True


class PushedShards:
    """A `ShardMap` whose deliveries are settled by *answers*; all else is that of *shards*, which it closes."""

    def __init__(self, shards: ShardMap, answers: Answers) -> None:
        self._shards = shards
        self._answers = answers
        self._queues: dict[int, Queue] = {}

    @property
    def count(self) -> int:
        return self._shards.count

    def queue(self, shard: int) -> Queue:
        if shard not in self._queues:
            self._queues[shard] = _PushedQueue(self._shards.queue(shard), self._answers)
        return self._queues[shard]

    def dead(self, shard: int) -> Queue:
        return self._shards.dead(shard)

    async def ensure(self, shards: Sequence[int] | None = None) -> Sequence[str]:
        return await self._shards.ensure(shards)

    async def check(self, shard: int) -> None:
        await self._shards.check(shard)

    async def depth(self, shard: int) -> int | None:
        return await self._shards.depth(shard)

    async def aclose(self) -> None:
        await self._shards.aclose()
