"""The queue's contract over Pub/Sub, and what only this adapter promises."""

import asyncio
import gc
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace

import grpc
import pytest
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from postman.adapters.clock import SystemClock
from postman.adapters.pubsub import PubsubShards, open_shards
from postman.errors import ConfigError, QueueError, QueueUnavailableError
from postman.ports.clock import Clock
from postman.ports.opening import Cluster
from postman.ports.queue import Delivery, Message, Queue, ShardMap
from postman.testing.clock import FakeClock
from postman.testing.emulators import Emulators
from postman.testing.grpc_proxy import GrpcProxy, StatusCode
from postman.testing.queue import OpenAgain, QueueSuite
from postman.testing.waiting import wait_until


@pytest.fixture
def clock() -> Clock:
    return SystemClock()


@pytest.fixture
def emulator(pubsub: Emulators) -> str:
    return pubsub.environment["PUBSUB_EMULATOR_HOST"]


@pytest.fixture
def cluster(emulator: str, clock: Clock, project: str, prefix: str) -> Iterator[Cluster]:
    cluster = Cluster(clock, project=project, prefix=prefix, shards=2, ack_deadline=10.0)
    with _removed_afterwards(emulator, cluster):
        yield cluster


@contextmanager
def _removed_afterwards(emulator: str, cluster: Cluster) -> Iterator[None]:
    """The emulator keeps what was acked until its subscription is gone."""
    try:
        yield
    finally:
        with grpc.insecure_channel(emulator) as channel:
            subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
            publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
            for subscription in subscriber.list_subscriptions(project=f"projects/{cluster.project}"):
                subscriber.delete_subscription(subscription=subscription.name)
            for topic in publisher.list_topics(project=f"projects/{cluster.project}"):
                publisher.delete_topic(topic=topic.name)


@pytest.fixture
def open_again(shards: PubsubShards, emulator: str, cluster: Cluster) -> OpenAgain:
    return lambda: open_shards(emulator, cluster)


@pytest.fixture
async def unmade(emulator: str, cluster: Cluster) -> AsyncIterator[PubsubShards]:
    shards = open_shards(emulator, cluster)
    yield shards
    await shards.aclose()


@pytest.fixture
async def shards(unmade: PubsubShards) -> PubsubShards:
    await unmade.ensure()
    return unmade


@pytest.fixture
def queue(shards: PubsubShards) -> Queue:
    return shards.queue(0)


class TestPubsubQueue(QueueSuite):
    tells_depth = False


async def _publish_all(queue: Queue, texts: str) -> None:
    await asyncio.gather(*(queue.publish(Message(text.encode())) for text in texts))


async def _take(queue: Queue, count: int) -> list[Delivery]:
    taken: list[Delivery] = []
    while len(taken) < count:
        more = await queue.pull(max_deliveries=count - len(taken), wait=4.0)
        assert more, f"{len(taken)} of {count} came"
        taken += more
    return sorted(taken, key=lambda delivery: delivery.message.data)


async def test_eight_shards_are_made_in_two_seconds(emulator: str, cluster: Cluster) -> None:
    shards = open_shards(emulator, replace(cluster, shards=8))
    start = time.monotonic()
    made = await shards.ensure()
    took = time.monotonic() - start
    await shards.aclose()

    assert len(made) == 4 * 8
    assert took < 2.0


async def test_ids_that_pubsub_refuses_are_dropped_and_the_others_acked(queue: Queue) -> None:
    """One id that the emulator calls invalid fails the whole request."""
    await _publish_all(queue, "abcdefgh")
    *acked, kept = await _take(queue, 8)
    await asyncio.gather(*(queue.ack(delivery) for delivery in [replace(kept, receipt="bogus"), *acked]))
    await queue.extend([replace(kept, receipt="bogus too"), kept], 20.0)
    await queue.nack(kept)

    assert [delivery.message.data for delivery in await _take(queue, 1)] == [b"h"]
    assert await queue.pull(max_deliveries=10, wait=0.0) == []


async def test_a_message_that_pubsub_refuses_spoils_no_other(queue: Queue) -> None:
    messages = [Message(b"a"), Message(b""), Message(b"c")]
    outcomes = await asyncio.gather(*(queue.publish(message) for message in messages), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes if outcome] == [type(outcomes[1])]
    assert isinstance(outcomes[1], QueueError)
    assert not isinstance(outcomes[1], QueueUnavailableError)
    assert [delivery.message.data for delivery in await _take(queue, 2)] == [b"a", b"c"]


async def test_a_message_too_large_for_pubsub_is_refused_before_it_travels(queue: Queue) -> None:
    """Beyond ten megabytes the emulator does not even answer."""
    start = time.monotonic()
    with pytest.raises(QueueError, match="too large"):
        await queue.publish(Message(b"x" * 10_000_001))

    assert time.monotonic() - start < 1.0


async def test_large_messages_published_at_once_share_no_request(queue: Queue) -> None:
    await asyncio.gather(*(queue.publish(Message(bytes([n]) * 4_000_000)) for n in range(4)))

    assert [delivery.message.data[0] for delivery in await _take(queue, 4)] == [0, 1, 2, 3]


async def test_more_than_a_request_holds_is_asked_for(queue: Queue) -> None:
    await queue.publish(Message(b"a"))

    assert len(await queue.pull(max_deliveries=5_000, wait=4.0)) == 1


async def test_waiting_never_dead_letters_a_mail(shards: ShardMap, queue: Queue) -> None:
    """A message near Pub/Sub's limit of deliveries is published anew when it is given back."""
    await queue.publish(Message(b"a", {"mail_id": "1", "CloudPubSubDeadLetterSourceDeliveryCount": "5"}))
    [first] = await _take(queue, 1)
    await queue.nack(replace(first, attempt=90), delay=60.0)
    [again] = await _take(queue, 1)
    await queue.ack(again)

    assert again.message.data == b"a"
    assert dict(again.message.attributes) == {"mail_id": "1"}
    assert again.attempt == 1
    assert await queue.pull(max_deliveries=10, wait=0.0) == []
    assert await shards.dead(0).pull(max_deliveries=10, wait=0.0) == []


async def test_a_message_that_could_not_be_published_anew_stays_what_it_was(emulator: str, cluster: Cluster) -> None:
    """The old one is acked only when the new one is durable; and the giving back can be tried again."""
    async with GrpcProxy(emulator) as proxy:
        shards = open_shards(proxy.address, cluster)
        await shards.ensure()
        queue = shards.queue(0)
        await queue.publish(Message(b"a"))
        [first] = await _take(queue, 1)
        proxy.fail("Publish", code=StatusCode.UNAVAILABLE, times=1)
        with pytest.raises(QueueUnavailableError):
            await queue.nack(replace(first, attempt=95))
        acknowledged = proxy.calls["Acknowledge"]
        await queue.nack(replace(first, attempt=95))
        found = await _take(queue, 1)
        await shards.aclose()

    assert acknowledged == 0
    assert [delivery.message.data for delivery in found] == [b"a"]


async def test_a_lease_counts_from_the_answer_less_its_way_not_from_a_question_long_ago(
    emulator: str, cluster: Cluster
) -> None:
    """A pull that waited longer than a lease would else come with leases that look over."""
    clock = FakeClock()
    async with GrpcProxy(emulator) as proxy:
        shards = open_shards(proxy.address, replace(cluster, clock=clock))
        await shards.ensure()
        queue = shards.queue(0)
        pulling = asyncio.ensure_future(queue.pull(max_deliveries=1, wait=4.0))
        await wait_until(lambda: proxy.calls["Pull"] == 1, within=5.0)
        await clock.advance(20.0)
        await queue.publish(Message(b"a"))
        [late] = await pulling
        await queue.publish(Message(b"b"))
        [prompt] = await queue.pull(max_deliveries=1, wait=4.0)
        await shards.aclose()

    assert late.lease_ends - clock.now() == 9.0
    assert prompt.lease_ends - clock.now() == 10.0


async def test_what_was_settled_is_not_even_asked_to_be_extended(emulator: str, cluster: Cluster) -> None:
    """The emulator would ignore it; Google does not promise to."""
    async with GrpcProxy(emulator) as proxy:
        shards = open_shards(proxy.address, cluster)
        await shards.ensure()
        queue = shards.queue(0)
        await _publish_all(queue, "ab")
        given_back, acked = await _take(queue, 2)
        await queue.nack(given_back, delay=60.0)
        await queue.ack(acked)
        await queue.extend([given_back, acked], 30.0)
        await shards.aclose()

    assert proxy.calls["ModifyAckDeadline"] == 1


async def test_closing_waits_for_the_pulls_under_way(shards: ShardMap, queue: Queue) -> None:
    pulling = asyncio.ensure_future(queue.pull(max_deliveries=10, wait=1.0))
    await asyncio.sleep(0)
    await shards.aclose()

    assert pulling.done()
    assert await pulling == []


async def test_a_closed_cluster_says_so(open_again: OpenAgain) -> None:
    shards = open_again()
    await shards.aclose()

    with pytest.raises(QueueUnavailableError, match="closed"):
        await shards.queue(0).publish(Message(b"a"))


async def test_a_subscription_that_is_missing_is_named_with_the_cure(unmade: ShardMap) -> None:
    with pytest.raises(QueueUnavailableError, match=rf"{unmade.queue(1).name} .*postman init"):
        await unmade.queue(1).pull(max_deliveries=1, wait=0.0)
    with pytest.raises(QueueUnavailableError, match=rf"{unmade.dead(0).name} .*postman init"):
        await unmade.dead(0).publish(Message(b"a"))


async def test_a_subscription_with_a_shorter_ack_deadline_is_a_wrong_setting(
    shards: ShardMap, emulator: str, cluster: Cluster
) -> None:
    """Else leases would end before their workers believe it."""
    other = open_shards(emulator, replace(cluster, ack_deadline=30.0))
    with pytest.raises(ConfigError, match="10 s, shorter than the 30 s"):
        await other.check(0)
    with pytest.raises(QueueUnavailableError, match="10 s, shorter than the 30 s"):
        await other.check(1)  # were it alone, workers would go on without it
    await other.aclose()


async def test_new_shards_lease_for_as_long_as_those_that_are_there(emulator: str, cluster: Cluster) -> None:
    """Whoever makes them may have other settings than the workers."""
    workers = open_shards(emulator, replace(cluster, ack_deadline=60.0))
    operator = open_shards(emulator, replace(cluster, ack_deadline=30.0))
    patient = open_shards(emulator, replace(cluster, ack_deadline=90.0))
    await workers.ensure()
    await operator.ensure([2])
    await patient.ensure([3])
    await workers.check(2)
    await patient.check(3)
    for shards in (workers, operator, patient):
        await shards.aclose()


async def test_a_subscription_whose_topic_was_removed_is_reported(
    shards: ShardMap, emulator: str, cluster: Cluster
) -> None:
    name = shards.queue(1).name
    with grpc.insecure_channel(emulator) as channel:
        publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        publisher.delete_topic(topic=f"projects/{cluster.project}/topics/{name}")

    with pytest.raises(QueueUnavailableError, match=name):
        await shards.check(1)
    await shards.check(0)
    await shards.ensure()


async def test_only_the_shards_that_are_asked_for_are_made_and_their_trouble_is_theirs(unmade: PubsubShards) -> None:
    """Each is a topic and a subscription, and the same for its dead letters."""
    made = await unmade.ensure([3])
    await unmade.check(3)

    names = (unmade.queue(3).name, unmade.dead(3).name)
    assert sorted(made) == sorted(f"{kind} {name}" for kind in ("topic", "subscription") for name in names)
    with pytest.raises(QueueUnavailableError, match=unmade.queue(0).name):
        await unmade.check(0)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (StatusCode.UNAVAILABLE, "cannot be reached"),
        (StatusCode.RESOURCE_EXHAUSTED, "quota"),
        (StatusCode.ABORTED, "broke off"),
        (StatusCode.INTERNAL, "failed"),
        (StatusCode.PERMISSION_DENIED, "roles/pubsub"),
        (StatusCode.UNAUTHENTICATED, "roles/pubsub"),
        (StatusCode.DEADLINE_EXCEEDED, "in time"),
    ],
)
async def test_each_trouble_is_told_apart_and_none_is_tried_again(
    emulator: str, cluster: Cluster, code: StatusCode, says: str
) -> None:
    """Trying again is the caller's, who knows how long the lease still lasts."""
    async with GrpcProxy(emulator) as proxy:
        shards = open_shards(proxy.address, cluster)
        proxy.fail("Publish", code=code)
        with pytest.raises(QueueUnavailableError, match=says):
            await shards.queue(0).publish(Message(b"a"))
        await shards.aclose()

    assert proxy.calls["Publish"] == 1


async def test_an_ack_that_failed_can_be_tried_again(emulator: str, cluster: Cluster) -> None:
    async with GrpcProxy(emulator) as proxy:
        shards = open_shards(proxy.address, cluster)
        await shards.ensure()
        queue = shards.queue(0)
        await queue.publish(Message(b"a"))
        [delivery] = await _take(queue, 1)
        proxy.fail("Acknowledge", times=1)
        with pytest.raises(QueueUnavailableError):
            await queue.ack(delivery)
        await queue.ack(delivery)
        await shards.aclose()

    assert proxy.calls["Acknowledge"] == 2


async def test_a_server_that_says_nothing_does_not_look_like_an_empty_queue(clock: Clock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        shards = open_shards(f"127.0.0.1:{silent.getsockname()[1]}", Cluster(clock, project="demo-silent"))
        start = time.monotonic()
        with pytest.raises(QueueUnavailableError):
            await shards.queue(0).pull(max_deliveries=1, wait=0.0)
        took = time.monotonic() - start
        await shards.aclose()

    assert took < 6.0


async def test_missing_credentials_are_a_wrong_setting(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "nowhere/key.json")
    shards = open_shards("", Cluster(clock, project="demo-x"))

    with pytest.raises(ConfigError, match="credentials"):
        await shards.queue(0).publish(Message(b"a"))
    await shards.aclose()


async def test_a_pull_that_was_cancelled_and_then_failed_leaves_no_trace(emulator: str, cluster: Cluster) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with GrpcProxy(emulator) as proxy:
        shards = open_shards(proxy.address, cluster)
        proxy.hang("Pull")
        pulling = asyncio.ensure_future(shards.queue(0).pull(max_deliveries=1, wait=4.0))
        await wait_until(lambda: proxy.calls["Pull"] == 1, within=5.0)
        pulling.cancel()
        await asyncio.gather(pulling, return_exceptions=True)
        proxy.heal()
        await wait_until(lambda: not shards._queues[0]._pulls, within=5.0)
        del pulling
        gc.collect()
        await shards.aclose()

    assert complaints == []


@pytest.mark.parametrize("prefix", ["", "1st", "google", "with space", "a" * 300])
def test_a_prefix_that_pubsub_does_not_take_is_refused_at_once(clock: Clock, prefix: str) -> None:
    with pytest.raises(ConfigError, match="POSTMAN_PREFIX"):
        open_shards("", Cluster(clock, project="demo-x", prefix=prefix))


def test_a_missing_project_is_refused_at_once(clock: Clock) -> None:
    with pytest.raises(ConfigError, match="POSTMAN_PROJECT"):
        open_shards("", Cluster(clock))
