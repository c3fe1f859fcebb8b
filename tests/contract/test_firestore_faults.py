"""What the Firestore ledger makes of lost answers, contention, slowness and outages, and what it costs."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest

from postman.adapters.clock import SystemClock
from postman.adapters.firestore import Database, FirestoreLedger
from postman.core.ids import MailId, new_mail_id
from postman.core.protocol import Answer, Claim, Claimed, Doubtful, Entry, Held, State
from postman.errors import ClaimLostError, LedgerUnavailableError
from postman.ports.provider import Receipt
from postman.testing.emulators import Emulators
from postman.testing.grpc_proxy import ANY, GrpcProxy, StatusCode
from postman.testing.waiting import wait_until

RECEIPT = Receipt("alpha", "m-1")

UNCLEAR = pytest.mark.parametrize(
    "code", [StatusCode.UNAVAILABLE, StatusCode.ABORTED, StatusCode.DEADLINE_EXCEEDED, StatusCode.INTERNAL]
)
WHEN = pytest.mark.parametrize("after", [False, True], ids=["before", "after"])


@pytest.fixture
async def proxy(firestore: Emulators) -> AsyncIterator[GrpcProxy]:
    async with GrpcProxy(firestore.environment["FIRESTORE_EMULATOR_HOST"]) as running:
        yield running


@pytest.fixture
async def ledger(proxy: GrpcProxy, project: str, prefix: str) -> AsyncIterator[FirestoreLedger]:
    opened = _open(proxy.address, project, prefix)
    yield opened
    await opened.aclose()


@pytest.fixture
async def other(firestore: Emulators, project: str, prefix: str) -> AsyncIterator[FirestoreLedger]:
    """Another worker's ledger, which has no trouble."""
    opened = _open(firestore.environment["FIRESTORE_EMULATOR_HOST"], project, prefix)
    yield opened
    await opened.aclose()


@UNCLEAR
@WHEN
async def test_claim_survives_a_failed_write(
    ledger: FirestoreLedger, other: FirestoreLedger, proxy: GrpcProxy, code: StatusCode, *, after: bool
) -> None:
    """Whether the claim was made before the answer was lost or not, it is ours once, and nobody else's."""
    proxy.fail("BatchWrite", code=code, after=after, times=1)
    claim = await _take(ledger, new_mail_id())
    assert proxy.troubled["BatchWrite"] == 1
    assert isinstance(await _ask(other, claim.mail_id), Held)
    entry = await _entry(other, claim.mail_id)
    assert (entry.claim_id, entry.token, entry.attempts) == (claim.claim_id, 1, 1)
    assert [note.event for note in entry.history] == ["claimed"]


@UNCLEAR
@WHEN
async def test_sent_survives_a_failed_write(
    ledger: FirestoreLedger, proxy: GrpcProxy, code: StatusCode, *, after: bool
) -> None:
    """The acceptance is recorded once, whichever way the answer went missing."""
    claim = await _take(ledger, new_mail_id())
    proxy.fail("BatchWrite", code=code, after=after, times=1)
    await ledger.record_sent(claim, RECEIPT)
    entry = await _entry(ledger, claim.mail_id)
    assert (entry.state, entry.message_id) == (State.SENT, "m-1")
    assert [note.event for note in entry.history] == ["claimed", "sent"]


@UNCLEAR
@WHEN
async def test_claim_survives_a_failed_commit(
    ledger: FirestoreLedger, other: FirestoreLedger, proxy: GrpcProxy, code: StatusCode, *, after: bool
) -> None:
    """A transaction whose commit was answered with an error is run again, and recognises its own claim."""
    proxy.fail("BatchWrite", times=2)
    proxy.fail("Commit", code=code, after=after, times=1)
    claim = await _take(ledger, new_mail_id())
    assert proxy.troubled["Commit"] == 1
    assert (claim.token, claim.attempts) == (1, 1)
    assert isinstance(await _ask(other, claim.mail_id), Held)
    await ledger.record_sent(claim, RECEIPT)
    assert [note.event for note in (await _entry(other, claim.mail_id)).history] == ["claimed", "sent"]


@UNCLEAR
@WHEN
async def test_cleared_doubt_survives_failed_answers(
    ledger: FirestoreLedger, proxy: GrpcProxy, code: StatusCode, *, after: bool
) -> None:
    """Three lost answers in a row clear the doubt once."""
    claim = await _take(ledger, new_mail_id())
    await ledger.record_doubt(claim, reason="time-out")
    proxy.fail("BatchWrite", code=code, after=after, times=1)
    proxy.fail("Commit", code=code, after=after, times=2)
    await ledger.clear_doubt(claim.mail_id, token=claim.token, reason="not found")
    entry = await _entry(ledger, claim.mail_id)
    assert entry.state is State.FREE
    assert [note.event for note in entry.history] == ["claimed", "in doubt", "doubt cleared"]


async def test_lost_answer_to_a_group_costs_one_more_read(ledger: FirestoreLedger, proxy: GrpcProxy) -> None:
    """A hundred claims whose answer was lost recognise themselves together."""
    proxy.fail("BatchWrite", after=True, times=1)
    ids = [new_mail_id() for _ in range(100)]
    claims = await asyncio.gather(*(_take(ledger, mail_id) for mail_id in ids))
    assert {claim.token for claim in claims} == {1}
    assert proxy.calls == {"BatchWrite": 1, "BatchGetDocuments": 1}


async def test_hundred_mails_cost_two_writes_each_and_no_read(ledger: FirestoreLedger, proxy: GrpcProxy) -> None:
    """The common way of a mail: claimed and sent, in two requests for a hundred of them."""
    claims = await asyncio.gather(*(_take(ledger, new_mail_id()) for _ in range(100)))
    await asyncio.gather(*(ledger.record_sent(claim, RECEIPT) for claim in claims))
    assert proxy.calls == {"BatchWrite": 2}


async def test_failover_costs_one_write(ledger: FirestoreLedger, proxy: GrpcProxy) -> None:
    """A claim that moves on is still recorded without reading."""
    claim = await _take(ledger, new_mail_id())
    moved = await ledger.move(claim, "beta")
    await ledger.record_sent(moved, Receipt("beta", "m-2"))
    assert proxy.calls == {"BatchWrite": 3}


async def test_own_claim_is_given_back_with_one_write(ledger: FirestoreLedger, proxy: GrpcProxy) -> None:
    """So it is refused, or put in doubt."""
    first, second, third = [await _take(ledger, new_mail_id()) for _ in range(3)]
    await ledger.release(first, reason="none is free")
    await ledger.record_refused(second, reason="bad")
    await ledger.record_doubt(third, reason="time-out")
    assert proxy.calls == {"BatchWrite": 6}


async def test_claim_after_a_take_over_is_recorded_without_reading(ledger: FirestoreLedger, proxy: GrpcProxy) -> None:
    """A claim of an entry that was there already knows its version too."""
    claim = await _take(ledger, new_mail_id())
    await ledger.release(claim, reason="none is free")
    again = await _take(ledger, claim.mail_id)
    before = proxy.calls.copy()
    await ledger.record_sent(again, RECEIPT)
    assert proxy.calls - before == {"BatchWrite": 1}


async def test_race_is_decided_by_a_transaction(
    ledger: FirestoreLedger, other: FirestoreLedger, proxy: GrpcProxy
) -> None:
    """What another did between our read and our write is neither overwritten nor overlooked."""
    claim = await _take(ledger, new_mail_id())
    await ledger.record_doubt(claim, reason="time-out")
    proxy.delay("BatchWrite", 0.3, times=1)
    clearing = asyncio.create_task(ledger.clear_doubt(claim.mail_id, token=claim.token, reason="not found"))
    await wait_until(lambda: proxy.troubled["BatchWrite"], within=5.0)
    await other.settle(claim.mail_id, RECEIPT, evidence="event")
    with pytest.raises(ClaimLostError):
        await clearing
    await wait_until(lambda: proxy.calls["Rollback"], within=5.0, what="the end of the transaction")
    assert (await _entry(other, claim.mail_id)).state is State.SENT


async def test_contention_is_tried_again(ledger: FirestoreLedger, proxy: GrpcProxy) -> None:
    """A few aborted transactions are no failure."""
    proxy.fail("BatchWrite", times=2)
    proxy.fail("Commit", code=StatusCode.ABORTED, times=4)
    assert (await _take(ledger, new_mail_id())).token == 1
    assert proxy.calls["Commit"] == 5


async def test_endless_contention_ends(ledger: FirestoreLedger, proxy: GrpcProxy) -> None:
    """It is an error within ten seconds, and the claim can be asked for again."""
    mail_id = new_mail_id()
    proxy.fail("BatchWrite")
    proxy.fail("Commit", code=StatusCode.ABORTED)
    with _within(10.0), pytest.raises(LedgerUnavailableError, match="contention"):
        await _ask(ledger, mail_id, claim_id="one")
    proxy.heal()
    assert isinstance(await _ask(ledger, mail_id, claim_id="one"), Claimed)


async def test_transaction_of_a_cancelled_caller_is_ended(
    ledger: FirestoreLedger, other: FirestoreLedger, proxy: GrpcProxy
) -> None:
    """A worker that is stopped meanwhile keeps nobody from the mail."""
    claim = await _take(ledger, new_mail_id())
    await ledger.record_doubt(claim, reason="time-out")
    proxy.fail("BatchWrite", times=1)
    proxy.hang("Commit")
    clearing = asyncio.create_task(ledger.clear_doubt(claim.mail_id, token=claim.token, reason="not found"))
    await wait_until(lambda: proxy.troubled["Commit"], within=5.0)
    clearing.cancel()
    await wait_until(lambda: proxy.calls["Rollback"], within=5.0)
    with _within(2.0):
        await other.settle(claim.mail_id, RECEIPT, evidence="event")
    assert (await _entry(other, claim.mail_id)).state is State.SENT


async def test_closing_waits_for_a_claim_in_trouble(ledger: FirestoreLedger, proxy: GrpcProxy) -> None:
    """Also where it takes several calls."""
    proxy.delay("BatchWrite", 0.2, times=1)
    proxy.fail("BatchWrite", times=1)
    first, second = (asyncio.create_task(_take(ledger, MailId("one"))) for _ in range(2))
    await wait_until(lambda: proxy.troubled["BatchWrite"], within=5.0)
    await ledger.aclose()
    assert first.done()
    assert second.done()


async def test_hanging_write_is_given_up_and_recognised(ledger: FirestoreLedger, proxy: GrpcProxy) -> None:
    """A write whose answer never comes is looked for after its deadline."""
    proxy.hang("BatchWrite", after=True, times=1)
    with _within(6.0):
        claim = await _take(ledger, new_mail_id())
    assert claim.token == 1


async def test_hanging_server_is_an_error_within_six_seconds(ledger: FirestoreLedger, proxy: GrpcProxy) -> None:
    """Never a minute: a lease is shorter."""
    proxy.hang(ANY)
    with _within(6.0), pytest.raises(LedgerUnavailableError, match="in time"):
        await _ask(ledger, new_mail_id())


async def test_silent_host_is_an_error_within_six_seconds(project: str) -> None:
    """A host that takes the connection and says nothing is unreachable too."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ledger = _open(f"127.0.0.1:{silent.getsockname()[1]}", project, "silent")
        with _within(6.0), pytest.raises(LedgerUnavailableError):
            await _ask(ledger, new_mail_id())
        await ledger.aclose()


async def test_closed_port_is_an_error_at_once(project: str) -> None:
    """For a claim as for the check at the start; both name the database."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    ledger = _open(address, project, "closed")
    with _within(3.0), pytest.raises(LedgerUnavailableError, match=project):
        await _ask(ledger, new_mail_id())
    with _within(3.0), pytest.raises(LedgerUnavailableError, match=project):
        await ledger.check()
    await ledger.aclose()


async def test_slow_server_is_waited_for(ledger: FirestoreLedger, proxy: GrpcProxy) -> None:
    """A second for each call is slow, not an error, and makes no doubts."""
    proxy.delay(ANY, 1.0)
    claim = await _take(ledger, new_mail_id())
    await ledger.record_sent(claim, RECEIPT)
    assert proxy.calls == {"BatchWrite": 2}


async def test_ledger_recovers_with_its_server(ledger: FirestoreLedger, proxy: GrpcProxy) -> None:
    """After an outage the same ledger goes on, and a receipt that waited is recorded."""
    claim = await _take(ledger, new_mail_id())
    proxy.fail(ANY)
    for _ in range(3):
        with pytest.raises(LedgerUnavailableError):
            await ledger.record_sent(claim, RECEIPT)
    proxy.heal()
    await ledger.record_sent(claim, RECEIPT)
    assert (await _entry(ledger, claim.mail_id)).state is State.SENT


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (StatusCode.PERMISSION_DENIED, "roles/datastore.user"),
        (StatusCode.UNAUTHENTICATED, "credentials"),
        (StatusCode.RESOURCE_EXHAUSTED, "quota"),
        (StatusCode.NOT_FOUND, r"\(default\).* does not exist"),
        (StatusCode.FAILED_PRECONDITION, "native mode"),
    ],
)
async def test_refusal_says_what_is_wrong(
    ledger: FirestoreLedger, proxy: GrpcProxy, code: StatusCode, says: str
) -> None:
    """Whoever reads the error knows what to repair; nothing is asked twice that would not help."""
    proxy.fail(ANY, code=code)
    with pytest.raises(LedgerUnavailableError, match=says):
        await ledger.check()
    with _within(3.0), pytest.raises(LedgerUnavailableError, match=says):
        await _ask(ledger, new_mail_id())


async def test_one_of_two_take_overs_loses_gracefully(
    ledger: FirestoreLedger, other: FirestoreLedger, proxy: GrpcProxy
) -> None:
    """Two workers that find a lapsed lease raise its token once, also when one's write comes late."""
    claim = await _take(other, new_mail_id(), lease=0.5)
    await wait_until(lambda: _is_over(other, claim), within=5.0)
    proxy.delay("BatchWrite", 0.3)
    answers = await asyncio.gather(_ask(ledger, claim.mail_id), _ask(other, claim.mail_id))
    assert [type(answer) for answer in answers] == [Doubtful, Doubtful]
    assert (await _entry(other, claim.mail_id)).token == 2


def _open(address: str, project: str, prefix: str) -> FirestoreLedger:
    return FirestoreLedger(Database(project, emulator=address), collection=f"{prefix}-mails", clock=SystemClock())


async def _ask(ledger: FirestoreLedger, mail_id: MailId, *, claim_id: str | None = None, lease: float = 60.0) -> Answer:
    return await ledger.claim(mail_id, claim_id=claim_id or uuid4().hex, digest="digest", provider="alpha", lease=lease)


async def _take(ledger: FirestoreLedger, mail_id: MailId, *, lease: float = 60.0) -> Claim:
    answer = await _ask(ledger, mail_id, lease=lease)
    assert isinstance(answer, Claimed), answer
    return answer.claim


async def _entry(ledger: FirestoreLedger, mail_id: MailId) -> Entry:
    entry = await ledger.find(mail_id)
    assert entry is not None
    return entry


async def _is_over(ledger: FirestoreLedger, claim: Claim) -> bool:
    return (await _entry(ledger, claim.mail_id)).lease_ends < time.time() - 0.05


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds
