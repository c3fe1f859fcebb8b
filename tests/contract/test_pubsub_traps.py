"""What the Pub/Sub adapter makes of lost answers, outages, ghosts and the other traps of Pub/Sub and its emulator."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest

from postman.adapters.clock import SystemClock
from postman.adapters.pubsub import open_shards
from postman.core.mail import MAX_ENCODED_BYTES
from postman.errors import DeliverySettledError, QueueUnavailableError
from postman.ports.opening import Cluster
from postman.ports.queue import Delivery, Message, Queue, ShardMap
from postman.testing.emulators import Emulators
from postman.testing.grpc_proxy import ANY, GrpcProxy, StatusCode
from postman.testing.waiting import wait_until

MAIL = Message(b"a secret text", {"mail_id": "m-1", "schema": "1"})

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


async def _look(queue: Queue) -> Sequence[Delivery]:
    return await queue.pull(max_deliveries=100, wait=0.0)


async def _take(queue: Queue, *, wait: float = 5.0) -> Delivery:
    [delivery] = await queue.pull(max_deliveries=1, wait=wait)
    return delivery


@contextmanager
def _takes_less_than(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


class TestGhosts:
    """A pull that is given up must not take a message along: nobody would see it for a whole lease."""

    async def test_a_closed_worker_leaves_no_pull_behind(self, queue: Queue, shards: ShardMap, other: ShardMap) -> None:
        pulling = asyncio.create_task(queue.pull(max_deliveries=10, wait=1.5))
        await asyncio.sleep(0)
        await shards.aclose()
        await other.queue(0).publish(MAIL)

        with _takes_less_than(1.0):
            assert (await _take(other.queue(0))).attempt == 1
        assert await pulling == []

    async def test_closing_waits_for_the_pull_under_way_and_its_mails_are_not_lost(
        self, queue: Queue, shards: ShardMap, other: ShardMap, proxy: GrpcProxy
    ) -> None:
        pulling = asyncio.create_task(queue.pull(max_deliveries=10, wait=5.0))
        await wait_until(lambda: proxy.calls["Pull"], within=5.0)
        closing = asyncio.create_task(shards.aclose())
        await other.queue(0).publish(MAIL)
        await closing

        assert [delivery.message for delivery in await pulling] == [MAIL]

    async def test_what_a_cancelled_pull_took_along_is_given_back(
        self, queue: Queue, other: ShardMap, proxy: GrpcProxy
    ) -> None:
        """Nobody should cancel a pull; where it happens all the same, no mail waits for a lease to end."""
        pulling = asyncio.create_task(queue.pull(max_deliveries=10, wait=5.0))
        await wait_until(lambda: proxy.calls["Pull"], within=5.0)
        pulling.cancel()
        with suppress(asyncio.CancelledError):
            await pulling
        await other.queue(0).publish(MAIL)
        await wait_until(lambda: proxy.calls["ModifyAckDeadline"], within=2.0)

        with _takes_less_than(1.0):
            assert (await _take(other.queue(0))).attempt == 2

    async def test_an_idle_pull_ends_by_itself_and_asks_once(self, queue: Queue, proxy: GrpcProxy) -> None:
        """Its own deadline is far enough away that the emulator's empty answer comes in time: no hot loop."""
        with _takes_less_than(3.5):
            assert await queue.pull(max_deliveries=10, wait=2.0) == []
        assert proxy.calls["Pull"] == 1


class TestSettling:
    async def test_an_ack_after_giving_back_does_not_swallow_the_next_delivery(
        self, queue: Queue, other: ShardMap
    ) -> None:
        """On the emulator the old id would acknowledge what another worker holds by now."""
        await queue.publish(MAIL)
        held = await _take(queue)
        await queue.nack(held)
        with pytest.raises(DeliverySettledError):
            await queue.ack(held)
        again = await _take(other.queue(0))
        await other.queue(0).nack(again)

        assert (await _take(other.queue(0))).attempt == 3

    async def test_what_is_given_back_is_there_at_once(self, queue: Queue, other: ShardMap) -> None:
        await queue.publish(MAIL)
        await queue.nack(await _take(queue))

        with _takes_less_than(0.5):
            assert (await _take(other.queue(0))).attempt == 2

    async def test_an_unknown_id_among_many_is_dropped_and_the_others_are_acked(
        self, queue: Queue, other: ShardMap, proxy: GrpcProxy
    ) -> None:
        """The emulator refuses the whole request for it, so the group is halved until the bad one stands alone."""
        await asyncio.gather(*(queue.publish(Message(b"%d" % number)) for number in range(32)))
        held = await _take_all(queue, 32)
        unknown = Delivery(MAIL, "unknown", 1, held[0].lease_ends, 0.0)
        await asyncio.gather(*(queue.ack(delivery) for delivery in [*held[:20], unknown, *held[20:]]))
        await asyncio.gather(*(queue.extend([delivery], 0.0) for delivery in held))

        assert await _look(other.queue(0)) == []
        assert 1 < proxy.calls["Acknowledge"] < 20

    async def test_a_lost_answer_to_an_ack_is_an_error_and_the_ack_may_be_repeated(
        self, queue: Queue, other: ShardMap, proxy: GrpcProxy
    ) -> None:
        await queue.publish(MAIL)
        held = await _take(queue)
        proxy.fail("Acknowledge", after=True, times=1)
        with pytest.raises(QueueUnavailableError):
            await queue.ack(held)
        await queue.ack(held)

        with pytest.raises(DeliverySettledError):
            await queue.ack(held)
        assert await _look(other.queue(0)) == []

    async def test_a_failed_extension_is_an_error_and_the_delivery_stays_ours(
        self, queue: Queue, other: ShardMap, proxy: GrpcProxy
    ) -> None:
        await queue.publish(MAIL)
        held = await _take(queue)
        proxy.fail("ModifyAckDeadline", times=1)
        with pytest.raises(QueueUnavailableError):
            await queue.extend([held], 20.0)

        assert await _look(other.queue(0)) == []
        await queue.ack(held)

    async def test_giving_back_however_often_never_dead_letters_a_mail(self, shards: ShardMap) -> None:
        """Pub/Sub forwards what was handed out a hundred times; a mail that waits for a provider is none of those."""
        queue = shards.queue(0)
        await queue.publish(MAIL)
        attempts = []
        for _ in range(120):
            delivery = await _take(queue)
            attempts.append(delivery.attempt)
            assert delivery.message == MAIL
            await queue.nack(delivery)

        assert max(attempts) == 90
        assert await _look(shards.dead(0)) == []
        await queue.ack(await _take(queue))
        assert await _look(queue) == []

    async def test_a_failed_renewal_keeps_the_mail(self, queue: Queue, other: ShardMap, proxy: GrpcProxy) -> None:
        """Near the limit a mail is published anew and the old one acked, never in the other order."""
        await queue.publish(MAIL)
        for _ in range(89):
            await queue.nack(await _take(queue))
        held = await _take(queue)
        proxy.fail("Publish", times=1)
        with pytest.raises(QueueUnavailableError):
            await queue.nack(held)
        acked = proxy.calls["Acknowledge"]
        await queue.nack(held)

        assert held.attempt == 90
        assert acked == 0
        assert (await _take(other.queue(0))).attempt == 1
        assert await _look(other.queue(0)) == []

    async def test_giving_back_beats_an_extension_that_was_asked_for_in_the_same_moment(
        self, queue: Queue, other: ShardMap
    ) -> None:
        """Both travel in one group; the message must not stay away for the time of the extension."""
        await queue.publish(MAIL)
        held = await _take(queue)
        await asyncio.gather(queue.extend([held], 60.0), queue.nack(held))

        with _takes_less_than(1.0):
            assert (await _take(other.queue(0))).attempt == 2


class TestPublishing:
    async def test_a_publish_that_never_arrived_is_an_error_and_nothing_is_there(
        self, queue: Queue, other: ShardMap, proxy: GrpcProxy
    ) -> None:
        proxy.fail("Publish", times=1)
        with pytest.raises(QueueUnavailableError):
            await queue.publish(MAIL)

        assert await _look(other.queue(0)) == []

    async def test_a_publish_returns_only_when_the_message_is_stored(
        self, queue: Queue, other: ShardMap, proxy: GrpcProxy
    ) -> None:
        proxy.delay("Publish", 0.4, times=1)
        publishing = asyncio.create_task(queue.publish(MAIL))
        await wait_until(lambda: proxy.calls["Publish"], within=5.0)
        was_done = publishing.done()
        await publishing

        assert not was_done
        assert [delivery.message for delivery in await _look(other.queue(0))] == [MAIL]

    async def test_closing_waits_for_what_is_being_published(
        self, queue: Queue, shards: ShardMap, other: ShardMap, proxy: GrpcProxy
    ) -> None:
        proxy.delay("Publish", 0.4, times=1)
        publishing = asyncio.create_task(queue.publish(MAIL))
        await asyncio.sleep(0)
        await shards.aclose()

        assert publishing.done()
        assert [delivery.message for delivery in await _look(other.queue(0))] == [MAIL]

    async def test_a_lost_answer_makes_two_messages_of_one_mail(
        self, queue: Queue, other: ShardMap, proxy: GrpcProxy
    ) -> None:
        """The adapter says that it does not know; who publishes again makes a second message with the same mail id."""
        proxy.fail("Publish", after=True, times=1)
        with pytest.raises(QueueUnavailableError):
            await queue.publish(MAIL)
        await queue.publish(MAIL)
        deliveries = await _take_all(other.queue(0), 2)

        assert [delivery.message for delivery in deliveries] == [MAIL, MAIL]
        assert len({delivery.receipt for delivery in deliveries}) == 2

    async def test_a_group_is_one_request(self, queue: Queue, proxy: GrpcProxy) -> None:
        await asyncio.gather(*(queue.publish(Message(b"%d" % number)) for number in range(200)))
        held = await _take_all(queue, 200)
        await asyncio.gather(*(queue.ack(delivery) for delivery in held))

        assert proxy.calls["Publish"] == 1
        assert proxy.calls["Acknowledge"] == 1

    async def test_the_largest_mail_fits_also_as_a_dead_letter(self, shards: ShardMap, other: ShardMap) -> None:
        """Else it could be accepted and then neither be published nor put aside."""
        large = Message(b"x" * MAX_ENCODED_BYTES, {"mail_id": "m" * 128, "schema": "1", "dead_detail": "d" * 1_000})
        await shards.dead(0).publish(large)

        assert (await _take(other.dead(0))).message == large

    async def test_large_messages_are_spread_over_several_requests(self, queue: Queue, proxy: GrpcProxy) -> None:
        """Pub/Sub takes ten million bytes in one, and the emulator does not even answer beyond."""
        await asyncio.gather(*(queue.publish(Message(b"x" * 4_000_000)) for _ in range(5)))

        assert proxy.calls["Publish"] == 3


class TestOutages:
    @PASSING
    @pytest.mark.parametrize("method", ["Publish", "Pull", "Acknowledge", "ModifyAckDeadline"])
    async def test_what_may_pass_is_reported_as_such_and_not_tried_again(
        self, queue: Queue, other: ShardMap, proxy: GrpcProxy, code: StatusCode, method: str
    ) -> None:
        await other.queue(0).publish(MAIL)
        held = await _take(queue)
        before = proxy.calls[method]
        proxy.fail(method, code=code, times=1)
        if (method, code) == ("Pull", StatusCode.DEADLINE_EXCEEDED):
            assert await _look(queue) == []
        else:
            await _assert_fails(queue, held, method)

        assert proxy.calls[method] - before == 1

    @pytest.mark.parametrize("code", [StatusCode.PERMISSION_DENIED, StatusCode.UNAUTHENTICATED])
    @pytest.mark.parametrize(
        ("method", "role"), [("Publish", "roles/pubsub.publisher"), ("Acknowledge", "roles/pubsub.subscriber")]
    )
    async def test_a_missing_permission_names_the_role(
        self, queue: Queue, other: ShardMap, proxy: GrpcProxy, code: StatusCode, method: str, role: str
    ) -> None:
        await other.queue(0).publish(MAIL)
        held = await _take(queue)
        proxy.fail(method, code=code, times=1)

        with pytest.raises(QueueUnavailableError, match=role):
            await _calls(queue, held)[method]()

    @pytest.mark.parametrize("method", ["Publish", "Pull", "Acknowledge", "ModifyAckDeadline"])
    async def test_nobody_listening_is_told_at_once(self, cluster: Cluster, method: str) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            shards = open_shards(f"127.0.0.1:{taken.getsockname()[1]}", cluster)
            with _takes_less_than(6.0):
                await _assert_fails(shards.queue(0), Delivery(MAIL, "receipt", 1, 0.0, 0.0), method)
                with pytest.raises(QueueUnavailableError):
                    await shards.check()
            await shards.aclose()

    async def test_silence_is_told_within_six_seconds(self, shards: ShardMap, proxy: GrpcProxy) -> None:
        """Google's own client would wait a minute, longer than a lease."""
        proxy.hang(ANY)
        held = Delivery(MAIL, "receipt", 1, 0.0, 0.0)
        queue = shards.queue(0)
        calls = [queue.publish(MAIL), queue.ack(held), queue.extend([_copy(held)], 20.0), shards.check()]
        with _takes_less_than(6.0):
            results = await asyncio.gather(*calls, return_exceptions=True)

        assert all(isinstance(result, QueueUnavailableError) for result in results)

    async def test_silence_ends_a_pull_about_a_second_late(self, queue: Queue, proxy: GrpcProxy) -> None:
        proxy.hang("Pull")
        with _takes_less_than(3.5), suppress(QueueUnavailableError):
            assert await queue.pull(max_deliveries=1, wait=1.5) == []

    async def test_the_end_of_an_outage_is_noticed_within_two_seconds(
        self, host: str, other: ShardMap, cluster: Cluster
    ) -> None:
        """Not after the long pauses that gRPC makes between its attempts to connect."""
        port = _free_port()
        shards = open_shards(f"127.0.0.1:{port}", cluster)
        await _see_it_fail(shards.queue(0), seconds=2.5)
        async with _relay(port, host):
            start = time.monotonic()
            await wait_until(lambda: _works(shards.queue(0)), within=10.0)
            took = time.monotonic() - start
            await shards.aclose()

        assert took < 2.0

    async def test_no_error_shows_the_text_of_a_mail(self, queue: Queue, proxy: GrpcProxy) -> None:
        proxy.fail("Publish", times=1)
        with pytest.raises(QueueUnavailableError) as caught:
            await queue.publish(MAIL)

        assert "secret" not in str(caught.value) + repr(caught.value) + repr(caught.value.__cause__)


class TestSetUp:
    async def test_a_cluster_is_made_with_all_requests_at_once(self, proxy: GrpcProxy, cluster: Cluster) -> None:
        """Four requests a shard, one after the other, would take long where each takes a while."""
        unmade = open_shards(proxy.address, cluster)
        proxy.delay(ANY, 0.3)
        with _takes_less_than(1.8):
            assert len(await unmade.ensure()) == 8
        await unmade.aclose()

    async def test_two_machines_may_make_a_cluster_at_once(self, host: str, cluster: Cluster) -> None:
        """The emulator may tell both of them that they made a topic; there is one all the same."""
        both = [open_shards(host, cluster) for _ in range(2)]
        made = await asyncio.gather(*(each.ensure() for each in both))
        await both[0].check()
        queues = [pair for shard in range(2) for pair in _pairs(both[0], both[1], shard)]
        for here, _ in queues:
            await here.publish(Message(here.name.encode()))
        found = [(await _take(there)).message.data.decode() for _, there in queues]
        for each in both:
            await each.aclose()

        assert len({*made[0], *made[1]}) == 8
        assert found == [here.name for here, _ in queues]


def _pairs(one: ShardMap, other: ShardMap, shard: int) -> list[tuple[Queue, Queue]]:
    """The queues of *shard*, as each of two machines sees them."""
    return [(one.queue(shard), other.queue(shard)), (one.dead(shard), other.dead(shard))]


async def _take_all(queue: Queue, count: int) -> list[Delivery]:
    taken: list[Delivery] = []
    while len(taken) < count:
        more = await queue.pull(max_deliveries=count - len(taken), wait=5.0)
        assert more, f"only {len(taken)} of {count} came"
        taken += more
    return taken


def _copy(delivery: Delivery) -> Delivery:
    return Delivery(delivery.message, f"{delivery.receipt}-2", 1, delivery.lease_ends, delivery.published_at)


def _calls(queue: Queue, held: Delivery) -> dict[str, Callable[[], Awaitable[object]]]:
    return {
        "Publish": lambda: queue.publish(MAIL),
        "Pull": lambda: _look(queue),
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

    async with await asyncio.start_server(connected, "127.0.0.1", port):
        yield
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
