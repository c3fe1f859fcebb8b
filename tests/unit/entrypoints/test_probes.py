"""When a worker counts as alive and as ready, and what a supervisor says for its processes."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf
from typing import Any

import pytest

from postman.adapters.memory import MemoryLedger
from postman.core.ids import MailId
from postman.entrypoints.probes import Condition, Hearing, Seat, attend, condition_of
from postman.errors import LedgerUnavailableError, QueueUnavailableError
from postman.ports.queue import Delivery
from postman.runtime.worker import Vitals, Worker
from postman.testing.clock import FakeClock
from postman.testing.waiting import wait_until
from tests.unit.runtime.pulling_scene import Pulling, WatchedQueue, virtually

WELL = Vitals(is_draining=False, starting=None, pulling=2.0, leasing=5.0, queue=2.0, ledger=10.0)
OK = Condition()


class WaywardLedger(MemoryLedger):
    """It can be away, and it can be *held*: then no check of it ever returns."""

    is_away = False
    is_held = False
    takes_mails = True

    async def _apply(self, mail_id: MailId, transition: Any) -> Any:
        if not self.takes_mails:
            raise LedgerUnavailableError("away")
        return await super()._apply(mail_id, transition)

    async def check(self) -> None:
        if self.is_held:
            await asyncio.Event().wait()
        if self.is_away:
            raise LedgerUnavailableError("away")


class SilentQueue(WatchedQueue):
    """No extension of a lease ever returns."""

    async def extend(self, deliveries: Sequence[Delivery], seconds: float) -> None:
        await asyncio.Event().wait()


class Ward(Pulling):
    """A cluster whose one worker is looked after."""

    def __init__(self, **options: Any) -> None:
        super().__init__(2, **options)
        self.ledger: WaywardLedger = WaywardLedger(self.clock)

    def condition(self, worker: Worker) -> Condition:
        return condition_of(worker.vitals(), ack_deadline=self.ack_deadline)

    @asynccontextmanager
    async def attended(self, **options: Any) -> AsyncIterator[Worker]:
        async with self.working(**options) as worker, attend(worker, self.clock):
            yield worker

    async def conditions(self, worker: Worker, seconds: float) -> set[Condition]:
        """Return all that it is within *seconds* from now on."""
        end, seen = self.clock.now() + seconds, set()
        while self.clock.now() < end:
            seen.add(self.condition(worker))
            await self.clock.sleep(1.1)
        return seen

    def queues_fail(self, error: Exception | None) -> None:
        for shard in range(self.count):
            self.queues[shard].trouble = error


@pytest.mark.parametrize(
    ("changes", "not_alive"),
    [
        ({"pulling": 60.0, "leasing": 60.0}, ""),
        ({"pulling": 61.0}, "its pull loop has not turned for 61 s"),
        ({"leasing": 61.0}, "its lease loop has not turned for 61 s"),
        ({"pulling": inf, "leasing": inf, "starting": 119.0}, ""),
        ({"pulling": inf, "leasing": inf, "starting": 121.0}, "a step of its start has taken 121 s"),
        ({"pulling": 900.0, "leasing": 900.0, "is_draining": True}, ""),
        ({"queue": inf, "ledger": inf}, ""),
    ],
)
def test_a_worker_is_alive_while_both_of_its_loops_turn(changes: dict[str, Any], not_alive: str) -> None:
    condition = condition_of(replace(WELL, **changes), ack_deadline=30.0)

    assert condition.not_alive == not_alive
    assert condition.not_ready or not not_alive, "one that is not alive is not ready either"


@pytest.mark.parametrize(
    ("changes", "ack_deadline", "not_ready"),
    [
        ({}, 30.0, ""),
        ({"queue": 60.0, "ledger": 60.0}, 30.0, ""),
        ({"queue": 61.0}, 30.0, "the queue has not answered lately"),
        ({"queue": 600.0}, 600.0, ""),
        ({"queue": 601.0}, 600.0, "the queue has not answered lately"),
        ({"ledger": 61.0}, 600.0, "the ledger has not answered lately"),
        ({"starting": 1.0}, 30.0, "it is starting"),
        ({"is_draining": True}, 30.0, "it drains"),
    ],
)
def test_a_worker_is_ready_if_queue_and_ledger_answered_lately(
    changes: dict[str, Any], ack_deadline: float, not_ready: str
) -> None:
    assert condition_of(replace(WELL, **changes), ack_deadline=ack_deadline) == Condition("", not_ready)


@pytest.mark.parametrize("ack_deadline", [30.0, 600.0])
@virtually
async def test_an_idle_worker_is_ready_all_the_time(ack_deadline: float) -> None:
    ward = Ward(ack_deadline=ack_deadline)
    async with ward.attended() as worker:
        await ward.clock.sleep(3.0)
        assert await ward.conditions(worker, 200.0) == {OK}


@pytest.mark.parametrize("ack_deadline", [30.0, 600.0])
@virtually
async def test_a_worker_whose_places_are_taken_for_long_is_ready_all_the_time(ack_deadline: float) -> None:
    """It pulls nothing meanwhile; that its queue is there it knows by the leases that it extends."""
    ward = Ward(ack_deadline=ack_deadline)
    ward.service.takes = {0: 400.0, 1: 400.0}
    for shard in range(2):
        await ward.publish(shard, 50)
    async with ward.attended(concurrency=4, grace=500.0) as worker:
        await ward.clock.sleep(20.0)
        pulls = sum(queue.pulls for queue in ward.queues.values())
        assert await ward.conditions(worker, 350.0) == {OK}
        assert sum(queue.pulls for queue in ward.queues.values()) == pulls, "the scene must hold it up"


@virtually
async def test_a_worker_without_a_queue_is_alive_and_not_ready_until_it_is_back() -> None:
    ward = Ward()
    async with ward.attended() as worker:
        await ward.clock.sleep(3.0)
        ward.queues_fail(QueueUnavailableError("away"))
        await ward.clock.sleep(5.0)
        assert await ward.conditions(worker, 200.0) == {Condition("", "the queue has not answered lately")}
        ward.queues_fail(None)
        await ward.clock.sleep(20.0)
        assert await ward.conditions(worker, 60.0) == {OK}


@virtually
async def test_one_shard_that_cannot_be_read_makes_nobody_unready() -> None:
    ward = Ward()
    async with ward.attended() as worker:
        await ward.clock.sleep(3.0)
        ward.queues[0].trouble = QueueUnavailableError("away")
        assert await ward.conditions(worker, 200.0) == {OK}


@virtually
async def test_a_worker_without_a_ledger_is_alive_and_not_ready_until_it_is_back() -> None:
    ward = Ward()
    async with ward.attended() as worker:
        await ward.clock.sleep(3.0)
        ward.ledger.is_away = True
        await ward.clock.sleep(11.0)
        assert await ward.conditions(worker, 200.0) == {Condition("", "the ledger has not answered lately")}
        ward.ledger.is_away = False
        await ward.clock.sleep(11.0)
        assert await ward.conditions(worker, 60.0) == {OK}


@virtually
async def test_a_ledger_that_mails_find_away_is_away_at_once() -> None:
    """Whoever meets it first tells, before the next look."""
    ward = Ward()
    async with ward.attended() as worker:
        await ward.clock.sleep(3.0)
        ward.ledger.takes_mails = False
        await ward.publish(0, 1)
        await ward.until(
            lambda: ward.condition(worker) == Condition("", "the ledger has not answered lately"), within=3.0
        )
        ward.ledger.takes_mails = True
        await ward.until(lambda: len(ward.sent()) == 1, within=30.0)
        assert ward.condition(worker) == OK


@virtually
async def test_a_ledger_that_never_answers_is_seen_and_keeps_no_loop_from_turning() -> None:
    ward = Ward()
    async with ward.attended() as worker:
        await ward.clock.sleep(3.0)
        ward.ledger.is_held = True
        await ward.clock.sleep(61.0 + 10.0)
        assert await ward.conditions(worker, 200.0) == {Condition("", "the ledger has not answered lately")}


@virtually
async def test_a_worker_whose_lease_loop_hangs_is_not_alive() -> None:
    """Its mails would be handed out to others while it holds them."""
    ward = Ward()
    ward.queues[0] = ward.shards._queues[0] = SilentQueue("q-0", ward.clock, ward.ack_deadline)
    ward.service.takes = {0: 200.0}
    await ward.publish(0, 1)
    async with ward.attended(grace=300.0) as worker:
        await ward.clock.sleep(20.0)
        assert ward.condition(worker) == OK
        await ward.clock.sleep(70.0)
        condition = ward.condition(worker)
        assert condition.not_alive.startswith("its lease loop has not turned for ")
        assert condition.not_ready == condition.not_alive


@virtually
async def test_a_worker_whose_pull_loop_hangs_is_not_alive() -> None:
    ward = Ward()
    async with ward.attended() as worker:
        await ward.clock.sleep(20.0)
        assert ward.condition(worker) == OK
        worker._intake._hindrance = lambda: inf
        worker._intake._rest = _for_ever  # a planted fault
        await ward.clock.sleep(65.0)
        assert ward.condition(worker).not_alive.startswith("its pull loop has not turned for ")


@virtually
async def test_a_start_that_waits_is_alive_and_one_that_hangs_is_not() -> None:
    ward = Ward()
    await ward.shards.ensure()
    ward.ledger.is_away = True
    worker = ward.worker()
    running = asyncio.ensure_future(worker.run())
    assert await ward.conditions(worker, 200.0) == {Condition("", "it is starting")}
    ward.ledger.is_held = True
    await ward.clock.sleep(150.0)
    assert ward.condition(worker).not_alive.startswith("a step of its start has taken ")
    worker.stop()
    assert ward.condition(worker) == Condition("", "it drains")
    await running


@virtually
async def test_a_process_that_cannot_open_its_worker_yet_is_alive_while_it_tries() -> None:
    ward = Ward()
    seat = Seat(ward.clock, ack_deadline=30.0)
    for _ in range(10):
        seat.try_to_open()
        await ward.clock.sleep(40.0)
        assert seat.condition() == Condition("", "it is starting")
    await ward.clock.sleep(81.0)
    assert seat.condition().not_alive == seat.condition().not_ready == "a step of its start has taken 121 s"
    async with ward.attended() as seat.worker:
        await ward.clock.sleep(3.0)
        assert seat.condition() == OK


@virtually
async def test_a_worker_that_drains_is_alive_and_not_ready() -> None:
    ward = Ward()
    ward.service.takes = {0: 90.0}
    await ward.publish(0, 1)
    async with ward.attended(grace=100.0) as worker:
        await ward.clock.sleep(5.0)
        worker.stop()
        assert await ward.conditions(worker, 80.0) == {Condition("", "it drains")}


async def _for_ever(_: float) -> None:
    await asyncio.Event().wait()


class Town:
    """Two processes, of which only the standard outputs are real."""

    def __init__(self) -> None:
        self.clock = FakeClock(auto=False)
        self.hearing = Hearing(2, self.clock)

    async def says(self, stdout: int, line: bytes) -> None:
        before = dict(self.hearing._voices)
        os.write(stdout, line)
        await wait_until(lambda: self.hearing._voices != before, within=5.0)

    @property
    def condition(self) -> Condition:
        return self.hearing.condition()


READY = b'{"not_alive":"","not_ready":""}\n'


async def test_processes_are_ready_together_and_alive_while_none_is_stuck() -> None:
    town = Town()
    with town.hearing.process(1) as first, town.hearing.process(2) as second:
        assert town.condition == Condition("", "process 1: it is starting")
        await town.says(first, READY)
        assert town.condition == Condition("", "process 2: it is starting")
        await town.says(second, READY)
        assert town.condition == OK
        await town.says(second, b'{"not_alive":"","not_ready":"it drains"}\n')
        assert town.condition == Condition("", "process 2: it drains")
        await town.says(second, READY + b'{"not_alive":"stuck","not_ready":"stuck"}\n')
        assert town.condition == Condition("process 2: stuck", "process 2: stuck")


async def test_a_process_that_says_nothing_for_ten_seconds_is_blocked() -> None:
    town = Town()
    with town.hearing.process(1) as first, town.hearing.process(2) as second:
        await town.says(first, READY)
        await town.says(second, READY)
        await town.clock.advance(9.0)
        await town.says(second, READY)
        await town.clock.advance(2.0)
        words = "process 1: it has said nothing for 11 s"
        assert town.condition == Condition(words, words)
        await town.says(first, READY)
        assert town.condition == OK


async def test_a_process_that_ended_is_missed_and_makes_nobody_start_the_others_anew() -> None:
    town = Town()
    with town.hearing.process(1) as first:
        with town.hearing.process(2) as second:
            await town.says(second, b'{"not_alive":"stuck","not_ready":"stuck"}\n')
        await town.says(first, READY)
        assert town.condition == Condition("", "1 of 2 processes are not running")
        with town.hearing.process(2) as again:
            assert town.condition == Condition("", "process 2: it is starting")
            await town.says(again, READY)
            assert town.condition == OK


@pytest.mark.parametrize(
    "line", [b"a library's own words\n", b"\n", b"{}\n[1]\n", b'{"status": 1}\n', b'"not_alive"\n']
)
async def test_what_else_a_process_prints_changes_nothing(line: bytes) -> None:
    town = Town()
    with town.hearing.process(1) as first, town.hearing.process(2) as second:
        await town.says(first, READY)
        await town.says(second, READY)
        os.write(first, line)
        os.write(second, b'{"not_alive":"","not_ready":"it drains"}\n')
        await wait_until(lambda: town.condition.not_ready, within=5.0)
        assert town.condition == Condition("", "process 2: it drains")


async def test_processes_that_were_told_to_end_are_alive_whatever_they_say() -> None:
    town = Town()
    with town.hearing.process(1) as first:
        await town.says(first, b'{"not_alive":"stuck","not_ready":"stuck"}\n')
        town.hearing.is_draining = True
        assert town.condition == Condition("", "it drains")
