"""A worker between a troubled Pub/Sub and a troubled Firestore: which calls fail, and what must come of it.

The worker is the product's own, in this process, with the real adapters; the provider is one in memory. A good mail
must be sent once, a refused one dead-lettered, whatever call fails in whatever way.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from types import MappingProxyType
from typing import Final
from uuid import uuid4

import orjson

from postman.adapters.clock import SystemClock
from postman.adapters.firestore import Database, FirestoreLedger
from postman.adapters.pubsub import open_shards
from postman.breaker import CircuitBreaker
from postman.core.ids import MailId
from postman.core.mail import Mail
from postman.core.protocol import Entry
from postman.core.wire import message_for, parse
from postman.errors import LedgerUnavailableError, MailRejectedError
from postman.ports.ledger import Ledger
from postman.ports.opening import Cluster
from postman.ports.provider import Receipt
from postman.ports.queue import ShardMap
from postman.runtime.courier import Limits
from postman.runtime.failover import Failover, Route
from postman.runtime.producer import Producer
from postman.runtime.worker import Worker, WorkerSettings
from postman.testing import FakeProvider
from postman.testing.emulators import Service
from postman.testing.grpc_proxy import ANY, GrpcProxy, StatusCode
from postman.testing.waiting import wait_until
from tests.chaos.checker import Accepted, Evidence, Letter, is_over
from tests.chaos.processes import clean_environment
from tests.chaos.together import ensure

__all__ = ["AT_ONCE", "GOOD", "TROUBLES", "Result", "Trouble", "play"]

GOOD: Final = 5

AT_ONCE: Final = 8
"""Side by side: the emulators hold a thread for every pull that stands open."""

_LIMIT: Final = 150.0
_ACK_DEADLINE: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Calls of one method that fail; *make* tells a proxy."""

    service: Service
    method: str
    make: Callable[[GrpcProxy], None] = field(repr=False)
    heals_after: float | None = None
    """Seconds after which all is well again; None: when the trouble has used itself up."""
    lingers: float = 0.0
    """Seconds for which the worker goes on when all mails are at their ends: what was not acked comes again."""
    takes: float = 0.0
    """Seconds of the provider for a mail."""
    by_producer: bool = False
    """Whether a producer has the trouble, and not the worker."""
    starts_sent: bool = False
    """Whether it starts with the first acceptance."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it."""

    evidence: Evidence
    troubled: int
    """How many calls had the trouble."""
    calls: Mapping[str, int]
    sent_during: int
    """How many mails were handed to the provider while a lasting trouble was there."""


def _failing(service: Service, method: str, code: StatusCode, *, after: bool, times: int, lingers: float) -> Trouble:
    def make(proxy: GrpcProxy) -> None:
        proxy.fail(method, code=code, after=after, times=times)

    return Trouble(service=service, method=method, make=make, lingers=lingers)


def _table() -> dict[str, Trouble]:
    """Return the calls on the way of a mail: not done, or done and the answer lost, with codes that leave it open."""
    ways = ((False, StatusCode.UNAVAILABLE), (True, StatusCode.UNAVAILABLE), (True, StatusCode.DEADLINE_EXCEEDED))
    methods = {
        "Pull": Service.PUBSUB,
        "Acknowledge": Service.PUBSUB,
        "Publish": Service.PUBSUB,
        "BatchWrite": Service.FIRESTORE,
    }
    return {
        f"{method} {'done, and its answer lost' if after else 'not done'}: {code.name}": _failing(
            service,
            method,
            code,
            after=after,
            times=1 if service is Service.PUBSUB else 2,
            lingers=12.0 if method == "Acknowledge" else 0.0,
        )
        for method, service in methods.items()
        for after, code in ways
    }


def _transactions(code: StatusCode) -> Callable[[GrpcProxy], None]:
    """Let conditional writes fail, so that transactions must do, and these lose an answer at each of their steps."""

    def make(proxy: GrpcProxy) -> None:
        proxy.fail("BatchWrite", times=8)
        for method in ("BeginTransaction", "BatchGetDocuments", "Commit"):
            proxy.fail(method, code=code, after=True, times=2)

    return make


def _outage(code: StatusCode) -> Callable[[GrpcProxy], None]:
    return lambda proxy: proxy.fail(ANY, code=code)


TROUBLES: Final[Mapping[str, Trouble]] = MappingProxyType(
    {
        **_table(),
        "a publish that is done, and its answer lost": Trouble(
            service=Service.PUBSUB,
            method="Publish",
            make=lambda proxy: proxy.fail("Publish", after=True, times=2),
            by_producer=True,
        ),
        "an extension that never succeeds": Trouble(
            service=Service.PUBSUB,
            method="ModifyAckDeadline",
            make=lambda proxy: proxy.fail("ModifyAckDeadline"),
            heals_after=30.0,
            takes=13.0,
        ),
        "a pull that is silent": Trouble(
            service=Service.PUBSUB, method="Pull", make=lambda proxy: proxy.hang("Pull", after=True, times=2)
        ),
        "a silent write of the ledger": Trouble(
            service=Service.FIRESTORE,
            method="BatchWrite",
            make=lambda proxy: proxy.hang("BatchWrite", after=True, times=2),
        ),
        "transactions whose answers are lost": Trouble(
            service=Service.FIRESTORE, method="Commit", make=_transactions(StatusCode.UNAVAILABLE)
        ),
        "transactions that are broken off": Trouble(
            service=Service.FIRESTORE, method="Commit", make=_transactions(StatusCode.ABORTED)
        ),
        "a slow ledger": Trouble(
            service=Service.FIRESTORE, method="BatchWrite", make=lambda proxy: proxy.delay(ANY, 1.5), heals_after=20.0
        ),
        "no acceptance can be recorded for longer than a lease": Trouble(
            service=Service.FIRESTORE,
            method="BatchWrite",
            make=_outage(StatusCode.UNAVAILABLE),
            heals_after=20.0,
            starts_sent=True,
        ),
        "no ledger": Trouble(
            service=Service.FIRESTORE, method="BatchWrite", make=_outage(StatusCode.UNAVAILABLE), heals_after=8.0
        ),
        "a ledger whose quota is used up": Trouble(
            service=Service.FIRESTORE, method="BatchWrite", make=_outage(StatusCode.RESOURCE_EXHAUSTED), heals_after=8.0
        ),
        "a ledger that denies": Trouble(
            service=Service.FIRESTORE, method="BatchWrite", make=_outage(StatusCode.PERMISSION_DENIED), heals_after=8.0
        ),
        "no queues": Trouble(
            service=Service.PUBSUB, method="Pull", make=_outage(StatusCode.UNAVAILABLE), heals_after=8.0
        ),
    }
)


async def play(trouble: Trouble, _: Path) -> Result:
    """Play *trouble* on the emulators that the environment names; return what came of it."""
    async with _Scene.open(trouble) as scene:
        await scene.begin()
        sent_during = await scene.outlast()
        await wait_until(scene.is_over, within=_LIMIT, every=0.3, what=f"the end of all mails with {trouble.method}")
        await asyncio.sleep(trouble.lingers)
        await scene.stop()
        proxy = scene.proxy
        return Result(await scene.evidence(), proxy.troubled.total(), dict(proxy.calls), sent_during)


class _Provider(FakeProvider):
    """Refuses mails to one domain, as the sandbox does; calls *on_accepted* before it answers."""

    def __init__(self, on_accepted: Callable[[], None], *, takes: float) -> None:
        super().__init__("alpha", timeout=takes + 2.0, look_up_after=2.0, clock=SystemClock())
        self._on_accepted = on_accepted
        self._takes = takes

    async def send(self, mail: Mail, *, timeout: float | None = None) -> Receipt:
        if mail.to[0].email.endswith("@refused.example"):
            raise MailRejectedError("no such recipient", provider=self.name)
        receipt = await super().send(mail, timeout=timeout)
        self._on_accepted()
        await asyncio.sleep(self._takes)
        return receipt


@dataclass(slots=True)
class _Scene:
    """One worker and its surroundings; *shards* and *ledger* are without trouble."""

    trouble: Trouble
    proxy: GrpcProxy
    shards: ShardMap
    ledger: Ledger
    troubled_shards: ShardMap
    troubled_ledger: Ledger
    cluster: Cluster
    mails: list[Mail]
    provider: _Provider = field(init=False)
    worker: Worker = field(init=False)
    running: "asyncio.Task[None]" = field(init=False)

    @classmethod
    @asynccontextmanager
    async def open(cls, trouble: Trouble) -> "AsyncIterator[_Scene]":
        environ = clean_environment()
        prefix = f"trouble-{token_hex(4)}"
        cluster = Cluster(SystemClock(), environ["GOOGLE_CLOUD_PROJECT"], prefix, shards=1, ack_deadline=_ACK_DEADLINE)
        hosts = {service: environ[service.variable] for service in Service}
        async with AsyncExitStack() as stack:
            proxy = await stack.enter_async_context(GrpcProxy(hosts[trouble.service]))
            ways = hosts | {trouble.service: proxy.address}
            shards = [open_shards(each[Service.PUBSUB], cluster) for each in (hosts, ways)]
            ledgers = [_ledger(each[Service.FIRESTORE], cluster) for each in (hosts, ways)]
            for closing in (*(each.aclose for each in shards), *(each.aclose for each in ledgers)):
                stack.push_async_callback(closing)
            await ensure(shards[0])
            mails = [_mail(number) for number in range(GOOD + 1)]
            yield cls(trouble, proxy, shards[0], ledgers[0], shards[1], ledgers[1], cluster, mails)

    async def begin(self) -> None:
        """Start the worker, then the trouble, then publish."""
        self.provider = _Provider(self._on_accepted, takes=self.trouble.takes)
        self.worker = self._worker()
        self.running = asyncio.create_task(self.worker.run())
        if not self.trouble.by_producer:
            await wait_until(self._has_begun, within=_LIMIT, what="the first pull")
        if not self.trouble.starts_sent:
            self.trouble.make(self.proxy)
        await self._publish()

    async def outlast(self) -> int:
        """Wait for the end of a trouble that has one; return how many mails the provider was given meanwhile."""
        if self.trouble.heals_after is None:
            return 0
        await asyncio.sleep(self.trouble.heals_after)
        given = len(self.provider.attempts)
        self.proxy.heal()
        return given

    async def is_over(self) -> bool:
        try:
            entries = await self._entries()
        except LedgerUnavailableError:
            return False
        return len(entries) == len(self.mails) and all(map(is_over, entries.values()))

    async def stop(self) -> None:
        self.proxy.heal()
        self.worker.stop()
        await self.running

    async def evidence(self) -> Evidence:
        accepted = [Accepted(mail.id, "alpha", self.provider.receipts[mail.id].message_id) for mail in self._taken()]
        letters = [Letter.of(each.message) for each in await self.shards.dead(0).pull(max_deliveries=100, wait=1.0)]
        published = {str(mail.id): message_for(mail).data for mail in self.mails}
        return Evidence(published, await self._entries(), accepted, letters)

    def _taken(self) -> list[Mail]:
        return self.provider.accepted

    def _has_begun(self) -> bool:
        return bool(self.proxy.calls["Pull"]) if self.trouble.service is Service.PUBSUB else bool(self.proxy.calls)

    def _on_accepted(self) -> None:
        if self.trouble.starts_sent and not self.proxy.troubled:
            self.trouble.make(self.proxy)

    async def _publish(self) -> None:
        if not self.trouble.by_producer:
            await asyncio.gather(*(self.shards.queue(0).publish(message_for(mail)) for mail in self.mails))
            return
        address = self.proxy.address
        async with Producer(lambda: open_shards(address, self.cluster), clock=SystemClock()) as producer:
            await asyncio.gather(*map(producer.apublish, self.mails))

    async def _entries(self) -> dict[str, Entry]:
        found = await asyncio.gather(*(self.ledger.find(mail.id) for mail in self.mails))
        return {mail.id: entry for mail, entry in zip(self.mails, found, strict=True) if entry}

    def _worker(self) -> Worker:
        clock = SystemClock()
        budget = 2 * self.provider.timeout + 3.0
        breaker = CircuitBreaker(self.provider.name, clock=clock.now)
        return Worker(
            shards=self.shards if self.trouble.by_producer else self.troubled_shards,
            ledger=self.troubled_ledger,
            failover=Failover([Route(self.provider, breaker)], clock=clock),
            clock=clock,
            settings=WorkerSettings(
                limits=Limits(lease=budget + 3.0, budget=budget),
                concurrency=20,
                ack_deadline=_ACK_DEADLINE,
                grace=4.0,
                doubt_window=5.0,
                pull_wait=1.0,
            ),
            new_claim_id=lambda: uuid4().hex,
        )


def _ledger(host: str, cluster: Cluster) -> FirestoreLedger:
    database = Database(cluster.project, emulator=host)
    return FirestoreLedger(database, collection=f"{cluster.prefix}-mails", clock=cluster.clock)


def _mail(number: int) -> Mail:
    domain = "refused.example" if number == GOOD else "example.org"
    document = {
        "id": MailId(f"mail-{number}"),
        "from": {"email": "shop@mg.example.org"},
        "to": [{"email": f"customer{number}@{domain}"}],
        "subject": f"Mail {number}",
        "text": "Your order is on its way.",
    }
    return parse(orjson.dumps(document))
