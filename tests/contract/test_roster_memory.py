"""The memory roster keeps the roster's contract."""

import pytest

from postman.adapters.memory import MemoryRoster
from postman.adapters.memory.roster import open_roster
from postman.errors import ConfigError
from postman.ports.opening import Cluster
from postman.ports.roster import KEPT
from postman.testing.clock import FakeClock
from postman.testing.roster_suite import RosterSuite, plain_report


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def roster(clock: FakeClock) -> MemoryRoster:
    return MemoryRoster(clock)


class TestMemoryRoster(RosterSuite):
    """The contract."""


async def test_reports_are_forgotten_in_the_end(roster: MemoryRoster, clock: FakeClock) -> None:
    """The roster does not grow with the processes that ever were."""
    await roster.report(plain_report("old", clock.time()))
    await clock.sleep(KEPT - 1.0)
    await roster.report(plain_report("new", clock.time()))
    assert {report.worker for report in await roster.reports(0.0)} == {"old", "new"}
    await clock.sleep(2.0)
    await roster.report(plain_report("new", clock.time()))
    assert {report.worker for report in await roster.reports(0.0)} == {"new"}


def test_memory_has_no_place() -> None:
    """A path after `memory:` is a misunderstanding, and is told so."""
    assert isinstance(open_roster("", Cluster(FakeClock())), MemoryRoster)
    with pytest.raises(ConfigError, match="memory:"):
        open_roster("file.db", Cluster(FakeClock()))
