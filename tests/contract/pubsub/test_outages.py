"""What the Pub/Sub adapter makes of outages: each is told within seconds, none is waited out or tried again."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from postman.adapters.pubsub import open_shards
from postman.errors import QueueUnavailableError
from postman.ports.opening import Cluster
from postman.ports.queue import Delivery, Queue, ShardMap
from postman.testing.grpc_proxy import ANY, GrpcProxy, StatusCode
from postman.testing.waiting import wait_until
from tests.contract.pubsub.tools import MAIL, look, take, takes_less_than

PASSING = pytest.mark.parametrize(
    "code",
    [
        StatusCode.UNAVAILABLE,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.ABORTED,
        StatusCode.INTERNAL,
    ],
    ids=lambda code: str(code.name).lower(),
)


@PASSING
@pytest.mark.parametrize("method", ["Publish", "Pull", "Acknowledge", "ModifyAckDeadline"])
async def test_what_may_pass_is_reported_as_such_and_not_tried_again(
    queue: Queue, other: ShardMap, proxy: GrpcProxy, code: StatusCode, method: str
) -> None:
    await other.queue(0).publish(MAIL)
    held = await take(queue)
    before = proxy.calls[method]
    proxy.fail(method, code=code, times=1)
    if (method, code) == ("Pull", StatusCode.DEADLINE_EXCEEDED):
        assert await look(queue) == []
    else:
        await _assert_fails(queue, held, method)

    assert proxy.calls[method] - before == 1


@pytest.mark.parametrize("code", [StatusCode.PERMISSION_DENIED, StatusCode.UNAUTHENTICATED])
@pytest.mark.parametrize(
    ("method", "role"), [("Publish", "roles/pubsub.publisher"), ("Acknowledge", "roles/pubsub.subscriber")]
)
async def test_a_missing_permission_names_the_role(
    queue: Queue, other: ShardMap, proxy: GrpcProxy, code: StatusCode, method: str, role: str
) -> None:
    await other.queue(0).publish(MAIL)
    held = await take(queue)
    proxy.fail(method, code=code, times=1)

    with pytest.raises(QueueUnavailableError, match=role):
        await _calls(queue, held)[method]()


@pytest.mark.parametrize("method", ["Publish", "Pull", "Acknowledge", "ModifyAckDeadline"])
async def test_nobody_listening_is_told_at_once(cluster: Cluster, method: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        shards = open_shards(f"127.0.0.1:{taken.getsockname()[1]}", cluster)
        with takes_less_than(6.0):
            await _assert_fails(shards.queue(0), Delivery(MAIL, "receipt", 1, 0.0, 0.0), method)
            with pytest.raises(QueueUnavailableError):
                await shards.check(0)
        await shards.aclose()


async def test_silence_is_told_within_six_seconds(shards: ShardMap, proxy: GrpcProxy) -> None:
    """Google's own client would wait a minute, longer than a lease."""
    proxy.hang(ANY)
    held = Delivery(MAIL, "receipt", 1, 0.0, 0.0)
    queue = shards.queue(0)
    calls = [queue.publish(MAIL), queue.ack(held), queue.extend([_copy(held)], 20.0), shards.check(0)]
    with takes_less_than(6.0):
        results = await asyncio.gather(*calls, return_exceptions=True)

    assert all(isinstance(result, QueueUnavailableError) for result in results)


async def test_silence_ends_a_pull_about_a_second_late(queue: Queue, proxy: GrpcProxy) -> None:
    proxy.hang("Pull")
    with takes_less_than(3.5), suppress(QueueUnavailableError):
        assert await queue.pull(max_deliveries=1, wait=1.5) == []


async def test_the_end_of_an_outage_is_noticed_within_two_seconds(host: str, other: ShardMap, cluster: Cluster) -> None:
    """Not after the long pauses that gRPC makes between its attempts to connect."""
    port = _free_port()
    shards = open_shards(f"127.0.0.1:{port}", cluster)
    await _see_it_fail(shards.queue(0), seconds=4.7)
    async with _relay(port, host):
        start = time.monotonic()
        await wait_until(lambda: _works(shards.queue(0)), within=10.0)
        took = time.monotonic() - start
        await shards.aclose()

    assert took < 2.0


async def test_no_error_shows_the_text_of_a_mail(queue: Queue, proxy: GrpcProxy) -> None:
    proxy.fail("Publish", times=1)
    with pytest.raises(QueueUnavailableError) as caught:
        await queue.publish(MAIL)

    assert "secret" not in str(caught.value) + repr(caught.value) + repr(caught.value.__cause__)


def _copy(delivery: Delivery) -> Delivery:
    return Delivery(delivery.message, f"{delivery.receipt}-2", 1, delivery.lease_ends, delivery.published_at)


def _calls(queue: Queue, held: Delivery) -> dict[str, Callable[[], Awaitable[object]]]:
    return {
        "Publish": lambda: queue.publish(MAIL),
        "Pull": lambda: look(queue),
        "Acknowledge": lambda: queue.ack(held),
        "ModifyAckDeadline": lambda: queue.nack(held),
    }


async def _assert_fails(queue: Queue, held: Delivery, method: str) -> None:
    with pytest.raises(QueueUnavailableError, match=queue.name):
        await _calls(queue, held)[method]()


async def _works(queue: Queue) -> bool:
    with suppress(QueueUnavailableError):
        await queue.publish(MAIL)
        return True
    return False


async def _see_it_fail(queue: Queue, *, seconds: float) -> None:
    until = time.monotonic() + seconds

    async def has_failed_long_enough() -> bool:
        assert not await _works(queue)
        return time.monotonic() > until

    await wait_until(has_failed_long_enough, within=2 * seconds, every=0.2)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@asynccontextmanager
async def _relay(port: int, host: str) -> AsyncIterator[None]:
    """Let *port* be another way to *host*."""
    target, _, target_port = host.rpartition(":")
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection(target, int(target_port))
        await asyncio.gather(_copy_bytes(reader, back_writer), _copy_bytes(back_reader, writer))

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    yield
    server.close()
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def _copy_bytes(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        pass
    finally:
        sink.close()
