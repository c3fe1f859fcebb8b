"""Where a worker pulls from: everywhere when it is idle, where the oldest mails are when it is not."""

import asyncio
from collections.abc import Sequence
from operator import methodcaller
from statistics import median

import pytest
from structlog.testing import capture_logs

from postman.breaker import CircuitBreaker
from postman.errors import ConfigError, QueueUnavailableError
from postman.ports.queue import Delivery
from postman.runtime.failover import Route
from postman.runtime.freight import LARGEST
from postman.testing.virtual import VirtualClock
from tests.unit.runtime.pulling_scene import PULL_WAIT, Pulling, WatchedQueue, number_of, virtually

LOOK = 5.1
"""Seconds within which a worker knows of another layout."""


@pytest.mark.parametrize("concurrency", [1, 2, 50])
@pytest.mark.parametrize("shards", [1, 4, 64])
@virtually
async def test_an_idle_worker_has_one_pull_open_at_every_shard(shards: int, concurrency: int) -> None:
    here = Pulling(shards)
    async with here.working(concurrency=concurrency):
        for _ in range(50):
            assert here.open_at() == set(range(shards))
            await here.clock.sleep(0.13)

    assert {queue.most_open for queue in here.queues.values()} == {1}


@pytest.mark.parametrize("concurrency", [1, 2, 50])
@virtually
async def test_a_mail_anywhere_is_begun_at_once_by_an_idle_worker(concurrency: int) -> None:
    here = Pulling(64)
    async with here.working(concurrency=concurrency):
        for shard in range(64):
            await here.publish(shard, 1)
            await here.clock.sleep(0.2)

    assert len(here.sent()) == 64
    assert max(here.delays(*range(64))) == pytest.approx(0.05, abs=0.001)


@virtually
async def test_an_idle_worker_asks_no_more_often_than_its_pulls_return() -> None:
    here = Pulling(64)
    async with here.working():
        await here.clock.sleep(20.0)

    assert all(queue.pulls <= 20.0 / PULL_WAIT + 2 for queue in here.queues.values())


@pytest.mark.parametrize("concurrency", [1, 2, 8])
@virtually
async def test_a_backlog_in_every_shard_is_worked_off_to_its_end(concurrency: int) -> None:
    """Nobody waits for what will not come, however few places there are for many shards."""
    here = Pulling(64)
    for shard in range(64):
        await here.publish(shard, 5)
    async with here.working(concurrency=concurrency):
        await here.until(lambda: len(here.sent()) == 64 * 5, within=1.3 * 64 * 5 * 0.05 / concurrency + 1.0)

    assert len(set(here.sent())) == 64 * 5


@virtually
async def test_a_busy_worker_pulls_where_the_oldest_mails_are() -> None:
    """The backlogs came one after the other, and so they go: each shard's before that of the next but one."""
    here = Pulling(6)
    for shard in range(6):
        await here.publish(shard, 60)
        await here.clock.sleep(100.0)
    async with here.working(concurrency=4):
        await here.until(lambda: len(here.sent()) == 360, within=20.0)

    middle = [median(at for at, each in here.service.sent if number_of(each) == shard) for shard in range(6)]
    assert all(middle[shard] < middle[shard + 2] for shard in range(4)), middle


@virtually
async def test_a_pull_for_many_leaves_a_place_for_each_shard_that_is_listened_to() -> None:
    """Two backlogs end; meanwhile and afterwards a pull is open at each of the shards where nothing lies."""
    here = Pulling(8)
    idle = set(range(2, 8))
    async with here.working(concurrency=8):
        for round_ in range(20):
            for shard in (0, 1):
                await here.publish(shard, 13, begin=13 * round_)
            for _ in range(30):
                assert idle <= here.open_at()
                await here.clock.sleep(0.013)


@virtually
async def test_open_pulls_ask_together_for_no_more_than_memory_takes() -> None:
    """And one for each shard; also where all are opened at the same moment."""
    here = Pulling(8)
    most = 0
    async with here.working(concurrency=50, memory=12 * LARGEST):
        for round_ in range(20):
            for shard in range(8):
                await here.publish(shard, 3, begin=3 * round_)
            for _ in range(20):
                await here.clock.sleep(0.01)
                most = max(most, sum(queue.asked for queue in here.queues.values()))

    assert 12 <= most <= 12 + 8


@pytest.mark.parametrize(
    "trouble",
    [QueueUnavailableError("q-1 does not exist"), QueueUnavailableError("no permission for q-1"), ValueError("ann@x")],
    ids=["missing", "forbidden", "surprise"],
)
@virtually
async def test_a_shard_that_cannot_be_read_is_told_of_keeps_no_other_waiting_and_recovers(trouble: Exception) -> None:
    here = Pulling(3)
    with capture_logs() as events:
        async with here.working() as worker:
            here.queues[1].trouble = trouble
            for number in range(100):
                for shard in (0, 2):
                    await here.publish(shard, 1, begin=number)
                await here.clock.sleep(0.5)
            tries = here.queues[1].pulls
            problem = worker._intake.works()["1"].problem
            here.queues[1].trouble = None
            await here.publish(1, 5)
            await here.until(lambda: len(here.delays(1)) == 5, within=16.0)
            assert worker._intake.works()["1"].problem == ""

    assert problem == (str(trouble) if isinstance(trouble, QueueUnavailableError) else "ValueError")
    assert len(here.delays(0, 2)) == 200
    assert max(here.delays(0, 2)) == pytest.approx(0.05, abs=0.001)
    assert tries < 15
    told = [event for event in events if event["event"] in {"pull_failed", "pull_recovered"}]
    assert {event["shard"] for event in told} == {1}
    assert [event["event"] for event in told][-2:] == ["pull_failed", "pull_recovered"]
    assert "ann@x" not in str(events)


class Early(VirtualClock):
    """A clock whose sleepers wake a little early, and which goes on between two readings."""

    reads = 0

    def now(self) -> float:
        self.reads += 1
        return super().now() + 0.0009 * (self.reads % 2)

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds - 0.001 if seconds > 0.001 else seconds)


@virtually
async def test_a_lone_shard_is_tried_again_however_the_clock_reads_when_its_time_comes() -> None:
    """The moment may pass between the look at what can be pulled and the decision how long to wait."""
    here = Pulling(1, clock=Early())
    async with here.working():
        here.queues[0].trouble = QueueUnavailableError("away")
        for _ in range(10):
            tries = here.queues[0].pulls
            await here.clock.sleep(16.0 + PULL_WAIT)
            assert here.queues[0].pulls > tries


@virtually
async def test_when_all_shards_fail_none_is_tried_in_a_hurry() -> None:
    here = Pulling(8)
    async with here.working():
        for shard in range(8):
            here.queues[shard].trouble = QueueUnavailableError("away")
        before = sum(queue.pulls for queue in here.queues.values())
        await here.clock.sleep(120.0)
        tries = sum(queue.pulls for queue in here.queues.values()) - before

    assert 8 * 120 / 15 <= tries <= 8 * 20


@virtually
async def test_wrong_settings_that_a_pull_finds_end_the_worker() -> None:
    here = Pulling(2)
    await here.shards.ensure()
    running = asyncio.ensure_future(here.worker().run())
    await here.clock.sleep(1.0)
    here.queues[1].trouble = ConfigError("the ack deadline is too short")
    began = here.clock.now()
    with pytest.raises(ConfigError, match="deadline"):
        await running
    assert here.clock.now() - began < 2 * PULL_WAIT + 0.1


@virtually
async def test_of_a_paused_shard_what_waits_goes_back_what_is_in_flight_ends_and_no_more_is_pulled() -> None:
    """Within one look of the worker; the other shards go on, and once it is resumed so does this one."""
    here = Pulling(3)
    here.service.takes[1] = 4.0
    async with here.working(concurrency=4) as worker:
        await here.publish(1, 20)
        await here.clock.sleep(1.0)
        assert worker._hands.waiting > 0
        await here.change(lambda layout: layout.pause(1, now=0.0))
        await here.clock.sleep(LOOK)
        begun = len(here.delays(1)) + here.service.busy_with[1]
        assert worker._hands.held_of(1) == here.service.busy_with[1] > 0
        await here.clock.sleep(PULL_WAIT + 4.0)
        pulls = here.queues[1].pulls
        for number in range(50):
            await here.publish(0, 1, begin=number)
            await here.clock.sleep(0.5)
        assert max(here.delays(0)) == pytest.approx(0.05, abs=0.001)
        assert here.queues[1].pulls == pulls
        assert len(here.delays(1)) == begun
        assert worker._hands.held_of(1) == 0

        await here.change(lambda layout: layout.resume(1, now=0.0))
        await here.until(lambda: len(here.delays(1)) == 20, within=LOOK + 60.0)

    assert len(set(here.sent())) == len(here.sent()) == 70


@virtually
async def test_what_an_open_pull_brings_of_a_shard_paused_meanwhile_goes_back_at_once() -> None:
    here = Pulling(2)
    async with here.working() as worker:
        await here.change(lambda layout: layout.pause(1, now=0.0))
        await here.until(lambda: worker._following.layout.epoch == 1, within=LOOK)
        assert 1 in here.open_at()
        [late] = await here.publish(1, 1)
        await here.clock.sleep(0.001)
        assert here.queues[1].attempts[late] == 1
        [again] = await here.queues[1].pull(max_deliveries=1, wait=0.0)
        await here.queues[1].nack(again)
        assert worker._intake.works().keys() == {"1"}

    assert here.sent() == []


@pytest.mark.parametrize("concurrency", [1, 20])
@virtually
async def test_a_growing_layout_is_followed_live_and_so_are_the_places(concurrency: int) -> None:
    here = Pulling(2)
    async with here.working(concurrency=concurrency) as worker:
        places = worker._guard.capacity
        for count in (6, 64, 3):
            grown = await here.change(methodcaller("consuming", count, now=0.0))
            await here.clock.sleep(LOOK + PULL_WAIT)
            assert here.open_at() == set(grown.read)
            assert worker._guard.capacity == places + count - 2

    assert {queue.cancelled for queue in here.queues.values()} == {0}


@virtually
async def test_no_pull_is_opened_at_a_shard_that_is_not_read() -> None:
    here = Pulling(4)
    await here.change(lambda layout: layout.consuming(6, now=0.0))
    await here.change(lambda layout: layout.pause(2, now=0.0))
    async with here.working():
        await here.clock.sleep(30.0)
        assert here.open_at() == {0, 1, 3, 4, 5}

    assert 2 not in here.queues or here.queues[2].pulls == 0
    assert max(here.queues) == 5


@virtually
async def test_a_last_pull_at_a_shard_that_was_given_up_and_removed_is_no_lasting_problem() -> None:
    here = Pulling(2)
    await here.change(lambda layout: layout.consuming(3, now=0.0))
    async with here.working() as worker:
        await here.clock.sleep(LOOK)
        await here.publish(2, 1)  # so that its pulls do not return at the very moment of a look
        given_up = await here.change(lambda layout: layout.consuming(2, now=0.0))
        await here.until(lambda: worker._following.layout == given_up, within=LOOK)
        assert 2 in here.open_at()
        here.queues[2].trouble = QueueUnavailableError("q-2 does not exist")
        await here.clock.sleep(30.0)
        assert worker._intake.works()["2"].problem == ""


@virtually
async def test_what_an_open_pull_brings_after_the_worker_was_told_to_stop_goes_back_at_once() -> None:
    """The worker ends when its last pulls have returned, of which it breaks off none."""
    here = Pulling(4)
    async with here.working() as worker:
        worker.stop()
        stopped = here.clock.now()
        await here.clock.sleep(0.0)
        [late] = await here.publish(3, 1)
        await here.clock.sleep(0.001)
        [again] = await here.queues[3].pull(max_deliveries=1, wait=0.0)
        assert again.attempt == 2
        assert here.queues[3].attempts[late] == 2

    assert here.clock.now() - stopped <= PULL_WAIT + 0.1
    assert here.sent() == []
    assert {queue.cancelled for queue in here.queues.values()} == {0}


@virtually
async def test_a_worker_with_no_shard_to_read_waits_for_one() -> None:
    here = Pulling(2)
    for shard in (0, 1):
        await here.change(methodcaller("pause", shard, now=0.0))
    async with here.working():
        await here.publish(1, 3)
        await here.clock.sleep(60.0)
        assert here.open_at() == set()
        await here.change(lambda layout: layout.resume(1, now=0.0))
        await asyncio.sleep(LOOK)

    assert len(here.sent()) == 3


@pytest.mark.parametrize("concurrency", [1, 2, 10])
@virtually
async def test_a_busy_worker_leaves_to_an_idle_one_what_it_cannot_begin_soon(concurrency: int) -> None:
    here = Pulling(64)
    here.service.takes = {0: 60.0, 1: 60.0}
    async with here.working(concurrency=concurrency, grace=100.0) as busy:
        await here.warm_up(busy)
        for shard in (0, 1):
            await here.publish(shard, concurrency)
        await here.clock.sleep(5.0)
        async with here.working(concurrency=concurrency, seed=2):
            await here.clock.sleep(3.0)
            for number in range(200):
                await here.publish(2 + number % 62, 1, begin=number)
                await here.clock.sleep(0.1)
            await here.clock.sleep(1.0)
            delays = here.delays(*range(2, 64))

    assert len(delays) == 200
    assert max(delays) < 1.0


class Far(WatchedQueue):
    """A queue from which each answer takes a while."""

    async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
        await self._clock.sleep(0.04)
        return await super().pull(max_deliveries=max_deliveries, wait=wait)


@pytest.mark.parametrize("shards", [8, 32, 64])
@virtually
async def test_a_hot_shard_is_pulled_in_groups_however_many_others_are_listened_to(shards: int) -> None:
    """Pulls that only listen take no memory from those that bring many."""
    here = Pulling(shards)
    for shard in range(shards):
        here.queues[shard] = Far(f"q-{shard}", here.clock, 30.0)
    async with here.working(concurrency=50) as worker:
        await here.warm_up(worker)
        here.service.takes = dict.fromkeys(range(shards), 0.02)
        await here.clock.sleep(5.0)
        began = here.clock.now()
        await here.publish(1, 1_000)
        await here.until(lambda: len(here.sent()) >= 1_000, within=20.0)

    assert here.clock.now() - began < 6.0


@virtually
async def test_a_wrong_setting_that_a_pull_finds_ends_the_worker_also_in_an_outage() -> None:
    here = Pulling(2)
    await here.shards.ensure()
    worker = here.worker()
    running = asyncio.ensure_future(worker.run())
    await here.clock.sleep(1.0)
    worker._intake._hindrance = lambda: 500.0
    here.queues[1].trouble = ConfigError("no credentials")
    began = here.clock.now()
    with pytest.raises(ConfigError):
        await running

    assert here.clock.now() - began < 20.0


@virtually
async def test_a_change_of_the_providers_that_ends_an_outage_is_taken_up_at_once() -> None:
    here = Pulling(2)
    async with here.working() as worker:
        worker._failover._routes[0].breaker.lock_out(500.0)
        await here.clock.sleep(PULL_WAIT + 1.0)
        await here.publish(0, 3)
        worker._failover.change([Route(here.service, CircuitBreaker("a"))])
        await here.until(lambda: len(here.sent()) == 3, within=0.2)
