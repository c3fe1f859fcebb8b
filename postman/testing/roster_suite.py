"""The contract of the port `Roster`, as tests.

Subclass `RosterSuite` and give it two fixtures: *roster*, empty and ready for
use, and *clock*, whose `time()` the reports are dated by.
"""

import asyncio
from dataclasses import replace

from postman.core.fleet.past import BOUNDS, MOST_MINUTES, Finished, Latency, Minute, ProviderMinute
from postman.core.fleet.reports import ProviderStanding, ProviderWork, ShardWork, WorkerReport, WorkWindow
from postman.ports.clock import Clock
from postman.ports.roster import Roster

__all__ = ["RosterSuite", "full_past", "full_report", "plain_report"]


def plain_report(worker: str, at: float) -> WorkerReport:
    """Return the first report of a worker."""
    return WorkerReport(worker, "host-1", 4711, "1.0", started=at - 60.0, at=at, slots=50, window=30.0)


def full_report(worker: str, at: float) -> WorkerReport:
    """Return a report in which nothing is empty, as large as they get, with text of all kinds."""
    work = {name: ProviderWork(101.0, 1234.5678, 1200.25, 14_000.125) for name in ("alpha", "bêta", "д/é")}
    windows = tuple(WorkWindow(at - 30.0 * age, 30.0, work, 1.5, 29.0, 0.25) for age in reversed(range(10)))
    return replace(
        plain_report(worker, at),
        host="höst/1",
        windows=windows,
        baseline=work,
        providers={"alpha": ProviderStanding("open", 12.5, 3, 40, is_home=True, problem="503 \N{SNOWMAN} 'down'")},
        layout=3,
        reads=12,
        shards={"0": ShardWork(7, at - 1.25, at - 2.5), "11": ShardWork(problem="kein Zugriff: süd")},
        local_fault="no provider could be reached",
        leaving="3.1 times slower than its 7 peers",
        past=full_past(int(at // 60)),
        latest=(Finished("m-1", "sent", "bêta", at - 1.25, 0.5, 7), Finished("", "malformed", "", at, 12.0, 0)),
    )


def full_past(last: int) -> tuple[Minute, ...]:
    """Return an hour before the minute *last* in which every count of every minute differs from its neighbours."""
    begins = last - MOST_MINUTES + 1
    return tuple(
        Minute(
            begins + index,
            {name: ProviderMinute(index + 7, index % 3, "open") for name in ("alpha", "bêta", "д/é")},
            refused=index % 4,
            in_doubt=index % 5,
            moved=index,
            prevented=index % 7,
            dead=index + 1,
            latency=Latency(index * 1.25, tuple(index + bucket for bucket in range(len(BOUNDS) + 1))),
        )
        for index in range(MOST_MINUTES)
    )


class RosterSuite:
    """See the module."""

    async def test_an_empty_roster_names_nobody(self, roster: Roster) -> None:
        """That no worker ever reported is no error."""
        assert list(await roster.reports(0.0)) == []

    async def test_a_report_is_read_as_it_was_written(self, roster: Roster, clock: Clock) -> None:
        """Every field arrives, in any script, to the last digit."""
        report = full_report("w-1", clock.time())
        await roster.report(report)
        assert list(await roster.reports(report.at - 1.0)) == [report]

    async def test_a_report_replaces_the_workers_former_one(self, roster: Roster, clock: Clock) -> None:
        """Of each worker the latest counts, and no field of an older one shines through."""
        first = full_report("w-1", clock.time())
        second = plain_report("w-1", first.at + 30.0)
        await roster.report(first)
        await roster.report(second)
        assert list(await roster.reports(0.0)) == [second]

    async def test_the_same_report_may_be_written_again(self, roster: Roster, clock: Clock) -> None:
        """As after an answer that was lost."""
        report = plain_report("w-1", clock.time())
        await roster.report(report)
        await roster.report(report)
        assert list(await roster.reports(0.0)) == [report]

    async def test_only_who_said_something_lately_is_named(self, roster: Roster, clock: Clock) -> None:
        """A report of exactly that moment is among them."""
        now = clock.time()
        for worker, age in (("old", 120.0), ("edge", 60.0), ("new", 0.0)):
            await roster.report(plain_report(worker, now - age))
        found = await roster.reports(now - 60.0)
        assert {report.worker for report in found} == {"edge", "new"}
        assert list(await roster.reports(now + 1.0)) == []

    async def test_a_fleet_reports_at_once(self, roster: Roster, clock: Clock) -> None:
        """Workers do not get into each other's way, however many they are."""
        reports = [full_report(f"w-{number}", clock.time()) for number in range(60)]
        await asyncio.gather(*(roster.report(report) for report in reports))
        found = sorted(await roster.reports(0.0), key=lambda report: report.worker)
        assert found == sorted(reports, key=lambda report: report.worker)

    async def test_making_is_idempotent(self, roster: Roster, clock: Clock) -> None:
        """What is there already is left alone."""
        report = plain_report("w-1", clock.time())
        await roster.ensure()
        await roster.report(report)
        await roster.ensure()
        assert list(await roster.reports(0.0)) == [report]

    async def test_closing_twice_is_fine(self, roster: Roster, clock: Clock) -> None:
        """A roster is closed once for all who share it."""
        await roster.report(plain_report("w-1", clock.time()))
        await roster.aclose()
        await roster.aclose()
