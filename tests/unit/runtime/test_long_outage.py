"""All providers are away for hours: whole workers, in virtual time."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random

from postman import Address, Mail
from postman.adapters._numbered import Numbered
from postman.adapters.memory.ledger import MemoryLedger
from postman.adapters.memory.queue import MemoryShards
from postman.adapters.memory.roster import MemoryRoster
from postman.breaker import CircuitBreaker, Recovery, Trip
from postman.core.ids import MailId
from postman.core.protocol import State
from postman.core.shards import shard_for
from postman.core.wire import message_for
from postman.errors import ProviderDownError, ProviderError
from postman.ports.opening import Cluster
from postman.ports.provider import Receipt
from postman.ports.queue import Delivery, Message, Queue
from postman.runtime.courier import Limits
from postman.runtime.failover import Failover, Route
from postman.runtime.reporter import Identity, Reporting
from postman.runtime.worker import Worker, WorkerSettings
from postman.testing.virtual import VirtualClock, run_virtually

HOUR = 3_600.0
SHARDS = 4
CONCURRENCY = 20
RATE = 20.0
WORKERS = 3


@dataclass
class Service:
    """A provider that is away for a while; all workers share it."""

    name: str
    clock: VirtualClock
    is_away: bool = False
    tries: int = 0
    taken: list[tuple[float, str]] = field(default_factory=list)
    timeout: float = 5.0
    look_up_after: float = 0.0
    idempotent_for: float = 0.0

    async def send(self, mail: Mail, *, timeout: float | None = None) -> Receipt:
        self.tries += 1
        await self.clock.sleep(0.05)
        if self.is_away:
            raise ProviderDownError("away", provider=self.name)
        self.taken.append((self.clock.now(), mail.id))
        return Receipt(self.name, mail.id)

    async def look_up(self, mail: Mail) -> Receipt | None:
        raise ProviderError("cannot be asked", provider=self.name)

    async def aclose(self) -> None:
        """Nothing to close."""


class CountedQueue:
    """A queue that notes how often each mail was handed out."""

    def __init__(self, queue: Queue, handed_out: "Counter[str]") -> None:
        self._queue = queue
        self._handed_out = handed_out
        self.name = queue.name
        self.publish, self.extend, self.ack, self.nack = queue.publish, queue.extend, queue.ack, queue.nack
        self.aclose = queue.aclose

    async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
        deliveries = await self._queue.pull(max_deliveries=max_deliveries, wait=wait)
        self._handed_out.update(delivery.message.attributes["mail_id"] for delivery in deliveries)
        return deliveries


class CountedShards(MemoryShards):
    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.handed_out: Counter[str] = Counter()
        self._counted = Numbered(lambda shard: CountedQueue(self._queues[shard], self.handed_out))

    def queue(self, shard: int) -> Queue:
        return self._counted[shard]


class Town:
    """Workers as wiring makes them, on memory."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.shards = CountedShards(Cluster(clock, shards=SHARDS))
        self.ledger = MemoryLedger(clock)
        self.roster = MemoryRoster(clock)
        self.services = [Service("alpha", clock), Service("beta", clock)]
        self._claims = count()
        self._numbers = count()

    def worker(self) -> Worker:
        number = next(self._numbers)
        identity = Identity(f"w{number}", "here", number, "1", self.clock.time(), CONCURRENCY)
        return Worker(
            shards=self.shards,
            ledger=self.ledger,
            failover=Failover([self._route(each) for each in self.services], clock=self.clock, random=Random(number)),
            clock=self.clock,
            settings=WorkerSettings(limits=Limits(lease=16.0, budget=13.0), concurrency=CONCURRENCY),
            new_claim_id=lambda: f"claim-{next(self._claims)}",
            reporting=Reporting(self.roster, identity, 30.0, Random(number)),
            random=Random(number),
        )

    def _route(self, service: Service) -> Route:
        breaker = CircuitBreaker(
            service.name, Trip(slow_after=2.5), Recovery(max_open=60.0, lease=10.0), clock=self.clock.now
        )
        return Route(service, breaker, rate=RATE)

    async def publish(self, number: int) -> Mail:
        one = Mail(
            id=MailId(f"mail-{number}"),
            from_=Address(email="a@example.org"),
            to=(Address(email="b@example.org"),),
            subject="s",
            text="t",
        )
        await self.shards.queue(shard_for(one.id, SHARDS)).publish(message_for(one))
        return one

    def go_away(self, *, away: bool) -> None:
        for service in self.services:
            service.is_away = away

    async def dead(self) -> Sequence[Message]:
        pulls = [await self.shards.dead(shard).pull(max_deliveries=10, wait=0.0) for shard in range(SHARDS)]
        return [delivery.message for pull in pulls for delivery in pull]

    def taken_per_second(self) -> "Counter[tuple[str, int]]":
        return Counter((service.name, int(at)) for service in self.services for at, _ in service.taken)


async def _three_hours() -> None:
    clock = VirtualClock()
    town = Town(clock)
    await town.shards.ensure()
    workers = [town.worker() for _ in range(WORKERS)]
    running = [asyncio.ensure_future(worker.run()) for worker in workers]
    mails = [await town.publish(number) for number in range(200)]
    await clock.sleep(60.0)
    assert sum(len(service.taken) for service in town.services) == 200

    town.go_away(away=True)
    for number in range(200, 1_400):
        mails.append(await town.publish(number))
        await clock.sleep(0.02)
    await clock.sleep(60.0)
    before = dict(town.shards.handed_out)
    await clock.sleep(3 * HOUR)
    after = town.shards.handed_out
    assert {mail: after[mail] for mail in before} == before
    assert all(after[mail] == 1 for mail in after if mail not in before)
    assert len(after) <= 200 + WORKERS * (CONCURRENCY + CONCURRENCY // 2 + SHARDS)
    tries = sum(service.tries for service in town.services)

    town.go_away(away=False)
    back = clock.now()
    while sum(len(service.taken) for service in town.services) < len(mails):
        await clock.sleep(1.0)
    took = clock.now() - back
    for worker in workers:
        worker.stop()
    await asyncio.gather(*running)

    assert max(town.shards.handed_out.values()) <= 3
    assert sum(town.shards.handed_out.values()) < len(mails) + 5 * WORKERS * CONCURRENCY
    assert await town.dead() == []
    entries = [await town.ledger.find(mail.id) for mail in mails]
    assert {entry and entry.state for entry in entries} == {State.SENT}
    accepted = Counter(mail_id for service in town.services for _, mail_id in service.taken)
    assert set(accepted.values()) == {1}
    assert took < 120.0
    assert tries < 200 + 2 * WORKERS * (3 * 60 + 30)
    _check_no_stampede(town, back)


def _check_no_stampede(town: Town, back: float) -> None:
    """The owner's rates hold from the first second on, and the first seconds see but a few."""
    per_second: dict[int, int] = defaultdict(int)
    for (_, second), mails in town.taken_per_second().items():
        assert mails <= 1.2 * WORKERS * RATE
        per_second[second] += mails
    first = min(second for second in per_second if second >= int(back))
    assert per_second[first] <= 1.2 * WORKERS * RATE


def test_an_outage_of_all_providers_for_three_hours_burns_no_delivery_attempt_and_ends_without_a_stampede() -> None:
    """From the first minute on none is handed out again; none is dead-lettered; all are sent within two minutes after.

    A worker that still has places takes mails for the first time, until its hands are full.
    """
    run_virtually(_three_hours())
