"""Queues: one for each shard, and one for each shard's dead letters.

A queue hands every message to one worker at a time and hands it out again when
it was not settled within its lease. It promises *at least once*: a message may
come twice, come late, and come in any order. It never invents, alters or drops
one. What makes sending safe is the ledger, not the queue.

Every method is one item's; adapters gather items that come together into one
request. No adapter retries for long by itself: an error that another try may
cure is `QueueUnavailableError`, raised within seconds, and the caller decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from postman.core.message import Message

__all__ = ["Delivery", "Message", "Queue", "ShardMap"]


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One handing-over of a message to this process.

    It is settled exactly once: by `ack`, by `nack`, or by nothing, when its
    lease runs out.
    """

    message: Message
    receipt: str
    """The adapter's own handle; unique for each delivery, not for each message."""
    attempt: int
    """1 for the first delivery. Approximate on Pub/Sub, exact elsewhere."""
    lease_ends: float
    """On `Clock.now()`'s scale: until then nobody else is handed this message."""
    published_at: float
    """Seconds since 1970, by the queue's clock."""


class Queue(Protocol):
    """One shard's messages, or one shard's dead letters."""

    @property
    def name(self) -> str:
        """What an operator calls it: the subscription on Pub/Sub."""
        ...

    async def publish(self, message: Message) -> None:
        """Return once *message* is durable.

        An error means that it may or may not be: publishing again can make two
        messages, which the ledger tells apart from two mails.
        """
        ...

    async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
        """Return up to *max_deliveries* messages, oldest first as far as the queue can.

        Blocks for about *wait* seconds (0: looks once; Pub/Sub takes up to two seconds for that look) while there is
        none, then returns an empty list, which does not prove that the queue is empty. May return fewer than there are.
        Never cancel it: a cancelled pull may take a message along until its lease ends. To stop, start no more
        and wait for the last.
        """
        ...

    async def extend(self, deliveries: Sequence[Delivery], seconds: float) -> None:
        """Let the leases of *deliveries* end *seconds* from now, at the most 600.

        What is already lost, settled or unknown is passed over; it does not spoil the rest.
        """
        ...

    async def ack(self, delivery: Delivery) -> None:
        """Done: the message is not handed out again.

        Raises `DeliverySettledError` for a second settling of the same delivery. A delivery whose lease is over may be
        acked: this takes effect, or has none; it never touches a newer delivery of the message.
        """
        ...

    async def nack(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        """Give back: the message may be handed out again after *delay* seconds (0 to 600).

        With 0 another worker that is waiting gets it at once. Raises `DeliverySettledError` as `ack`. Giving back,
        however often, never dead-letters a message.
        """
        ...

    async def aclose(self) -> None:
        """Let go of what the queue holds. Deliveries not settled come back when their leases end."""
        ...


class ShardMap(Protocol):
    """All queues of a cluster. Which of them are in use is the layout's to say; here each has its number."""

    @property
    def count(self) -> int:
        """How many shards the settings name: those in use where no layout says otherwise."""
        ...

    def queue(self, shard: int) -> Queue:
        """Return the queue of *shard*, 0 to 1023; the same object each time. It need not have been made."""
        ...

    def dead(self, shard: int) -> Queue:
        """Return the dead letters of *shard*, a queue like any other, without dead letters of its own."""
        ...

    async def ensure(self, shards: Sequence[int] | None = None) -> Sequence[str]:
        """Make what is missing of *shards* (topics, subscriptions, tables), by default of those that the settings name.

        Returns the names of what was made. Idempotent, and safe to run from several machines at once. Never alters or
        removes what is there.
        """
        ...

    async def check(self, shard: int) -> None:
        """Return if *shard* can be used, else raise `QueueUnavailableError` or `ConfigError` naming it."""
        ...

    async def depth(self, shard: int) -> int | None:
        """Return how many messages lie in *shard*, also those that are handed out or delayed; None: it cannot be told.

        Exact where it is a number. Raises `QueueUnavailableError`.
        """
        ...

    async def aclose(self) -> None:
        """Close all queues."""
        ...
