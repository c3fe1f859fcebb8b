"""The suppressions' contract over Firestore, on the emulator, and what only Firestore promises."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import structlog
from google.cloud.firestore_v1.types import Document, Write
from google.protobuf.timestamp_pb2 import Timestamp

from postman.adapters.clock import SystemClock
from postman.adapters.firestore import Database, FirestoreSuppressions, open_suppressions
from postman.adapters.firestore._calls import Calls
from postman.adapters.firestore._documents import seconds_of
from postman.adapters.firestore.suppressions import OVERLAP, _Position
from postman.errors import ConfigError, LedgerUnavailableError
from postman.ports.clock import Clock
from postman.ports.opening import Cluster
from postman.testing.emulators import Emulators
from postman.testing.grpc_proxy import GrpcProxy, StatusCode
from postman.testing.suppression_suite import SuppressionSuite, all_changes, suppression

DAY = 86_400.0

UNCLEAR = pytest.mark.parametrize(
    "code", [StatusCode.UNAVAILABLE, StatusCode.ABORTED, StatusCode.DEADLINE_EXCEEDED, StatusCode.INTERNAL]
)
WHEN = pytest.mark.parametrize("after", [False, True], ids=["before", "after"])


@pytest.fixture
def clock() -> Clock:
    return SystemClock()


@pytest.fixture
def database(firestore: Emulators, project: str) -> Database:
    return Database(project, emulator=firestore.environment["FIRESTORE_EMULATOR_HOST"])


@pytest.fixture
def collection(prefix: str) -> str:
    return f"{prefix}-suppressions"


@pytest.fixture
async def suppressions(clock: Clock, database: Database, collection: str) -> AsyncIterator[FirestoreSuppressions]:
    """A list with small pages."""
    opened = FirestoreSuppressions(database, collection=collection, clock=clock, page=5)
    yield opened
    await opened.aclose()


@pytest.fixture
async def proxy(database: Database) -> AsyncIterator[GrpcProxy]:
    async with GrpcProxy(database.emulator) as running:
        yield running


@pytest.fixture
async def troubled(
    clock: Clock, proxy: GrpcProxy, database: Database, collection: str
) -> AsyncIterator[FirestoreSuppressions]:
    """The same list, through the proxy."""
    opened = FirestoreSuppressions(replace(database, emulator=proxy.address), collection=collection, clock=clock)
    yield opened
    await opened.aclose()


@pytest.fixture
async def back_door(database: Database, collection: str) -> AsyncIterator["BackDoor"]:
    opened = BackDoor(database, f"{database.path}/documents/{collection}")
    yield opened
    await opened.calls.aclose()


class BackDoor:
    """Reads and writes documents as they are."""

    def __init__(self, database: Database, root: str) -> None:
        self.calls = Calls(database)
        self._root = root

    async def fields(self, key: str) -> Any:
        name = f"{self._root}/{key}"
        return (await self.calls.read([name]))[name].document.fields

    async def write(self, key: str, *, changed_at: float, **texts: str) -> None:
        """Write a document as if it had been changed at that time."""
        write = Write.pb()()
        write.update.name = f"{self._root}/{key}"
        write.update_mask.field_paths.extend(["changed_at", *texts])
        write.update.fields["changed_at"].timestamp_value.FromMicroseconds(int(changed_at * 1e6))
        for name, text in texts.items():
            write.update.fields[name].string_value = text
        await self.calls.batch_write([write])


class TestFirestoreSuppressions(SuppressionSuite):
    """The contract."""


async def test_a_suppression_is_one_small_document(
    suppressions: FirestoreSuppressions, back_door: BackDoor, clock: Clock
) -> None:
    """Under its key, with the server's time of its change, and the time to be deleted where it ends."""
    now = clock.time()
    ending, for_good = suppression(1, now, expires_at=now + 90 * DAY), suppression(2, now)
    await suppressions.put(ending)
    await suppressions.put(for_good)
    fields = await back_door.fields(ending.key)
    own = {"reason", "provider", "mail_id", "detail", "since", "is_lifted", "changed_at"}
    assert set(fields) == own | {"expires_at", "expire_at"}
    assert seconds_of(fields["changed_at"].timestamp_value) == pytest.approx(now, abs=2.0)
    assert seconds_of(fields["expire_at"].timestamp_value) == pytest.approx(now + 91 * DAY, abs=0.001)
    assert set(await back_door.fields(for_good.key)) == own


async def test_a_lifted_one_is_kept_for_a_week(
    suppressions: FirestoreSuppressions, back_door: BackDoor, clock: Clock
) -> None:
    """Longer than a provider repeats what it told before; put anew for good, it is no more to be deleted."""
    stood = suppression(1, clock.time())
    await suppressions.put(stood)
    await suppressions.lift(stood.key)
    expire_at = (await back_door.fields(stood.key))["expire_at"].timestamp_value
    assert seconds_of(expire_at) == pytest.approx(clock.time() + 7 * DAY, abs=5.0)
    await suppressions.put(suppression(1, clock.time() + 60.0))
    assert "expire_at" not in await back_door.fields(stood.key)


async def test_fields_of_a_newer_postman_stay(
    suppressions: FirestoreSuppressions, back_door: BackDoor, clock: Clock
) -> None:
    stood = suppression(1, clock.time(), expires_at=clock.time() + DAY)
    await suppressions.put(stood)
    await back_door.write(stood.key, changed_at=clock.time(), campaign="spring")
    await suppressions.put(replace(stood, expires_at=None))
    assert (await back_door.fields(stood.key))["campaign"].string_value == "spring"


async def test_a_change_that_was_committed_late_is_told(
    suppressions: FirestoreSuppressions, back_door: BackDoor, clock: Clock
) -> None:
    """It may bear a time before the last question; one from long before that was told already, and is not again."""
    await suppressions.put(suppression(0, clock.time()))
    _, cursor = await all_changes(suppressions)
    late, old = suppression(1, 0.0).key, suppression(2, 0.0).key
    await back_door.write(late, changed_at=clock.time() - OVERLAP + 5.0, reason="bounced")
    await back_door.write(old, changed_at=clock.time() - OVERLAP - 5.0, reason="bounced")
    told = (await all_changes(suppressions, cursor))[0]
    assert late in told
    assert old not in told


async def test_what_was_told_long_ago_costs_nothing_any_more(
    suppressions: FirestoreSuppressions, back_door: BackDoor, clock: Clock
) -> None:
    """However short a while before its end the last change came: the next pass goes by when this one asked."""
    for number in range(12):
        await back_door.write(suppression(number, 0.0).key, changed_at=clock.time() - OVERLAP - 5.0, reason="bounced")
    found, cursor = await all_changes(suppressions)
    assert len(found) == 12
    assert (await all_changes(suppressions, cursor))[0] == {}


def test_the_next_pass_goes_by_when_the_first_page_was_read() -> None:
    """However long the others took: what was committed late behind the page that was being read is told then."""
    first_read, last_read = Timestamp(seconds=1_000), Timestamp(seconds=5_000)
    document = Document.pb()(name=f"projects/p/databases/d/documents/c/{'a' * 64}")
    document.fields["changed_at"].timestamp_value.FromSeconds(900)
    middle = _Position.read(str(_Position.read("").after([document], first_read, is_last=False)))
    assert (middle.changed_at, middle.key) == (900 * 10**9, "a" * 64)
    end = _Position.read(str(middle.after([], last_read, is_last=True)))
    assert (end.begin, end.key) == ((1_000 - int(OVERLAP)) * 10**9, "")


async def test_changes_of_one_moment_are_told_on_several_pages(
    suppressions: FirestoreSuppressions, back_door: BackDoor, clock: Clock
) -> None:
    moment = clock.time() - 3_600.0
    for number in range(12):
        await back_door.write(suppression(number, 0.0).key, changed_at=moment, reason="bounced")
    assert len((await all_changes(suppressions))[0]) == 12


async def test_what_is_no_suppression_is_left_out(
    suppressions: FirestoreSuppressions, back_door: BackDoor, clock: Clock
) -> None:
    """A document that somebody made by hand hides no other, and is told once."""
    await suppressions.put(suppression(1, clock.time()))
    await back_door.write("ann@example.org", changed_at=clock.time(), reason="bounced")
    await back_door.write(suppression(2, 0.0).key, changed_at=clock.time(), reason="unheard of")
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            found, _ = await all_changes(suppressions)
            assert found.keys() == {suppression(1, 0.0).key, suppression(2, 0.0).key}
    assert [log["event"] for log in logs] == ["suppression_left_out"]
    assert "ann@example.org" not in str(logs)


@UNCLEAR
@WHEN
async def test_a_failed_write_is_made_again_and_recognises_itself(
    troubled: FirestoreSuppressions, proxy: GrpcProxy, clock: Clock, code: StatusCode, *, after: bool
) -> None:
    """Whether it was made before its answer was lost or not; who lifts is still told what stood there."""
    stood = suppression(1, clock.time())
    proxy.fail("BatchWrite", code=code, after=after, times=2)
    await troubled.put(stood)
    assert await troubled.find(stood.key) == stood
    proxy.fail("BatchWrite", code=code, after=after, times=1)
    assert await troubled.lift(stood.key) == stood
    assert proxy.troubled["BatchWrite"] in (2, 3)
    found = await troubled.find(stood.key)
    assert found is not None
    assert found.is_lifted


async def test_what_a_change_and_a_look_cost(troubled: FirestoreSuppressions, proxy: GrpcProxy, clock: Clock) -> None:
    stood = suppression(1, clock.time())
    await troubled.put(stood)
    assert proxy.calls == {"BatchGetDocuments": 1, "BatchWrite": 1}
    await troubled.put(stood)
    assert proxy.calls == {"BatchGetDocuments": 2, "BatchWrite": 1}
    await troubled.changes()
    assert proxy.calls == {"BatchGetDocuments": 2, "BatchWrite": 1, "RunQuery": 1}


@pytest.mark.parametrize("code", [StatusCode.PERMISSION_DENIED, StatusCode.RESOURCE_EXHAUSTED])
async def test_what_no_attempt_would_cure_is_tried_once(
    troubled: FirestoreSuppressions, proxy: GrpcProxy, clock: Clock, code: StatusCode
) -> None:
    proxy.fail("BatchWrite", code=code)
    with pytest.raises(LedgerUnavailableError, match="Firestore database"):
        await troubled.put(suppression(1, clock.time()))
    assert proxy.troubled["BatchWrite"] == 1


async def test_clusters_in_one_database_do_not_see_each_other(
    suppressions: FirestoreSuppressions, clock: Clock, firestore: Emulators, project: str, prefix: str
) -> None:
    other = open_suppressions("", Cluster(clock, project=project, prefix=f"{prefix}-other"))
    stood = suppression(1, clock.time())
    await suppressions.put(stood)
    assert (await all_changes(other))[0] == {}
    assert await other.lift(stood.key) is None
    await other.aclose()
    same = open_suppressions("", Cluster(clock, project=project, prefix=prefix))
    assert await same.find(stood.key) == stood
    await same.aclose()


async def test_an_unreachable_server_is_told_in_the_ports_words(clock: Clock) -> None:
    """Within seconds, whatever was asked."""
    nowhere = Database("nowhere", emulator="127.0.0.1:1")
    away = FirestoreSuppressions(nowhere, collection="test-suppressions", clock=clock)
    for call in (away.put(suppression(1, 0.0)), away.lift("0" * 64), away.find("0" * 64), away.changes()):
        with pytest.raises(LedgerUnavailableError, match="Firestore database"):
            await call
    await away.aclose()


def test_a_list_needs_what_its_ledger_needs(clock: Clock) -> None:
    with pytest.raises(ConfigError, match="POSTMAN_PROJECT"):
        open_suppressions("", Cluster(clock))
    with pytest.raises(ConfigError, match="no name of a Firestore database"):
        open_suppressions("No/Name", Cluster(clock, project="p"))
