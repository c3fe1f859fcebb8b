"""The records of a Firestore ledger keep their contract, on the emulator."""

from collections.abc import AsyncIterator

import pytest
import structlog
from google.cloud.firestore_v1.types import Write

from postman.adapters.clock import SystemClock
from postman.adapters.firestore import FirestoreLedger, FirestoreRecords, open_ledger, open_records
from postman.core.ids import MailId
from postman.core.shelf import Shelf
from postman.errors import LedgerUnavailableError
from postman.ports.opening import Cluster
from postman.ports.provider import Receipt
from postman.testing.emulators import Emulators
from postman.testing.grpc_proxy import ANY, GrpcProxy
from postman.testing.records_suite import RecordsSuite, claimed


@pytest.fixture
def cluster(firestore: Emulators, project: str, prefix: str) -> Cluster:
    return Cluster(SystemClock(), project=project, prefix=prefix)


@pytest.fixture
async def ledger(cluster: Cluster) -> AsyncIterator[FirestoreLedger]:
    opened = open_ledger("", cluster)
    yield opened
    await opened.aclose()


@pytest.fixture
async def records(cluster: Cluster) -> AsyncIterator[FirestoreRecords]:
    opened = open_records("", cluster)
    yield opened
    await opened.aclose()


class TestFirestoreRecords(RecordsSuite):
    """The contract."""


async def test_the_good_path_never_touches_the_shelf(
    ledger: FirestoreLedger, records: FirestoreRecords, cluster: Cluster
) -> None:
    """A mail that is sent without trouble has no such field, so that the index has no entry of it."""
    await ledger.record_sent(await claimed(ledger, "m", recipients=["aa"]), Receipt("alpha", "a-1"))
    await ledger.record_doubt(await claimed(ledger, "doubtful"), reason="no answer")
    document = (await ledger._reads.add(ledger._name(MailId("m")))).document
    doubtful = (await ledger._reads.add(ledger._name(MailId("doubtful")))).document
    assert "shelf" not in document.fields
    assert "dropped" not in document.fields
    assert doubtful.fields["shelf"].string_value == "in_doubt"
    await ledger.settle(MailId("doubtful"), Receipt("alpha", "a-2"), evidence="look-up")
    settled = (await ledger._reads.add(ledger._name(MailId("doubtful")))).document
    assert "shelf" not in settled.fields


@pytest.mark.parametrize("state", ["flying", ""])
async def test_what_is_a_newer_postmans_or_damaged_is_left_out_and_told_once(
    ledger: FirestoreLedger, records: FirestoreRecords, state: str
) -> None:
    for mail_id in ("good", "odd"):
        await ledger.refuse(MailId(mail_id), digest="d", reason="expired")
    write = Write.pb()()
    write.update.name = records._name("odd")
    write.update.fields["state"].string_value = state
    write.update_mask.field_paths.append("state")
    await records._calls.batch_write([write])
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            assert [each.mail_id for each in (await records.page(Shelf.EXPIRED)).records] == ["good"]
    assert [(log["event"], log["mail_id"]) for log in logs] == [("record_left_out", "odd")]


async def test_a_store_that_is_away_is_told(
    cluster: Cluster, firestore: Emulators, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with GrpcProxy(firestore.environment["FIRESTORE_EMULATOR_HOST"]) as proxy:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", proxy.address)
        records = open_records("", cluster)
        proxy.fail(ANY)
        with pytest.raises(LedgerUnavailableError):
            await records.counts()
        with pytest.raises(LedgerUnavailableError):
            await records.page(Shelf.REFUSED)
        await records.aclose()
