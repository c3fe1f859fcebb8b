"""The producer: from threads and from asyncio, with a queue that is away for a while."""

import asyncio

import pytest

from postman.adapters.clock import SystemClock
from postman.adapters.memory import MemoryShards
from postman.core.shards import shard_for
from postman.errors import (
    QueueUnavailableError,
)
from postman.ports.opening import Cluster
from postman.runtime.producer import Producer
from tests.unit.runtime.worker_scene import SHARDS, Scene, mails


@pytest.fixture
async def scene() -> Scene:
    scene = Scene()
    await scene.shards.ensure()
    return scene


async def test_a_producer_serves_threads_and_asyncio_and_waits_for_all_when_it_closes(scene: Scene) -> None:
    some = mails(300)
    producer = Producer(lambda: scene.shards, clock=scene.clock)
    await asyncio.gather(*(producer.apublish(mail) for mail in some[:100]))
    futures = [producer.publish(mail) for mail in some[100:]]
    await asyncio.to_thread(producer.close)
    producer.close()

    assert [future.result(0) for future in futures] == [mail.id for mail in some[100:]]
    assert len(await scene.left()) == 300
    with pytest.raises(RuntimeError):
        producer.publish(some[0])


def test_a_producer_can_be_closed_unused() -> None:
    Producer(lambda: MemoryShards(Cluster(SystemClock())), clock=SystemClock()).close()


async def test_a_producer_publishes_again_when_the_queue_is_out_of_reach_for_a_while(scene: Scene) -> None:
    [one] = mails(1)
    scene.flaky(shard_for(one.id, SHARDS)).failures = 2
    async with Producer(lambda: scene.shards, clock=scene.clock) as producer:
        assert await producer.apublish(one) == one.id

    assert len(await scene.left()) == 1


async def test_a_producer_gives_up_with_the_queues_own_error(scene: Scene) -> None:
    [one] = mails(1)
    scene.flaky(shard_for(one.id, SHARDS)).failures = 1_000
    async with Producer(lambda: scene.shards, clock=scene.clock, patience=0.3) as producer:
        with pytest.raises(QueueUnavailableError):
            await producer.apublish(one)
