"""A breaker that a person holds: open, nobody goes there; closed, everybody does; both within seconds, and back."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from random import Random
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postman import Mail
from postman.adapters.memory import MemoryLedger, MemoryShards
from postman.breaker import CircuitBreaker, Recovery, State, Trip
from postman.core.protocol import State as MailState
from postman.core.shards import shard_for
from postman.core.wire import message_for
from postman.errors import NoProviderError, OutcomeUnknownError, ProviderDownError
from postman.ports.opening import Cluster
from postman.ports.provider import Receipt
from postman.runtime.courier import Limits
from postman.runtime.failover import Failover, Lineup, Route
from postman.runtime.failover.limits import RetryBudget
from postman.runtime.providing import EVERY, Providing
from postman.runtime.worker import Worker, WorkerSettings
from postman.testing.virtual import VirtualClock, run_virtually
from tests.unit.runtime.router_scene import MAIL, Scene, down

Forced = Literal["open", "closed"] | None

NAMES = "ab"
SHARDS = 2
HOUR = 3_600.0


def _change(scene: Scene, a: Forced = None, b: Forced = None) -> None:
    """Let the document force the breakers of both."""
    before = scene.failover._routes
    routes = [
        Route(route.provider, route.breaker, weight=route.weight, forced=forced)
        for route, forced in zip(before, (a, b), strict=True)
    ]
    for route, known in zip(routes, before, strict=True):
        route.take_over(known, is_same_concurrency=True, is_same_rate=True)
    scene.failover.change(routes)


async def test_one_that_is_forced_open_gets_nothing_and_takes_over_again_where_it_was_home() -> None:
    scene = Scene()
    assert await scene.send() == "a"
    _change(scene, a="open")
    assert [await scene.send() for _ in range(3)] == ["b", "b", "b"]
    standing = scene.failover.standings()["a"]
    assert (standing.breaker, standing.forced, standing.retry_after) == ("held_open", "open", 0.0)

    _change(scene)
    assert scene.failover.standings()["a"].breaker == "closed"
    assert await scene.send() == "b"
    await scene.clock.advance(200.0)
    assert await scene.send() == "a"


async def test_a_mail_that_had_its_place_there_goes_elsewhere() -> None:
    scene = Scene()
    leave = scene.failover.choose(MAIL)
    assert leave.provider == "a"
    _change(scene, a="open")

    assert await scene.send(leave) == "b"
    assert scene.attempts == (0, 1)
    assert scene.in_flight == [0, 0]


async def test_a_mail_that_was_to_be_the_probe_there_goes_elsewhere() -> None:
    scene = Scene()
    await scene.lose()
    await scene.clock.advance(10.0)
    leave = scene.failover.choose(MAIL)
    assert leave.probe is not None
    before = len(scene.a.attempts)
    _change(scene, a="open")

    assert await scene.send(leave) == "b"
    assert len(scene.a.attempts) == before


async def test_while_all_are_forced_open_mails_wait_for_a_time_that_can_be_told() -> None:
    scene = Scene()
    _change(scene, a="open", b="open")
    with pytest.raises(NoProviderError) as caught:
        scene.failover.choose(MAIL)

    assert 0 < caught.value.retry_after <= 60.0
    assert 0 < scene.failover.wait() <= 60.0
    assert isfinite(scene.failover.standings()["a"].retry_after)
    _change(scene, a="open")
    assert scene.failover.wait() == 0.0
    assert await scene.send() == "b"


async def test_one_that_is_forced_closed_is_tried_however_often_it_fails() -> None:
    scene = Scene(budget=RetryBudget(ratio=1.0))
    _change(scene, a="closed")
    scene.a.then(*[down("a")] * 10)
    for _ in range(10):
        assert await scene.send() == "b"
    view = scene.routes[0].breaker.view()

    assert len(scene.a.attempts) == 10
    assert (view.state, view.failures) == (State.HELD_CLOSED, 10)
    assert await scene.send() == "a"


async def test_forced_closed_one_that_was_open_is_used_at_once_and_what_was_asked_for_is_no_hindrance() -> None:
    scene = Scene()
    await scene.lose()
    scene.routes[0].breaker.pause(40.0)
    _change(scene, a="closed")

    assert await scene.send() == "a"
    _change(scene)
    assert scene.failover.standings()["a"].breaker == "closed"


async def test_a_document_that_says_the_same_again_forgets_nothing() -> None:
    scene = Scene()
    _change(scene, a="closed")
    await scene.send()
    generation = scene.routes[0].breaker.view().generation
    _change(scene, a="closed")

    assert scene.routes[0].breaker.view().generation == generation


async def test_one_that_nobody_tries_tells_nothing_of_where_the_fault_is() -> None:
    """With a held open, b alone out of reach is b's fault, as of a single provider."""
    scene = Scene()
    _change(scene, a="open")

    assert scene.failover._locality._providers == {"b"}


@dataclass
class Service:
    """A provider that notes each mail which reaches it while it must not."""

    name: str
    random: Random
    is_forced_open: bool = False
    wrong: int = 0
    taken: list[str] = field(default_factory=list)
    asked: int = 0
    timeout: float = 5.0
    look_up_after: float = 1.0
    idempotent_for: float = 0.0
    failing: float = 0.0
    loses: bool = False
    """Whether it takes mails, and every answer is lost."""

    async def send(self, mail: Mail, *, timeout: float | None = None) -> Receipt:
        self.wrong += self.is_forced_open
        if self.loses:
            self.taken.append(mail.id)
            raise OutcomeUnknownError("gave no answer", provider=self.name)
        await asyncio.sleep(self.random.choice((0.01, 0.5, 2.0)))
        if self.random.random() < self.failing:
            error = self.random.choice((ProviderDownError, OutcomeUnknownError))
            raise error("away", provider=self.name)
        self.taken.append(mail.id)
        return Receipt(self.name, mail.id)

    async def look_up(self, mail: Mail) -> Receipt | None:
        self.asked += 1
        return Receipt(self.name, mail.id) if mail.id in self.taken else None

    async def aclose(self) -> None:
        """Nothing to close."""


class Town:
    """One worker that follows a document."""

    def __init__(self, seed: int = 1, failing: float = 0.0) -> None:
        self.clock = VirtualClock()
        self.shards = MemoryShards(Cluster(self.clock, shards=SHARDS))
        self.ledger = MemoryLedger(self.clock)
        random = Random(seed)
        self.services = [Service(name, random, failing=failing) for name in NAMES]
        self.breakers = [
            CircuitBreaker(name, Trip(consecutive=2), Recovery(open_for=2.0, max_open=8.0), clock=self.clock.now)
            for name in NAMES
        ]
        self.found: Lineup | None = None
        first = self.lineup("1", (None, None))
        self.failover = Failover(first.routes, clock=self.clock, random=random, rehome_after=10.0)
        self.providing = Providing(self.failover, first, look=self._look, clock=self.clock, claim=lambda: 20.0)

    def lineup(self, version: str, forced: Sequence[Forced]) -> Lineup:
        return Lineup(
            version,
            [
                Route(service, breaker, forced=each)
                for service, breaker, each in zip(self.services, self.breakers, forced, strict=True)
            ],
        )

    async def force(self, *forced: Forced) -> None:
        """Change the document, and return once the worker has had the time to learn of it."""
        self.found = self.lineup(f"{self.clock.now()}", forced)
        for service, each in zip(self.services, forced, strict=True):
            service.is_forced_open &= each == "open"
        await self.clock.sleep(EVERY + 0.1)
        for service, each in zip(self.services, forced, strict=True):
            service.is_forced_open = each == "open"

    def worker(self) -> Worker:
        numbers = iter(range(1_000_000))
        return Worker(
            shards=self.shards,
            ledger=self.ledger,
            failover=self.failover,
            clock=self.clock,
            settings=WorkerSettings(limits=Limits(lease=16.0, budget=13.0), concurrency=10),
            new_claim_id=lambda: f"claim-{next(numbers)}",
            companions=[self.providing],
            random=Random(1),
        )

    async def publish(self, *numbers: int) -> Sequence[Mail]:
        mails = [MAIL.model_copy(update={"id": f"mail-{number}"}) for number in numbers]
        for mail in mails:
            await self.shards.queue(shard_for(mail.id, SHARDS)).publish(message_for(mail))
        return mails

    async def states(self, mails: Sequence[Mail]) -> set[MailState | None]:
        entries = [await self.ledger.find(mail.id) for mail in mails]
        return {entry.state if entry else None for entry in entries}

    async def dead(self) -> int:
        return sum([len(await self.shards.dead(shard).pull(max_deliveries=9, wait=0.0)) for shard in range(SHARDS)])

    async def _look(self) -> Lineup | None:
        found, self.found = self.found, None
        return found


async def _all_forced_open_for_an_hour() -> None:
    town = Town()
    await town.shards.ensure()
    worker = town.worker()
    running = asyncio.ensure_future(worker.run())
    before = await town.publish(*range(20))
    await town.clock.sleep(20.0)
    assert await town.states(before) == {MailState.SENT}

    await town.force("open", "open")
    waiting = await town.publish(*range(20, 60))
    await town.clock.sleep(HOUR)
    assert MailState.SENT not in await town.states(waiting)

    await town.force(None, "open")
    await town.clock.sleep(25.0)
    assert await town.states(waiting) == {MailState.SENT}
    worker.stop()
    await running
    assert await town.dead() == 0
    assert [service.wrong for service in town.services] == [0, 0]
    taken = [mail_id for service in town.services for mail_id in service.taken]
    assert len(taken) == len(set(taken)) == 60
    assert not set(town.services[1].taken) & {mail.id for mail in waiting}


def test_while_all_are_forced_open_mails_wait_and_within_seconds_of_a_release_they_are_sent_once() -> None:
    run_virtually(_all_forced_open_for_an_hour())


async def _forced(seed: int, plan: Sequence[tuple[Forced, Forced]], failing: float) -> Town:
    town = Town(seed, failing)
    await town.shards.ensure()
    worker = town.worker()
    running = asyncio.ensure_future(worker.run())
    mails: list[Mail] = []
    for forced in plan:
        mails += await town.publish(*range(len(mails), len(mails) + 6))
        await town.clock.sleep(1.0)
        await town.force(*forced)
        mails += await town.publish(*range(len(mails), len(mails) + 6))
        await town.clock.sleep(20.0)
    for service in town.services:
        service.failing = 0.0
    await town.force(None, None)
    await town.clock.sleep(200.0)
    worker.stop()
    await running
    assert await town.states(mails) == {MailState.SENT}
    assert await town.dead() == 0
    return town


@settings(deadline=None, max_examples=8)
@given(
    seed=st.integers(0, 1_000),
    plan=st.lists(st.tuples(*[st.sampled_from([None, "open", "closed"])] * 2), min_size=1, max_size=3),
    failing=st.sampled_from([0.0, 0.3, 0.9]),
)
def test_one_that_is_forced_open_never_gets_a_mail_and_none_is_lost_or_dead(
    seed: int, plan: list[tuple[Forced, Forced]], failing: float
) -> None:
    town = run_virtually(_forced(seed, plan, failing))

    assert [service.wrong for service in town.services] == [0, 0]


async def _a_doubt_at_one_that_is_forced_open() -> None:
    town = Town()
    await town.shards.ensure()
    worker = town.worker()
    running = asyncio.ensure_future(worker.run())
    town.services[0].loses = True
    await town.force(None, "open")
    mails = await town.publish(1)
    await town.clock.sleep(0.5)
    await town.force("open", None)
    await town.clock.sleep(60.0)
    worker.stop()
    await running
    assert await town.states(mails) == {MailState.SENT}
    assert [bool(service.asked) for service in town.services] == [True, False]
    assert town.services[1].taken == []


def test_one_that_is_forced_open_is_still_asked_about_doubts() -> None:
    run_virtually(_a_doubt_at_one_that_is_forced_open())
