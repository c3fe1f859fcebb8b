"""A transaction whose read was answered in vain is ended: its lock keeps nobody from the mail."""

import time
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import uuid4

import pytest

from postman.adapters.clock import SystemClock
from postman.adapters.firestore import Database, FirestoreLedger
from postman.core.ids import new_mail_id
from postman.core.protocol import Claimed, State
from postman.errors import LedgerUnavailableError
from postman.ports.provider import Receipt
from postman.testing.emulators import Emulators
from postman.testing.grpc_proxy import GrpcProxy, StatusCode
from postman.testing.waiting import wait_until

HELD_BACK = 20.0
"""Seconds; the server itself ends an idle transaction only after a minute."""


@pytest.fixture
async def proxy(firestore: Emulators) -> AsyncIterator[GrpcProxy]:
    async with GrpcProxy(firestore.environment["FIRESTORE_EMULATOR_HOST"]) as running:
        yield running


@pytest.mark.parametrize("code", [StatusCode.UNAVAILABLE, StatusCode.INTERNAL, StatusCode.DEADLINE_EXCEEDED])
async def test_a_lost_answer_to_a_locked_read_keeps_no_other_worker_away(
    firestore: Emulators, proxy: GrpcProxy, project: str, prefix: str, code: StatusCode
) -> None:
    other, ledger = (
        FirestoreLedger(Database(project, emulator=host), collection=f"{prefix}-mails", clock=SystemClock())
        for host in (firestore.environment["FIRESTORE_EMULATOR_HOST"], proxy.address)
    )
    await wait_until(lambda: _answers(other), within=60.0, every=0.2, what="an answer of a busy machine's emulator")
    mail_id = new_mail_id()
    answer = await other.claim(mail_id, claim_id=uuid4().hex, digest="d", provider="alpha", lease=60.0)
    assert isinstance(answer, Claimed)
    await other.record_doubt(answer.claim, reason="time-out")
    proxy.fail("BatchWrite", times=2)
    proxy.delay("BatchGetDocuments", 0.01, times=1)  # that read locks nothing
    proxy.fail("BatchGetDocuments", code=code, after=True, times=1)
    began = time.monotonic()
    with suppress(LedgerUnavailableError):  # whether it succeeds is another test's matter
        await ledger.clear_doubt(mail_id, token=answer.claim.token, reason="not found")
    await other.settle(mail_id, Receipt("alpha", "m-1"), evidence="event")
    entry = await other.find(mail_id)
    for each in (ledger, other):
        await each.aclose()

    assert proxy.lost["BatchGetDocuments"] == 1
    assert proxy.calls["BeginTransaction"] > 0
    assert entry is not None
    assert entry.state is State.SENT
    assert time.monotonic() - began < HELD_BACK


async def _answers(ledger: FirestoreLedger) -> bool:
    with suppress(LedgerUnavailableError):
        await ledger.find(new_mail_id())
        return True
    return False
