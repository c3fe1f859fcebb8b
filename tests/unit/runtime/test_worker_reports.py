"""What a worker reports of its work, and how it leaves when it is unfit."""

import asyncio
from random import Random

import pytest

from postman.adapters.memory import MemoryRoster
from postman.core.fleet.past import summed
from postman.core.fleet.reports import STOPPED, ProviderWork, WorkerReport
from postman.core.protocol import State
from postman.errors import LedgerUnavailableError, ProviderDownError
from postman.runtime.reporter import Identity, Reporting
from postman.testing.provider import Answer
from postman.testing.waiting import wait_until
from tests.unit.runtime.worker_scene import Scene as WorkerScene
from tests.unit.runtime.worker_scene import mails

NEVER = 300.0


class Scene(WorkerScene):
    """A cluster whose workers report, every *window* seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.roster = MemoryRoster(self.clock)

    def reporting(self, window: float = NEVER, *, name: str = "w-1") -> Reporting:
        identity = Identity(name, "host", 1, "1.0", self.clock.time(), 10)
        return Reporting(self.roster, identity, window, Random(1))

    async def report(self) -> WorkerReport:
        [report] = await self.roster.reports(0.0)
        return report


@pytest.fixture
async def scene() -> Scene:
    scene = Scene()
    await scene.shards.ensure()
    return scene


def _total(report: WorkerReport, provider: str) -> ProviderWork:
    works = [window.work.get(provider, ProviderWork()) for window in report.windows]
    return sum(works, ProviderWork())


async def test_every_mail_is_counted_with_the_time_it_took(scene: Scene) -> None:
    scene.a.always(Answer(delay=0.05))
    await scene.publish(mails(30))
    async with scene.working(reporting=scene.reporting()) as worker:
        await wait_until(lambda: worker.tally.verdicts.get("Ack") == 30, within=10.0)
    report = await scene.report()
    work = _total(report, "a")
    assert work.done == 30
    assert work.took == pytest.approx(work.outstanding, rel=1e-6)
    assert 30 * 0.05 <= work.took < 30 * 0.5
    assert (report.leaving, report.slots) == (STOPPED, 10)
    assert report.providers["a"].breaker == "closed"


async def test_a_mail_that_failed_over_is_done_at_the_second_provider(scene: Scene) -> None:
    scene.a.then(ProviderDownError("down", provider="a"))
    await scene.publish(mails(1))
    async with scene.working(reporting=scene.reporting()) as worker:
        await wait_until(lambda: worker.tally.verdicts.get("Ack") == 1, within=5.0)
    report = await scene.report()
    assert (_total(report, "a").done, _total(report, "b").done) == (0.0, 1.0)
    assert _total(report, "a").outstanding > 0


async def test_the_last_hour_is_told_with_the_mails_that_ended_last(scene: Scene) -> None:
    """From the worker's first minute on; what the router saw is in it, and what the ledger prevented."""
    scene.a.then(ProviderDownError("down", provider="a"))
    [one] = mails(1)
    await scene.publish([one])
    async with scene.working(reporting=scene.reporting()) as worker:
        await wait_until(lambda: worker.tally.verdicts.get("Ack") == 1, within=5.0)
        await scene.publish([one])
        await wait_until(lambda: worker.tally.verdicts.get("Ack") == 2, within=5.0)
    report = await scene.report()
    total = summed(report.past, begins=0)
    assert report.past[-1].begins == int(report.at // 60)
    assert (total.providers["a"].failed, total.providers["b"].accepted, total.moved, total.prevented) == (1, 1, 1, 1)
    assert total.latency.count == 1
    assert [(each.mail_id, each.outcome, each.provider) for each in report.latest] == [
        (one.id, "sent", "b"),
        (one.id, "settled", ""),
    ]


async def test_a_mail_that_was_sent_already_is_no_work(scene: Scene) -> None:
    """Or a worker that is given many copies would look quick."""
    [mail] = mails(1)
    await scene.publish([mail])
    async with scene.working():
        await wait_until(lambda: scene.a.accepted, within=5.0)
    await scene.publish([mail, mail])
    async with scene.working(reporting=scene.reporting()) as worker:
        await wait_until(lambda: worker.tally.verdicts.get("Ack") == 2, within=5.0)
    assert _total(await scene.report(), "a") == ProviderWork()


async def test_full_hands_show(scene: Scene) -> None:
    scene.a.always(Answer(delay=0.1))
    await scene.publish(mails(12))
    async with scene.working(concurrency=2, reporting=scene.reporting()) as worker:
        await wait_until(lambda: worker.tally.verdicts.get("Ack") == 12, within=10.0)
    full_for = sum(window.full_for for window in (await scene.report()).windows)
    assert full_for >= 0.5


async def test_an_idle_worker_is_neither_full_nor_paused(scene: Scene) -> None:
    async with scene.working(reporting=scene.reporting()):
        await scene.publish(mails(1))
        await wait_until(lambda: scene.a.accepted, within=5.0)
    report = await scene.report()
    assert [(window.full_for, window.paused_for) for window in report.windows] == [(0.0, 0.0)]


async def test_a_pause_shows(scene: Scene) -> None:
    """While no ledger can be used a worker takes no mails, and is not to be called idle for it."""
    await scene.publish(mails(3))
    async with scene.working(reporting=scene.reporting()):
        await wait_until(lambda: len(scene.a.accepted) == 3, within=5.0)
        scene.ledger.is_away = True
        await scene.publish(mails(3))
        began = scene.clock.now()
        await wait_until(lambda: scene.clock.now() > began + 1.0, within=2.0)
        scene.ledger.is_away = False
    paused_for = sum(window.paused_for for window in (await scene.report()).windows)
    assert paused_for >= 0.25


async def test_an_unfit_worker_drains_and_says_why(scene: Scene) -> None:
    """What is in flight is finished, what was not begun is given back, and the next one sees that it leaves."""
    scene.a.always(Answer(delay=0.3))
    some = mails(25)
    await scene.publish(some)
    worker = scene.worker(concurrency=5, reporting=scene.reporting())
    running = asyncio.ensure_future(worker.run())
    await wait_until(lambda: len(scene.a.attempts) >= 5, within=5.0)
    worker.leave("3 times slower than its peers")
    await asyncio.wait_for(running, 3.0)
    assert worker.unfit == "3 times slower than its peers"
    assert (await scene.report()).leaving == "3 times slower than its peers"
    begun = len(scene.a.accepted)
    assert 5 <= begun < 25
    assert len(await scene.left()) == 25 - begun
    assert await scene.states(some) == {State.SENT, "absent"}


async def test_a_worker_that_hangs_leaves_within_its_grace(scene: Scene) -> None:
    """Mails that never end do not keep an unfit worker."""
    scene.a.always(Answer(delay=0.9))
    await scene.publish(mails(5))
    worker = scene.worker(grace=0.4, reporting=scene.reporting())
    running = asyncio.ensure_future(worker.run())
    await wait_until(lambda: scene.a.attempts, within=5.0)
    began = scene.clock.now()
    worker.leave("finished nothing for 60 s")
    await asyncio.wait_for(running, 3.0)
    assert scene.clock.now() - began < 0.8


async def test_a_signal_during_an_unfit_workers_drain_does_not_break_it_off(scene: Scene) -> None:
    """It is the platform's first word; only the second breaks off."""
    scene.a.always(Answer(delay=0.5))
    some = mails(3)
    await scene.publish(some)
    worker = scene.worker(grace=4.0, reporting=scene.reporting())
    running = asyncio.ensure_future(worker.run())
    await wait_until(lambda: len(scene.a.attempts) == 3, within=5.0)
    worker.leave("slow")
    worker.stop()
    await asyncio.wait_for(running, 5.0)
    assert await scene.states(some) == {State.SENT}
    assert worker.unfit == "slow"


async def test_a_worker_that_was_told_to_stop_is_not_unfit(scene: Scene) -> None:
    worker = scene.worker(reporting=scene.reporting())
    running = asyncio.ensure_future(worker.run())
    worker.stop()
    worker.leave("slow")
    await asyncio.wait_for(running, 5.0)
    assert worker.unfit == ""


async def test_a_roster_that_is_away_changes_nothing_for_the_mails(scene: Scene) -> None:
    class Away(MemoryRoster):
        async def report(self, report: WorkerReport) -> None:
            raise LedgerUnavailableError("away")

    scene.roster = Away(scene.clock)
    await scene.publish(mails(20))
    async with scene.working(reporting=scene.reporting(0.05)):
        await wait_until(lambda: len(scene.a.accepted) == 20, within=5.0)
    assert list(await scene.roster.reports(0.0)) == []


async def test_workers_see_each_other(scene: Scene) -> None:
    """Two that share a roster are both in it, each under its own name."""
    async with (
        scene.working(reporting=scene.reporting(0.1, name="w-1")),
        scene.working(reporting=scene.reporting(0.1, name="w-2")),
    ):
        await wait_until(lambda: len(scene.roster._records) == 2, within=5.0)
    assert {report.worker for report in await scene.roster.reports(0.0)} == {"w-1", "w-2"}
