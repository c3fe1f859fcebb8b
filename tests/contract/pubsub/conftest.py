"""A Pub/Sub cluster of one test alone: *other* as another worker has it, *shards* as ours, behind a proxy."""

from collections.abc import AsyncIterator

import pytest

from postman.adapters.clock import SystemClock
from postman.adapters.pubsub import open_shards
from postman.ports.opening import Cluster
from postman.ports.queue import Queue, ShardMap
from postman.testing.emulators import Emulators
from postman.testing.grpc_proxy import GrpcProxy


@pytest.fixture
def host(pubsub: Emulators) -> str:
    return pubsub.environment["PUBSUB_EMULATOR_HOST"]


@pytest.fixture
async def proxy(host: str) -> AsyncIterator[GrpcProxy]:
    async with GrpcProxy(host) as running:
        yield running


@pytest.fixture
def cluster(project: str, prefix: str) -> Cluster:
    return Cluster(SystemClock(), project=project, prefix=prefix, shards=2, ack_deadline=10.0)


@pytest.fixture
async def other(host: str, cluster: Cluster) -> AsyncIterator[ShardMap]:
    """Another worker's queues, made and without trouble."""
    opened = open_shards(host, cluster)
    await opened.ensure()
    yield opened
    await opened.aclose()


@pytest.fixture
async def shards(other: ShardMap, proxy: GrpcProxy, cluster: Cluster) -> AsyncIterator[ShardMap]:
    """Our queues, behind the proxy."""
    opened = open_shards(proxy.address, cluster)
    yield opened
    proxy.heal()
    await opened.aclose()


@pytest.fixture
def queue(shards: ShardMap) -> Queue:
    return shards.queue(0)
