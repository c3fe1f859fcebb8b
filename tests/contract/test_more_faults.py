"""Faults that belong to no single adapter: clocks that jump, certificates, queues removed by hand, full disks."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.pubsub_v1 import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from httpx_aiohttp import AiohttpTransport

from postman import Address, Mail
from postman.adapters._http import HttpClient
from postman.adapters.clock import SystemClock
from postman.adapters.memory import MemoryLedger
from postman.adapters.pubsub import open_shards
from postman.adapters.sqlite import open_ledger
from postman.adapters.sqlite import open_shards as open_sqlite
from postman.breaker import CircuitBreaker
from postman.core.ids import MailId
from postman.core.message import Message
from postman.core.protocol import Answer, Claimed, Doubtful, Held, State
from postman.core.shards import shard_for
from postman.core.wire import message_for
from postman.errors import ProviderDownError, QueueUnavailableError
from postman.ports.ledger import Ledger
from postman.ports.opening import Cluster
from postman.ports.provider import Receipt
from postman.ports.queue import Delivery, Queue, ShardMap
from postman.runtime.courier import Limits
from postman.runtime.failover import Failover, Route
from postman.runtime.worker import Worker, WorkerSettings
from postman.testing.byte_peer import BytePeer, byte_peer
from postman.testing.clock import FakeClock
from postman.testing.emulators import Emulators
from postman.testing.provider import FakeProvider
from postman.testing.waiting import wait_until
from tests.contract.cli.commands import CLEAN, Postman, mail, write_lines
from tests.contract.cli.forks import Forks

HOUR = 3_600.0
LEASE = 25.0
ACK_DEADLINE = 30.0


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(CLEAN) as forks:
        yield forks


class Steered(FakeClock):
    """A clock whose wall time can be set, as a person or a time server does; time itself goes on as before."""

    def __init__(self) -> None:
        super().__init__()
        self.put_forward_by = 0.0

    def time(self) -> float:
        return super().time() + self.put_forward_by


class TestClockOfAMachine:
    """What SQLite has for a clock is the machine's own, which all its workers share."""

    @pytest.fixture
    def clock(self) -> Steered:
        return Steered()

    @pytest.fixture
    async def ledger(self, clock: Steered, tmp_path: Path) -> AsyncIterator[Ledger]:
        opened = open_ledger(str(tmp_path / "postman.db"), Cluster(clock))
        yield opened
        await opened.aclose()

    @pytest.fixture
    async def queue(self, clock: Steered, tmp_path: Path) -> AsyncIterator[Queue]:
        opened = open_sqlite(str(tmp_path / "postman.db"), Cluster(clock, shards=1, ack_deadline=ACK_DEADLINE))
        await opened.queue(0).publish(Message(b"a mail"))
        yield opened.queue(0)
        await opened.aclose()

    async def test_put_forward_it_ends_a_claim_early_and_the_mail_is_in_doubt_not_sent_again(
        self, clock: Steered, ledger: Ledger
    ) -> None:
        first = await _claim(ledger, "first")
        assert isinstance(first, Claimed)
        clock.put_forward_by = HOUR
        assert isinstance(await _claim(ledger, "second"), Doubtful)
        await ledger.record_sent(first.claim, Receipt("alpha", "m-1"))

        entry = await ledger.find(MailId("m"))
        assert entry is not None
        assert (entry.state, entry.message_id) == (State.SENT, "m-1")

    async def test_put_back_it_keeps_a_dead_workers_mail_away_for_as_long_and_no_longer(
        self, clock: Steered, ledger: Ledger
    ) -> None:
        """Its owner can still record what became of it."""
        assert isinstance(await _claim(ledger, "first"), Claimed)
        clock.put_forward_by = -HOUR
        held = await _claim(ledger, "second")
        assert isinstance(held, Held)
        assert held.seconds == pytest.approx(HOUR + LEASE)

        await clock.sleep(HOUR + LEASE)
        assert isinstance(await _claim(ledger, "second"), Doubtful)

    async def test_put_back_it_makes_no_doubt_older_than_it_is(self, clock: Steered, ledger: Ledger) -> None:
        """The time for which absence is no evidence begins anew, rather than to be over early."""
        first = await _claim(ledger, "first")
        assert isinstance(first, Claimed)
        await ledger.record_doubt(first.claim, reason="time-out")
        clock.put_forward_by = -HOUR
        answer = await _claim(ledger, "second")

        assert isinstance(answer, Doubtful)
        assert answer.age == 0.0

    async def test_put_forward_it_hands_a_message_out_twice_and_the_late_ack_takes_nothing_away(
        self, clock: Steered, queue: Queue
    ) -> None:
        first = await _take(queue)
        clock.put_forward_by = HOUR
        second = await _take(queue)
        await queue.ack(first)
        assert (second.message, second.attempt) == (first.message, 2)
        await queue.nack(second)

        assert (await _take(queue)).attempt == 3

    async def test_put_back_it_delays_what_a_dead_worker_held_and_loses_nothing(
        self, clock: Steered, queue: Queue
    ) -> None:
        first = await _take(queue)
        clock.put_forward_by = -HOUR
        await clock.sleep(ACK_DEADLINE)
        assert await queue.pull(max_deliveries=1, wait=0.0) == []

        await clock.sleep(HOUR)
        assert (await _take(queue)).message == first.message


async def _claim(ledger: Ledger, claim_id: str) -> Answer:
    return await ledger.claim(MailId("m"), claim_id=claim_id, digest="d", provider="alpha", lease=LEASE)


async def _take(queue: Queue) -> Delivery:
    [delivery] = await queue.pull(max_deliveries=1, wait=0.0)
    return delivery


@pytest.mark.parametrize(
    ("name", "days", "is_taken"),
    [("127.0.0.1", 1, True), ("127.0.0.1", -1, False), ("api.example.org", 1, False)],
    ids=["good", "expired", "of another host"],
)
async def test_a_certificate_that_proves_nothing_gets_no_request(
    tmp_path: Path, name: str, days: int, *, is_taken: bool
) -> None:
    """Also where we trust whoever made it: the mail was certainly not sent, and goes to another provider."""
    server, trusting = _certificate(tmp_path, name, days)
    async with byte_peer(_accept, tls=server) as peer:
        http = HttpClient("peer", peer.url, headers={}, transport=AiohttpTransport(verify=trusting))
        request = http.request("POST", "/v3/mail/send", content=b"{}")
        if is_taken:
            assert (await http.exchange(request, timeout=2.0)).status == 202
        else:
            with pytest.raises(ProviderDownError):
                await http.exchange(request, timeout=2.0)
        await http.aclose()

    assert peer.requests == int(is_taken)


async def _accept(peer: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await peer.read_request(reader)
    writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


def _certificate(folder: Path, host: str, days: int) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return what a server that calls itself *host* shows, good until so many *days* from now; and who trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(days=2)).not_valid_after(now + dt.timedelta(days=days))
    builder = builder.add_extension(x509.SubjectAlternativeName([_general(host)]), critical=False)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "server.pem"
    path.write_bytes(secret + certificate)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cadata=certificate.decode())


def _general(host: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host)


class TestRemovedByHand:
    """Somebody deletes a subscription, on the emulator."""

    @pytest.fixture
    def cluster(self, project: str, prefix: str) -> Cluster:
        return Cluster(SystemClock(), project=project, prefix=prefix, shards=2, ack_deadline=10.0)

    @pytest.fixture
    async def shards(self, pubsub: Emulators, cluster: Cluster) -> AsyncIterator[ShardMap]:
        opened = open_shards(pubsub.environment["PUBSUB_EMULATOR_HOST"], cluster)
        await opened.ensure()
        yield opened
        await opened.aclose()

    async def test_dead_letters_that_nobody_would_keep_are_found_before_any_mail_is_pulled(
        self, pubsub: Emulators, cluster: Cluster, shards: ShardMap
    ) -> None:
        """Pub/Sub takes what is published to a topic without a subscription, and drops it."""
        await shards.check(1)
        _remove(pubsub, cluster, shards.dead(1).name)
        with pytest.raises(QueueUnavailableError, match=rf"{shards.dead(1).name}.*postman init"):
            await shards.check(1)
        assert await shards.ensure() == [f"subscription {shards.dead(1).name}"]
        await shards.check(1)

    async def test_a_shard_that_is_removed_under_a_worker_stops_no_other_and_is_used_again_once_it_is_back(
        self, pubsub: Emulators, cluster: Cluster, shards: ShardMap
    ) -> None:
        provider, ledger = FakeProvider("a", timeout=1.0), MemoryLedger(cluster.clock)
        worker = _worker(shards, ledger, provider, cluster)
        running = asyncio.create_task(worker.run())
        try:
            await _deliver(shards, provider, ["before-0", "before-1"])
            _remove(pubsub, cluster, shards.queue(0).name)
            await _deliver(shards, provider, _ids_of(1, 5))
            await shards.ensure()
            await _deliver(shards, provider, _ids_of(0, 5))
            assert not running.done()
        finally:
            worker.stop()
            await asyncio.wait_for(running, 10.0)

        assert len(provider.accepted) == len({each.id for each in provider.accepted})


def _remove(emulators: Emulators, cluster: Cluster, name: str) -> None:
    with grpc.insecure_channel(emulators.environment["PUBSUB_EMULATOR_HOST"]) as channel:
        subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        subscriber.delete_subscription(subscription=f"projects/{cluster.project}/subscriptions/{name}")


def _ids_of(shard: int, count: int) -> list[str]:
    """Return ids of mails that belong to *shard* of two."""
    found = (f"mail-{number}" for number in range(1_000) if shard_for(MailId(f"mail-{number}"), 2) == shard)
    return [next(found) for _ in range(count)]


async def _deliver(shards: ShardMap, provider: FakeProvider, ids: list[str]) -> None:
    for mail_id in ids:
        one = Mail(
            id=mail_id,
            from_=Address(email="shop@example.org"),
            to=(Address(email="ann@example.org"),),
            subject="s",
            text="t",
        )
        await shards.queue(shard_for(one.id, shards.count)).publish(message_for(one))
    await wait_until(lambda: set(ids) <= {each.id for each in provider.accepted}, within=20.0, what=f"{ids} to be sent")


def _worker(shards: ShardMap, ledger: Ledger, provider: FakeProvider, cluster: Cluster) -> Worker:
    numbers = iter(range(1_000))
    return Worker(
        shards=shards,
        ledger=ledger,
        failover=Failover([Route(provider, CircuitBreaker("a"))], clock=cluster.clock),
        clock=cluster.clock,
        settings=WorkerSettings(limits=Limits(lease=8.0, budget=5.0), ack_deadline=10.0, grace=2.0, pull_wait=0.3),
        new_claim_id=lambda: f"worker.{next(numbers)}",
    )


class TestFullDisk:
    """A command whose output goes to a file that takes no more."""

    @pytest.mark.parametrize("command", [("publish", "mails.jsonl"), ("status",), ("init", "--json")])
    def test_a_command_that_cannot_tell_what_it_did_fails_in_one_line(
        self, tmp_path: Path, forks: Forks, command: tuple[str, ...]
    ) -> None:
        postman = Postman(tmp_path, forks)
        postman("init")
        write_lines(tmp_path / "mails.jsonl", [mail(f"m-{number}") for number in range(20)])
        status, complaint = _run_into_a_full_disk(postman, forks, command)

        assert status == 1
        assert complaint == "postman: what was done cannot be told: No space left on device\n"
        if "publish" in command:
            assert asyncio.run(_waiting(tmp_path / "postman.db")) == 20


def _run_into_a_full_disk(postman: Postman, forks: Forks, command: tuple[str, ...]) -> tuple[int, str]:
    nothing, complaint = postman.folder / "nothing", postman.folder / "complaint"
    for file in (nothing, complaint):
        file.touch()
    files = [nothing, Path("/dev/full"), complaint]
    status = forks.run(command, folder=postman.folder, environ=postman.environ, files=files)
    return status, complaint.read_text()


async def _waiting(path: Path) -> int:
    shards = open_sqlite(str(path), Cluster(SystemClock(), shards=4))
    pulled = [await shards.queue(shard).pull(max_deliveries=100, wait=0.0) for shard in range(4)]
    await shards.aclose()
    return sum(map(len, pulled))
