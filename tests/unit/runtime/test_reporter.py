"""The reporter: it reports at even times, judges itself by the others, and is never in the worker's way."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest
import structlog

from postman.adapters.memory import MemoryRoster
from postman.core.fleet.reports import (
    STOPPED,
    DocumentSeen,
    ProviderStanding,
    ProviderWork,
    ShardWork,
    WorkerReport,
    WorkWindow,
)
from postman.core.layout import Layout
from postman.errors import LedgerUnavailableError
from postman.runtime.meter import Meter
from postman.runtime.reporter import Identity, Reporter, Reporting
from postman.testing.clock import FakeClock
from postman.testing.waiting import wait_until

WINDOW = 30.0
ME = "w-me"


class Dice(Random):
    """Always throws the same."""

    def random(self) -> float:
        return 0.5


class Roster(MemoryRoster):
    """A roster that remembers what it was asked, and fails or dawdles as it is told."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.clock = clock
        self.said: list[WorkerReport] = []
        self.looks = 0
        self.others: list[WorkerReport] = []
        self.report_error: Exception | None = None
        self.look_error: Exception | None = None
        self.takes = 0.0
        self.look_takes = 0.0

    async def report(self, report: WorkerReport) -> None:
        await self.clock.sleep(self.takes)
        if self.report_error:
            raise self.report_error
        self.said.append(report)
        await super().report(report)

    async def reports(self, since: float) -> Sequence[WorkerReport]:
        self.looks += 1
        await self.clock.sleep(self.look_takes)
        if self.look_error:
            raise self.look_error
        return self.others or await super().reports(since)


class Scene:
    def __init__(self) -> None:
        self.clock = FakeClock(auto=False)
        self.meter = Meter(self.clock)
        self.roster = Roster(self.clock)
        self.left: list[str] = []
        self.standings = {"a": ProviderStanding("closed", in_flight=3)}
        self.reporter = Reporter(
            Reporting(self.roster, Identity(ME, "host", 7, "1.0", self.clock.time(), 10), WINDOW, Dice()),
            meter=self.meter,
            clock=self.clock,
            standings=lambda: self.standings,
            local_fault=lambda: "cut off",
            layout=lambda: Layout(publish=4, consume=6, epoch=3),
            shards=lambda: {"2": ShardWork(held=1)},
            document=lambda: DocumentSeen("7"),
            leave=self.left.append,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self.reporter.run())
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def fleet(self, *, mine: float, theirs: float = 0.5, peers: int = 3) -> list[WorkerReport]:
        """Return the reports of a fleet in which a mail takes *mine* seconds here, and *theirs* elsewhere."""
        takes = {ME: mine} | {f"w-{number}": theirs for number in range(peers)}
        return [_report(worker, seconds, self.clock.time()) for worker, seconds in takes.items()]


def _report(worker: str, seconds: float, at: float) -> WorkerReport:
    done = round(5 * WINDOW / seconds)
    work = {"a": ProviderWork(done, 5 * WINDOW, done * seconds, done * seconds**2)}
    windows = tuple(WorkWindow(at - WINDOW * age, WINDOW, work) for age in reversed(range(4)))
    return WorkerReport(worker, "host", 1, "1.0", at - 600.0, at, 10, WINDOW, windows)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_reports_come_at_even_times_after_a_random_first(scene: Scene) -> None:
    """So the workers of a fleet do not write at once, and windows follow each other without gaps."""
    began = scene.clock.time()
    async with scene.running():
        await scene.clock.advance(3 * WINDOW)
    assert [report.at - began for report in scene.roster.said] == [15.0, 45.0, 75.0]
    assert [window.seconds for window in scene.roster.said[-1].windows] == [15.0, 30.0, 30.0]


async def test_a_report_says_who_and_how(scene: Scene) -> None:
    async with scene.running():
        span = scene.meter.begin("a")
        await scene.clock.advance(4.0)
        span.end()
        await scene.clock.advance(12.0)
    [report] = scene.roster.said
    assert (report.worker, report.host, report.pid, report.slots, report.window) == (ME, "host", 7, 10, WINDOW)
    assert report.providers == scene.standings
    assert (report.local_fault, report.leaving) == ("cut off", "")
    assert (report.layout, report.reads, report.shards) == (3, 6, {"2": ShardWork(held=1)})
    assert report.windows[0].work == {"a": ProviderWork(1.0, 4.0, 4.0, 16.0)}


async def test_a_window_that_could_not_be_written_is_in_the_next_report(scene: Scene) -> None:
    """An outage is logged once, and its end."""
    scene.roster.report_error = LedgerUnavailableError("the store is away")
    with structlog.testing.capture_logs() as logs:
        async with scene.running():
            scene.meter.begin("a").end()
            await scene.clock.advance(3 * WINDOW)
            assert scene.roster.said == []
            scene.roster.report_error = None
            await scene.clock.advance(WINDOW)
    [report] = scene.roster.said
    assert [sum(work.done for work in window.work.values()) for window in report.windows] == [1.0, 0.0, 0.0, 0.0]
    assert [(log["event"], log.get("reason")) for log in logs if log["event"] != "health"] == [
        ("not_reported", "the store is away"),
        ("reported_again", None),
    ]


async def test_a_look_that_fails_is_logged_once_and_tried_again(scene: Scene) -> None:
    scene.roster.look_error = LedgerUnavailableError("the store is away")
    with structlog.testing.capture_logs() as logs:
        async with scene.running():
            await scene.clock.advance(3 * WINDOW)
            assert scene.roster.looks == 3
            scene.roster.look_error = None
            await scene.clock.advance(WINDOW)
    assert len(scene.roster.said) == 4
    assert [log["event"] for log in logs] == ["fleet_unknown", "fleet_known_again"]


async def test_no_surprise_stops_the_reports_and_none_is_quoted(scene: Scene) -> None:
    """The text of a foreign error may hold an address."""
    scene.roster.report_error = RuntimeError("ann@example.org")
    scene.roster.look_error = RuntimeError("ann@example.org")
    with structlog.testing.capture_logs() as logs:
        async with scene.running():
            await scene.clock.advance(2 * WINDOW)
            scene.roster.report_error = scene.roster.look_error = None
            await scene.clock.advance(WINDOW)
    assert len(scene.roster.said) == 1
    assert {log.get("reason") for log in logs} == {None, "RuntimeError"}
    assert "ann@" not in str(logs)


async def test_a_slow_worker_leaves_once_and_says_so_from_then_on(scene: Scene) -> None:
    scene.roster.others = scene.fleet(mine=2.0)
    with structlog.testing.capture_logs() as logs:
        async with scene.running():
            await scene.clock.advance(3 * WINDOW)
    [why] = scene.left
    assert "4.0 times slower than its 3 peers at a" in why
    assert [report.leaving for report in scene.roster.said] == ["", why, why]
    assert [(log["event"], log["health"]) for log in logs] == [("health", "slow"), ("unfit", "slow")]


async def test_a_worker_as_good_as_the_others_stays(scene: Scene) -> None:
    """Its health is logged when it changes, not each time."""
    with structlog.testing.capture_logs() as logs:
        async with scene.running():
            for _ in range(3):
                scene.roster.others = scene.fleet(mine=0.5)
                await scene.clock.advance(WINDOW)
    assert scene.left == []
    assert [(log["event"], log["health"]) for log in logs] == [("health", "ok")]


async def test_when_all_are_slow_nobody_leaves_and_it_is_logged_once(scene: Scene) -> None:
    slow = scene.fleet(mine=2.0, theirs=2.0, peers=5)
    past = {"a": ProviderWork(6_000.0, 3_000.0, 3_000.0, 1_500.0)}
    scene.roster.others = [
        WorkerReport(r.worker, r.host, 1, "1.0", r.started, r.at, 10, WINDOW, r.windows, past) for r in slow
    ]
    with structlog.testing.capture_logs() as logs:
        async with scene.running():
            await scene.clock.advance(2 * WINDOW)
    assert scene.left == []
    assert [log["event"] for log in logs if log["event"] != "health"] == ["fleet_slow"]


@pytest.mark.parametrize(("size", "looks"), [(5, 8), (20, 8), (40, 4), (80, 2)])
async def test_a_large_fleet_looks_more_rarely(scene: Scene, size: int, looks: int) -> None:
    """Forty workers look half as often as twenty, so that both times it is as many reads per worker."""
    scene.roster.others = scene.fleet(mine=0.5, peers=size - 1)
    async with scene.running():
        for _ in range(8):
            await scene.clock.advance(WINDOW)
            await wait_until(lambda: scene.clock._sleepers, within=5.0, what="the end of the judgement, in a thread")
    assert len(scene.roster.said) == 8
    assert scene.roster.looks == looks


async def test_a_report_that_takes_long_is_not_followed_by_a_burst(scene: Scene) -> None:
    """Nor is what a stopped process missed made up for: the times stay even."""
    began = scene.clock.time()
    async with scene.running():
        scene.roster.takes = 4.2 * WINDOW
        await scene.clock.advance(1.0 * WINDOW)
        scene.roster.takes = 0.0
        await scene.clock.advance(6.0 * WINDOW)
    assert [report.at - began for report in scene.roster.said] == [15.0, 165.0, 195.0]
    assert [window.seconds for window in scene.roster.said[-1].windows] == [15.0, 150.0, 30.0]


async def test_the_last_report_says_why_the_worker_leaves(scene: Scene) -> None:
    async with scene.running():
        await scene.clock.advance(WINDOW)
        await scene.reporter.say_goodbye(STOPPED)
        await scene.clock.advance(WINDOW)
    assert [report.leaving for report in scene.roster.said] == ["", STOPPED, STOPPED]
    assert scene.roster.looks == 1, "who leaves judges nobody"


async def test_a_judgement_that_comes_too_late_changes_nothing(scene: Scene) -> None:
    """A worker that was told to stop while it looked is no departure for health."""
    scene.roster.others = scene.fleet(mine=2.0)
    scene.roster.look_takes = 1.0
    async with scene.running():
        await scene.clock.advance(15.5)
        await scene.reporter.say_goodbye(STOPPED)
        await scene.clock.advance(WINDOW)
    assert scene.left == []
    assert scene.roster.said[-1].leaving == STOPPED


async def test_the_last_report_takes_half_a_second_at_the_most(scene: Scene) -> None:
    """A store that does not answer holds no drain up."""
    scene.roster.takes = 100.0
    saying = asyncio.ensure_future(scene.reporter.say_goodbye(STOPPED))
    await scene.clock.advance(0.49)
    assert not saying.done()
    await scene.clock.advance(0.02)
    await saying
    assert scene.roster.said == []


async def test_the_last_report_arrives_last(scene: Scene) -> None:
    """One that is still under way is waited for, or it would undo what the last one says."""
    async with scene.running():
        scene.roster.takes = 0.4
        await scene.clock.advance(15.1)
        scene.roster.takes = 0.05
        saying = asyncio.ensure_future(scene.reporter.say_goodbye(STOPPED))
        await scene.clock.advance(0.45)
        await saying
    assert [report.leaving for report in scene.roster.said] == ["", STOPPED]
