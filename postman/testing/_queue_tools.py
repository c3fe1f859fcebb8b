"""What the parts of the queue's contract share: short ways to fill a queue and to look into it."""

from collections.abc import Sequence
from typing import Final

from postman.ports.queue import Delivery, Message, Queue

__all__ = ["SOON", "is_empty", "message_with", "take", "take_one", "texts"]

SOON: Final = 5.0
"""Seconds within which a message that is there must come."""


def message_with(text: str) -> Message:
    return Message(text.encode(), {"mail_id": text})


def texts(deliveries: Sequence[Delivery]) -> list[str]:
    return sorted(delivery.message.data.decode() for delivery in deliveries)


async def take(queue: Queue, count: int) -> list[Delivery]:
    """Pull until *count* messages came."""
    taken: list[Delivery] = []
    while len(taken) < count:
        more = await queue.pull(max_deliveries=count - len(taken), wait=SOON)
        assert more, f"{len(taken)} of {count} messages came from {queue.name}"
        taken += more
    return taken


async def take_one(queue: Queue) -> Delivery:
    [delivery] = await take(queue, 1)
    return delivery


async def is_empty(queue: Queue) -> bool:
    return not await queue.pull(max_deliveries=100, wait=0.0)
