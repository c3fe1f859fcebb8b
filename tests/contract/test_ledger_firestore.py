"""The Firestore ledger keeps the ledger's contract, on the emulator, and what only Firestore promises."""

import os
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.cloud.firestore_v1.types import Write

from postman.adapters.clock import SystemClock
from postman.adapters.firestore import Database, FirestoreLedger, open_ledger
from postman.adapters.firestore._calls import Calls
from postman.adapters.firestore._documents import document_id, seconds_of
from postman.core.ids import MailId, new_mail_id
from postman.core.protocol import Answer, Claimed, State
from postman.errors import LedgerUnavailableError
from postman.ports.clock import Clock
from postman.ports.opening import Cluster
from postman.ports.provider import Receipt
from postman.testing.emulators import Emulators
from postman.testing.ledger import LedgerSuite

RECEIPT = Receipt("alpha", "m-1")


@pytest.fixture
def clock() -> Clock:
    return SystemClock()


@pytest.fixture
async def ledger(clock: Clock, firestore: Emulators, project: str, prefix: str) -> AsyncIterator[FirestoreLedger]:
    opened = open_ledger("", Cluster(clock, project=project, prefix=prefix))
    yield opened
    await opened.aclose()


@pytest.fixture
async def store(firestore: Emulators, project: str, prefix: str) -> AsyncIterator["Store"]:
    opened = Store(project, prefix)
    yield opened
    await opened.aclose()


class TestFirestoreLedger(LedgerSuite):
    """The contract."""


class Store:
    """The back door: documents as they lie there."""

    def __init__(self, project: str, prefix: str) -> None:
        database = Database(project, emulator=os.environ["FIRESTORE_EMULATOR_HOST"])
        self._calls = Calls(database)
        self._root = f"{database.path}/documents/{prefix}-mails/"

    async def fields(self, mail_id: MailId) -> Any:
        name = self._root + document_id(mail_id)
        return (await self._calls.read([name]))[name].document.fields

    async def put(self, mail_id: MailId, field: str, text: str) -> None:
        write = Write.pb()()
        write.update.name = self._root + document_id(mail_id)
        write.update.fields[field].string_value = text
        write.update_mask.field_paths.append(field)
        await self._calls.batch_write([write])

    async def aclose(self) -> None:
        await self._calls.aclose()


async def test_fields_of_a_later_version_are_kept(ledger: FirestoreLedger, store: Store) -> None:
    """While two versions run side by side, the older one does not forget what the newer one wrote."""
    mail_id = new_mail_id()
    answer = await _claim(ledger, mail_id)
    assert isinstance(answer, Claimed)
    await store.put(mail_id, "later", "kept")
    await ledger.release(answer.claim, reason="none is free")
    again = await _claim(ledger, mail_id, "c2")
    assert isinstance(again, Claimed)
    await ledger.record_sent(again.claim, RECEIPT)
    assert (await store.fields(mail_id))["later"].string_value == "kept"


async def test_state_of_a_later_version_is_left_alone(ledger: FirestoreLedger, store: Store) -> None:
    """What this version cannot understand it neither sends nor overwrites."""
    mail_id = new_mail_id()
    await _claim(ledger, mail_id)
    await store.put(mail_id, "state", "paused")
    with pytest.raises(LedgerUnavailableError, match="paused"):
        await _claim(ledger, mail_id)
    with pytest.raises(LedgerUnavailableError, match="paused"):
        await ledger.settle(mail_id, RECEIPT, evidence="event")
    assert (await store.fields(mail_id))["state"].string_value == "paused"


async def test_changes_postpone_the_deletion(ledger: FirestoreLedger, store: Store) -> None:
    """Each write moves `expire_at` to ninety days from now, for the TTL policy."""
    mail_id = new_mail_id()
    answer = await _claim(ledger, mail_id)
    assert isinstance(answer, Claimed)
    first = seconds_of((await store.fields(mail_id))["expire_at"].timestamp_value)
    await ledger.record_doubt(answer.claim, reason="time-out")
    second = seconds_of((await store.fields(mail_id))["expire_at"].timestamp_value)
    await ledger.settle(mail_id, RECEIPT, evidence="event")
    third = seconds_of((await store.fields(mail_id))["expire_at"].timestamp_value)
    assert first < second < third
    assert third == pytest.approx(time.time() + 90 * 86_400, abs=60)


async def test_lease_follows_the_server_not_the_worker(firestore: Emulators, project: str, prefix: str) -> None:
    """A worker whose clock is an hour ahead neither takes over early nor claims for longer."""
    ahead = open_ledger("", Cluster(_Ahead(), project=project, prefix=prefix))
    answer = await _claim(ahead, MailId("one"))
    entry = await ahead.find(MailId("one"))
    assert isinstance(answer, Claimed)
    assert entry is not None
    assert entry.since == pytest.approx(time.time(), abs=30)
    assert entry.lease_ends - entry.since == pytest.approx(60.0)
    await ahead.record_sent(answer.claim, RECEIPT)
    settled = await ahead.find(MailId("one"))
    assert settled is not None
    assert settled.state is State.SENT
    assert settled.since == pytest.approx(time.time(), abs=30)
    await ahead.aclose()


async def test_closed_ledger_refuses_further_calls(ledger: FirestoreLedger) -> None:
    """A call after closing is an error, not a new connection."""
    await ledger.aclose()
    with pytest.raises(LedgerUnavailableError, match="closed"):
        await ledger.find(new_mail_id())


class _Ahead(SystemClock):
    def time(self) -> float:
        return super().time() + 3_600.0


async def _claim(ledger: FirestoreLedger, mail_id: MailId, claim_id: str = "c") -> Answer:
    return await ledger.claim(mail_id, claim_id=claim_id, digest="d", provider="alpha", lease=60.0)
