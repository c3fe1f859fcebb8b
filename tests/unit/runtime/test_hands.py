"""What a worker holds: a fair share of each shard's mails, no more than it can begin in time, and their leases."""

import asyncio

import pytest
from structlog.testing import capture_logs

from postman.core.selection import most_of_one_shard
from postman.errors import QueueUnavailableError
from tests.unit.runtime.pulling_scene import Pulling, virtually


@pytest.mark.parametrize("concurrency", [2, 10, 50])
@pytest.mark.parametrize("shards", [2, 64])
@virtually
async def test_a_shard_with_slow_mails_takes_its_share_and_the_others_get_theirs_at_once(
    shards: int, concurrency: int
) -> None:
    here = Pulling(shards)
    here.service.takes[0] = 10.0
    async with here.working(concurrency=concurrency, grace=15.0) as worker:
        await here.warm_up(worker)
        await here.publish(0, 5 * concurrency)
        await here.clock.sleep(1.0)
        for number in range(100):
            await here.publish(1 + number % (shards - 1), 1, begin=number)
            await here.clock.sleep(0.2)

    assert here.service.most_of[0] == concurrency // 2
    others = here.delays(*range(1, shards))
    assert len(others) == 100
    assert max(others) == pytest.approx(0.05, abs=0.001)


@virtually
async def test_the_others_use_all_the_places_that_the_slow_shard_leaves() -> None:
    here = Pulling(4)
    here.service.takes = {0: 20.0, 1: 1.0, 2: 1.0, 3: 1.0}
    async with here.working(concurrency=20, grace=25.0) as worker:
        await here.warm_up(worker)
        await here.publish(0, 60)
        await here.clock.sleep(0.5)
        for shard in (1, 2, 3):
            await here.publish(shard, 40)
        fewest = 20
        for _ in range(100):
            await here.clock.sleep(0.1)
            fewest = min(fewest, worker.in_flight)

    assert fewest == 20


@pytest.mark.parametrize(("share", "most"), [(0.25, 5), (0.5, 10), (1.0, 20)])
@virtually
async def test_the_share_is_the_operators_to_set(share: float, most: int) -> None:
    here = Pulling(2)
    here.service.takes[0] = 5.0
    async with here.working(concurrency=20, share=share) as worker:
        await here.warm_up(worker)
        await here.publish(0, 60)
        await here.clock.sleep(20.0)

    assert here.service.most_of[0] == most == most_of_one_shard(20, 2, share)


@virtually
async def test_a_lone_shard_may_take_all_places() -> None:
    here = Pulling(1)
    async with here.working(concurrency=20) as worker:
        await here.warm_up(worker)
        await here.publish(0, 100)
        await here.until(lambda: len(here.sent()) == 100, within=1.0)

    assert here.service.most_of[0] == 20


@virtually
async def test_the_share_follows_the_number_of_shards_that_are_read() -> None:
    here = Pulling(2)
    async with here.working(concurrency=20) as worker:
        await here.warm_up(worker)
        await here.publish(0, 100)
        await here.until(lambda: len(here.delays(0)) == 100, within=2.0)
        assert here.service.most_of[0] == 10
        await here.change(lambda layout: layout.pause(1, now=0.0))
        await here.clock.sleep(5.1)
        await here.publish(0, 100, begin=100)
        await here.until(lambda: len(here.delays(0)) == 200, within=2.0)

    assert here.service.most_of[0] == 20


@pytest.mark.parametrize(("takes", "ahead"), [(0.05, 10), (20.0, 10), (60.0, 5), (170.0, 1)])
@virtually
async def test_no_more_wait_than_can_be_begun_within_half_a_lease(takes: float, ahead: int) -> None:
    """Half as many as are dealt with, at the most; what is beyond stays in the queue, for whoever has a place."""
    here = Pulling(1, ack_deadline=30.0)
    here.service.takes[0] = takes
    most = 0
    async with here.working(concurrency=20, grace=200.0) as worker:
        await here.warm_up(worker)
        await here.publish(0, 100)
        await here.clock.sleep(2.5 * takes)
        for _ in range(100):
            most = max(most, worker._hands.waiting)
            await here.clock.sleep(takes / 50)

    assert worker._hands.ahead == ahead
    assert 1 <= most <= ahead


@virtually
async def test_of_many_shards_a_busy_worker_holds_only_what_waits_for_a_place_and_one_that_each_heard_of() -> None:
    here = Pulling(16)
    most = 0
    for shard in range(16):
        await here.publish(shard, 30)
    async with here.working(concurrency=8) as worker:
        while len(here.sent()) < 450:
            most = max(most, worker._hands.waiting)
            await here.clock.sleep(0.01)

    assert most <= worker._hands.ahead + 16


@virtually
async def test_the_leases_of_waiting_mails_are_kept_too_so_that_nobody_else_gets_them() -> None:
    """In one request for all that are due, not in one for each."""
    here = Pulling(1, ack_deadline=12.0)
    here.service.takes[0] = 40.0
    async with here.working(concurrency=4, grace=50.0) as worker:
        mails = await here.publish(0, 5)
        await here.clock.sleep(1.0)
        assert worker._hands.waiting == 1
        await here.clock.sleep(75.0)
        assert await here.queues[0].pull(max_deliveries=10, wait=0.0) == []

    assert here.queues[0].attempts == dict.fromkeys(mails, 1)
    assert sorted(here.sent()) == mails
    assert max(here.queues[0].extended) == 5
    assert len(here.queues[0].extended) <= 75 / (12.0 / 6) + 1


@virtually
async def test_a_lease_is_kept_again_after_a_request_that_failed() -> None:
    here = Pulling(1, ack_deadline=12.0)
    here.service.takes[0] = 40.0
    async with here.working(concurrency=4, grace=50.0) as worker:
        await here.publish(0, 5)
        await here.clock.sleep(1.0)
        here.queues[0].extending_fails = 1
        with capture_logs() as events:
            await here.clock.sleep(30.0)
        assert worker._leases.kept == 5
        assert set(here.queues[0].attempts.values()) == {1}

    assert [event["count"] for event in events if event["event"] == "lease_not_extended"] == [5]


@virtually
async def test_a_mail_that_goes_wrong_in_a_way_nobody_expected_leaves_its_place() -> None:
    here = Pulling(1)
    async with here.working(concurrency=2) as worker:
        here.service.surprises = 6
        await here.publish(0, 6)
        await here.clock.sleep(0.5)
        assert worker.in_flight == 0
        assert worker._guard.held == here.queues[0].asked
        await here.publish(0, 6, begin=6)
        await here.until(lambda: len(here.sent()) == 6, within=1.0)


@virtually
async def test_a_worker_that_stops_gives_back_what_waits_at_once_and_ends_what_it_began() -> None:
    here = Pulling(2)
    here.service.takes = {0: 3.0, 1: 3.0}
    async with here.working(concurrency=4) as worker:
        for shard in (0, 1):
            await here.publish(shard, 10)
        await here.clock.sleep(1.0)
        waiting = worker._hands.waiting
        assert waiting
        worker.stop()
        await here.clock.sleep(0.01)
        back = [await queue.pull(max_deliveries=100, wait=0.0) for queue in here.queues.values()]
        assert sum(map(len, back)) == 20 - 4

    assert len(here.sent()) == 4


@virtually
async def test_what_does_not_end_in_time_is_broken_off_and_goes_back() -> None:
    here = Pulling(1)
    here.service.takes[0] = 60.0
    async with here.working(concurrency=4, grace=2.0):
        await here.publish(0, 3)
        await here.clock.sleep(1.0)

    assert here.sent() == []
    assert len(await here.queues[0].pull(max_deliveries=9, wait=0.0)) == 3


@virtually
async def test_a_queue_that_takes_no_settling_leaves_no_place_taken() -> None:
    """Neither where a mail is done, nor where one is given back: it comes again with its lease."""
    here = Pulling(1)
    here.service.takes[0] = 1.0
    async with here.working(concurrency=2) as worker:
        await here.publish(0, 3)
        await here.clock.sleep(0.5)
        here.queues[0].settling_trouble = QueueUnavailableError("away")
        await here.clock.sleep(3.0)
        assert worker.in_flight == 0
        await here.publish(0, 3, begin=3)
        await asyncio.sleep(0.5)
    assert sorted(set(here.sent())) == [f"0-{number}" for number in range(5)]


@virtually
async def test_places_that_a_shard_may_not_take_do_not_count_as_full() -> None:
    """Half of them are free for the others, so the fleet must not take this worker for one with a backlog."""
    here = Pulling(4)
    here.service.takes[0] = 20.0
    async with here.working(concurrency=20, grace=60.0) as worker:
        await here.warm_up(worker)
        await here.publish(0, 60)
        await here.clock.sleep(1.0)
        worker._meter.close_window()
        await here.clock.sleep(10.0)
        window = worker._meter.close_window()

    assert window.full_for < 1.0
