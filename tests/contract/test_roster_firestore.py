"""The Firestore roster keeps the roster's contract, on the emulator, and what only Firestore promises."""

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from postman.adapters.clock import SystemClock
from postman.adapters.firestore import Database, FirestoreRoster, open_roster
from postman.adapters.firestore._calls import Calls
from postman.adapters.firestore._documents import seconds_of
from postman.errors import ConfigError, LedgerUnavailableError
from postman.ports.clock import Clock
from postman.ports.opening import Cluster
from postman.ports.roster import KEPT
from postman.testing.emulators import Emulators
from postman.testing.roster_suite import RosterSuite, full_report, plain_report


@pytest.fixture
def clock() -> Clock:
    return SystemClock()


@pytest.fixture
async def roster(clock: Clock, firestore: Emulators, project: str, prefix: str) -> AsyncIterator[FirestoreRoster]:
    opened = open_roster("", Cluster(clock, project=project, prefix=prefix))
    yield opened
    await opened.aclose()


class TestFirestoreRoster(RosterSuite):
    """The contract."""


async def test_a_report_is_one_small_document(roster: FirestoreRoster, clock: Clock, project: str, prefix: str) -> None:
    """Under the worker's id, with the time to ask for and the time to be deleted beside the whole."""
    report = full_report("w-1", clock.time())
    await roster.report(report)
    fields = await _fields(project, f"{prefix}-workers/w-1")
    assert set(fields) == {"at", "expire_at", "report"}
    assert fields["at"].double_value == report.at
    assert seconds_of(fields["expire_at"].timestamp_value) == pytest.approx(report.at + KEPT, abs=0.001)
    assert len(fields["report"].string_value) < 10_000


async def test_a_damaged_document_is_left_out(roster: FirestoreRoster, clock: Clock, project: str, prefix: str) -> None:
    """One worker's nonsense hides nobody else."""
    await roster.report(plain_report("good", clock.time()))
    await roster.report(plain_report("odd", clock.time()))
    await _damage(project, f"{prefix}-workers/odd", at=clock.time())
    with structlog.testing.capture_logs() as logs:
        assert [report.worker for report in await roster.reports(0.0)] == ["good"]
    assert [(log["event"], log["worker"]) for log in logs] == [("report_left_out", "odd")]


async def test_clusters_in_one_database_do_not_see_each_other(
    roster: FirestoreRoster, clock: Clock, project: str, prefix: str
) -> None:
    other = open_roster("", Cluster(clock, project=project, prefix=f"{prefix}-other"))
    await roster.report(plain_report("w-1", clock.time()))
    assert list(await other.reports(0.0)) == []
    await other.aclose()


async def test_an_unreachable_server_is_told_in_the_ports_words(clock: Clock) -> None:
    """Within seconds, for a report as for a look."""
    away = FirestoreRoster(Database("nowhere", emulator="127.0.0.1:1"), collection="test-workers")
    with pytest.raises(LedgerUnavailableError, match="Firestore database"):
        await away.report(plain_report("w-1", clock.time()))
    with pytest.raises(LedgerUnavailableError, match="Firestore database"):
        await away.reports(0.0)
    await away.aclose()


def test_a_roster_needs_what_its_ledger_needs(clock: Clock) -> None:
    with pytest.raises(ConfigError, match="POSTMAN_PROJECT"):
        open_roster("", Cluster(clock))
    with pytest.raises(ConfigError, match="no name of a Firestore database"):
        open_roster("No/Name", Cluster(clock, project="p"))


async def _fields(project: str, path: str) -> Any:
    database = Database(project, emulator=os.environ["FIRESTORE_EMULATOR_HOST"])
    calls, name = Calls(database), f"{database.path}/documents/{path}"
    found = await calls.read([name])
    await calls.aclose()
    return found[name].document.fields


async def _damage(project: str, path: str, *, at: float) -> None:
    """Write by the back door what is no report."""
    from google.cloud.firestore_v1.types import Write

    database = Database(project, emulator=os.environ["FIRESTORE_EMULATOR_HOST"])
    calls, write = Calls(database), Write.pb()()
    write.update.name = f"{database.path}/documents/{path}"
    write.update.fields["at"].double_value = at
    await calls.batch_write([write])
    await calls.aclose()
