"""A worker that some mails end: `python -m tests.system.deadly_worker`, with the settings of `postman worker`.

A message whose id begins with `killed` ends it while it is read, in the worker as in the child that tastes; a mail
whose id begins with `deadly` ends it while it is sent, when its neighbours are in flight.
"""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

from postman.adapters.tasting import ChildTaster
from postman.config import Settings
from postman.core.mail import Mail
from postman.core.message import Message
from postman.entrypoints.logs import set_up_logs
from postman.ports.provider import Provider, Receipt
from postman.ports.queue import Delivery, Queue, ShardMap
from postman.runtime.courier import Limits
from postman.runtime.worker import Worker, WorkerSettings
from postman.wiring import open_failover, open_ledger, open_shards, provider_entries, system_clock

__all__ = ["READING"]

READING = "tests.unit.adapters.deadly_reading:deadly"


class _Attributes(dict[str, str]):
    """What ends the process that looks closer: decoding begins with the version of the schema."""

    def get(self, name: str, default: Any = None) -> Any:
        if name == "schema" and self["mail_id"].startswith("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().get(name, default)


class _Queue:
    """A queue whose messages are as deadly as their ids say."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
        deliveries = await self._queue.pull(max_deliveries=max_deliveries, wait=wait)
        return [replace(each, message=_deadly(each.message)) for each in deliveries]


class _Shards:
    def __init__(self, shards: ShardMap) -> None:
        self._shards = shards
        self._queues = [_Queue(shards.queue(shard)) for shard in range(shards.count)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shards, name)

    def queue(self, shard: int) -> Any:
        return self._queues[shard]


class _Provider:
    """A provider in whose hands some mails end the process."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    async def send(self, mail: Mail, *, timeout: float | None = None) -> Receipt:
        if mail.id.startswith("deadly"):
            await asyncio.sleep(0.2)  # until its neighbours are under way
            os.kill(os.getpid(), signal.SIGKILL)
        return await self._provider.send(mail, timeout=timeout)


def _deadly(message: Message) -> Message:
    return Message(message.data, _Attributes(message.attributes))


async def _worker(settings: Settings, environ: Mapping[str, str]) -> Worker:
    clock = system_clock()
    failover = open_failover(await provider_entries(settings, environ), clock=clock)
    for route in failover._routes:
        route.provider = _Provider(route.provider)
    budget = 2 * failover.longest_timeout + 3.0
    return Worker(
        shards=_Shards(open_shards(settings, clock=clock)),
        ledger=open_ledger(settings, clock=clock),
        failover=failover,
        clock=clock,
        settings=WorkerSettings(
            limits=Limits(lease=budget + 3.0, budget=budget),
            concurrency=settings.concurrency,
            ack_deadline=settings.ack_deadline,
            doubt_window=settings.doubt_window,
        ),
        new_claim_id=lambda: uuid4().hex,
        taster=ChildTaster(clock, reading=READING),
    )


async def _main() -> None:
    settings = Settings.from_env(os.environ)
    set_up_logs("info")
    worker = await _worker(settings, os.environ)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    await worker.run()


if __name__ == "__main__":
    asyncio.run(_main())
