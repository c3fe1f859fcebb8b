"""What the tests of the Pub/Sub adapter do with a queue."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from postman.ports.queue import Delivery, Message, Queue

__all__ = ["MAIL", "look", "take", "takes_less_than"]

MAIL = Message(b"a secret text", {"mail_id": "m-1", "schema": "1"})


async def look(queue: Queue) -> Sequence[Delivery]:
    return await queue.pull(max_deliveries=100, wait=0.0)


async def take(queue: Queue, *, wait: float = 5.0) -> Delivery:
    [delivery] = await queue.pull(max_deliveries=1, wait=wait)
    return delivery


@contextmanager
def takes_less_than(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds
