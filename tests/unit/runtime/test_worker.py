"""The worker on queues and a ledger in memory: it delivers, survives outages, and drains."""

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest
import structlog

from postman import Mail
from postman.adapters.memory import MemoryQueue
from postman.core.message import Message
from postman.core.protocol import State
from postman.core.shards import shard_for
from postman.errors import (
    ConfigError,
    ProviderDownError,
)
from postman.ports.provider import Receipt
from postman.ports.queue import Delivery
from postman.runtime.courier import Limits
from postman.runtime.deadletters import Choice, DeadLetters
from postman.testing.provider import Answer, FakeProvider
from postman.testing.waiting import wait_until
from tests.unit.runtime.worker_scene import SHARDS, Scene, mails, sent


@pytest.fixture
async def scene() -> Scene:
    scene = Scene()
    await scene.shards.ensure()
    return scene


async def has(letters: DeadLetters, number: int) -> bool:
    return len(await letters.find(Choice())) == number


async def test_every_mail_is_sent_once_from_all_shards(scene: Scene) -> None:
    some = mails(200)
    await scene.publish(some)
    async with scene.working(), scene.working():
        await wait_until(lambda: len(scene.a.accepted) >= 200, within=10.0)

    assert sent(scene.a) == sorted(mail.id for mail in some)
    assert await scene.states(some) == {State.SENT}
    assert await scene.left() == []


async def test_an_idle_worker_hears_of_a_mail_on_any_shard_at_once(scene: Scene) -> None:
    async with scene.working():
        for one in mails(8):
            await scene.publish([one])
            await wait_until(partial(scene.a.accepted.__contains__, one), within=0.5)


async def test_it_holds_no_more_in_flight_than_it_may(scene: Scene) -> None:
    most = 0
    scene.a.always(Answer(delay=0.05))
    await scene.publish(mails(60))
    async with scene.working(concurrency=7) as worker:
        while len(scene.a.attempts) < 60:
            most = max(most, worker.in_flight)
            await asyncio.sleep(0.005)

    assert most == 7


async def test_bad_mails_harm_no_good_ones(scene: Scene) -> None:
    for number in range(20):
        await scene.shards.queue(number % SHARDS).publish(Message(b"no mail", {"mail_id": f"bad-{number}"}))
    good = mails(20)
    await scene.publish(good)
    async with scene.working():
        await wait_until(lambda: len(scene.a.accepted) == 20, within=5.0)
        letters = DeadLetters(shards=scene.shards, ledger=scene.ledger)
        await wait_until(lambda: has(letters, 20), within=5.0)

    found = await letters.find(Choice())
    assert {letter.reason for letter in found} == {"malformed"}
    assert {letter.message.data for letter in found} == {b"no mail"}


async def test_when_all_providers_are_down_it_pulls_no_more_and_comes_back(scene: Scene) -> None:
    scene.a.always(ProviderDownError("down", provider="a"))
    scene.b.always(ProviderDownError("down", provider="b"))
    some = mails(30)
    await scene.publish(some)
    async with scene.working():
        await wait_until(lambda: len(scene.a.attempts) >= 2, within=5.0)
        await asyncio.sleep(0.2)
        attempts = len(scene.a.attempts) + len(scene.b.attempts)
        scene.a.always(Answer())
        await wait_until(lambda: len(scene.a.accepted) == 30, within=10.0)

    assert attempts < 40
    assert await scene.states(some) == {State.SENT}
    assert not await has(DeadLetters(shards=scene.shards, ledger=scene.ledger), 1)


async def test_without_the_ledger_nothing_is_sent_and_nothing_lost(scene: Scene) -> None:
    some = mails(10)
    async with scene.working():
        await asyncio.sleep(0.05)
        scene.ledger.is_away = True
        await scene.publish(some)
        await asyncio.sleep(0.3)
        assert not scene.a.attempts
        scene.ledger.is_away = False
        await wait_until(lambda: len(scene.a.accepted) == 10, within=10.0)

    assert await scene.states(some) == {State.SENT}


async def test_a_mail_of_a_newer_version_is_left_alone_and_holds_nobody_up(scene: Scene) -> None:
    """During a roll-out the pulls go on: the ledger is in order."""
    strange, *others = mails(6)
    scene.ledger.newer = frozenset({strange.id})
    await scene.publish([strange])
    async with scene.working() as worker:
        await asyncio.sleep(0.1)
        await scene.publish(others)
        await wait_until(lambda: len(scene.a.accepted) == len(others), within=2.0)
        assert not worker._hands._ledger_waits.failures
    assert strange.id not in scene.a.receipts


async def test_it_waits_for_a_ledger_that_is_away_when_it_starts(scene: Scene) -> None:
    scene.ledger.is_away = True
    await scene.publish(mails(3))
    async with scene.working():
        await asyncio.sleep(0.2)
        assert not scene.a.attempts
        scene.ledger.is_away = False
        await wait_until(lambda: len(scene.a.accepted) == 3, within=5.0)


async def test_a_queue_that_fails_now_and_then_is_pulled_again(scene: Scene) -> None:
    queue = scene.flaky(0)
    await scene.publish(mails(20))
    queue.failures = 2
    async with scene.working():
        await wait_until(lambda: len(scene.a.accepted) == 20, within=10.0)


async def test_stopping_finishes_what_is_in_flight_and_gives_back_the_rest_at_once(scene: Scene) -> None:
    scene.a.always(Answer(delay=0.4))
    some = mails(40)
    await scene.publish(some)
    async with scene.working(concurrency=5) as worker:
        await wait_until(lambda: worker.in_flight == 5, within=5.0)
        worker.stop()
        await asyncio.sleep(0.1)
        assert worker.in_flight == 5

    assert len(scene.a.accepted) == 5
    assert await scene.states(scene.a.accepted) == {State.SENT}
    left = await scene.left()
    assert len(left) == 35


async def test_what_does_not_end_within_grace_is_left_in_doubt_and_given_back(scene: Scene) -> None:
    scene.a.always(Answer(delay=30.0))
    scene.a._timeout = 30.0
    some = mails(5)
    await scene.publish(some)
    began = asyncio.get_running_loop().time()
    worker = scene.worker(grace=0.8)
    worker._hands._courier._limits = lambda: Limits(lease=60.0, budget=50.0)
    running = asyncio.ensure_future(worker.run())
    await wait_until(lambda: worker.in_flight == 5, within=5.0)
    worker.stop()
    await asyncio.wait_for(running, 5.0)

    assert asyncio.get_running_loop().time() - began < 3.0
    assert await scene.states(some) == {State.IN_DOUBT}
    assert len(await scene.left()) == 5


async def test_stopping_again_breaks_off_at_once(scene: Scene) -> None:
    scene.a.always(Answer(delay=30.0))
    scene.a._timeout = 30.0
    await scene.publish(mails(5))
    worker = scene.worker(grace=20.0)
    worker._hands._courier._limits = lambda: Limits(lease=60.0, budget=50.0)
    running = asyncio.ensure_future(worker.run())
    await wait_until(lambda: worker.in_flight == 5, within=5.0)
    worker.stop()
    worker.stop()

    await asyncio.wait_for(running, 3.0)
    assert worker.in_flight == 0


@pytest.mark.parametrize("when", ["before", "at once", "twice"])
async def test_stopping_at_any_time_is_fine(scene: Scene, when: str) -> None:
    worker = scene.worker()
    if when == "before":
        worker.stop()
    running = asyncio.ensure_future(worker.run())
    await asyncio.sleep(0)
    worker.stop()
    if when == "twice":
        worker.stop()

    await asyncio.wait_for(running, 5.0)


async def test_a_surprise_in_one_shard_stops_no_other(scene: Scene) -> None:
    class Surprising(MemoryQueue):
        async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
            raise ValueError("an address: ann@example.org")

    scene.shards._queues[0] = Surprising("surprising", scene.clock, 10.0)
    some = [mail for mail in mails(40) if shard_for(mail.id, SHARDS)]
    await scene.publish(some)
    with structlog.testing.capture_logs() as logs:
        async with scene.working():
            await wait_until(lambda: len(scene.a.accepted) == len(some), within=5.0)

    failures = [event for event in logs if event["event"] == "pull_failed"]
    assert failures[0]["reason"] == "ValueError"
    assert "ann@example.org" not in str(logs)


async def test_a_setting_that_turns_out_wrong_ends_the_worker_after_a_drain(scene: Scene) -> None:
    class Wrong(MemoryQueue):
        async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
            await asyncio.sleep(0.1)
            raise ConfigError("the file is read-only")

    scene.a.always(Answer(delay=0.3))
    scene.shards._queues[0] = Wrong("wrong", scene.clock, 10.0)
    some = [mail for mail in mails(8) if shard_for(mail.id, SHARDS)]
    await scene.publish(some)
    with pytest.raises(ConfigError):
        await scene.worker().run()

    assert await scene.states(scene.a.attempts) == {State.SENT}


@pytest.mark.parametrize("attempt", [1, 1_500])
async def test_a_mail_that_surprises_is_given_back_and_its_place_is_free_again(scene: Scene, attempt: int) -> None:
    class Surprising(FakeProvider):
        async def send(self, mail: Mail, *, timeout: float | None = None) -> Receipt:
            self.attempts.append(mail)
            raise ValueError("an address: ann@example.org")

    scene.a = Surprising("a", clock=scene.clock, timeout=1.0)
    [one] = mails(1)
    await scene.publish([one])
    queue = scene.shards._queues[shard_for(one.id, SHARDS)]
    next(iter(queue._stored.values())).attempts = attempt - 1
    with structlog.testing.capture_logs() as logs:
        async with scene.working() as worker:
            await wait_until(lambda: scene.a.attempts, within=5.0)
            await wait_until(lambda: not worker.in_flight, within=5.0)
            assert worker._leases.kept == 0

    assert "ann@example.org" not in str(logs)
    assert await scene.left() == []


async def test_a_surprise_while_it_settles_is_logged_and_its_place_is_free_again(scene: Scene) -> None:
    class Surprising(MemoryQueue):
        async def ack(self, delivery: Delivery) -> None:
            raise ValueError("an address: ann@example.org")

    [one] = mails(1)
    shard = shard_for(one.id, SHARDS)
    scene.shards._queues[shard] = Surprising("surprising", scene.clock, 10.0)
    await scene.publish([one])
    with structlog.testing.capture_logs() as logs:
        async with scene.working() as worker:
            await wait_until(lambda: scene.a.accepted and not worker.in_flight, within=5.0)

    assert [event["reason"] for event in logs if event["event"] == "not_settled"] == ["ValueError"]
    assert "ann@example.org" not in str(logs)
    assert worker._guard.held == 0
