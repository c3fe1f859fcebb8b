"""One delivery, at every outcome: what the ledger says, and what becomes of the delivery."""

import asyncio
from typing import Any

import pytest

from postman import Mail, OnDoubt
from postman.breaker import State as BreakerState
from postman.core.ids import MailId
from postman.core.message import Message
from postman.core.protocol import Entry, State
from postman.core.verdict import Ack, DeadLetter, DeadReason, GiveBack
from postman.errors import (
    LedgerUnavailableError,
    MailRejectedError,
    ProviderError,
)
from postman.ports.provider import Receipt
from postman.testing.clock import FakeClock
from postman.testing.provider import Answer, FakeProvider
from postman.testing.waiting import wait_until
from tests.unit.runtime.courier_scene import LIMITS, LOOK_UP_AFTER, WINDOW, FlakyLedger, Scene, at, down, mail, unknown


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_an_accepted_mail_is_recorded_as_sent_and_acked(scene: Scene) -> None:
    one = mail()

    assert await scene.deliver(one) == Ack()
    entry = await scene.entry(one)
    assert (entry.state, entry.provider, entry.message_id) == (State.SENT, "a", "a-1")


async def test_a_mail_recorded_as_sent_is_never_sent_again(scene: Scene) -> None:
    one = mail()
    for _ in range(3):
        assert await scene.deliver(one) == Ack()

    assert len(scene.a.accepted) == 1


async def test_the_ledger_names_the_provider_before_the_request_leaves(scene: Scene) -> None:
    one = mail()
    scene.a.always(down())
    seen: list[Entry] = []

    class Watching(FakeProvider):
        async def send(self, mail: Mail, *, timeout: float | None = None) -> Receipt:
            seen.append(await scene.entry(mail))
            return await super().send(mail, timeout=timeout)

    scene.failover._routes[1].provider = Watching("b", clock=scene.clock)
    await scene.deliver(one)

    assert [(entry.state, entry.provider) for entry in seen] == [(State.SENDING, "b")]


async def test_a_refused_mail_is_dead_lettered_and_harms_nothing_else(scene: Scene) -> None:
    scene.a.always(MailRejectedError("bad recipient", provider="a", status=400))
    for _ in range(10):
        one = mail()
        verdict = await scene.deliver(one)
        assert isinstance(verdict, DeadLetter)
        assert verdict.reason is DeadReason.REFUSED
        assert (await scene.entry(one)).state is State.REFUSED

    assert scene.breakers["a"].state is BreakerState.CLOSED
    assert not scene.b.attempts


async def test_a_refused_mail_that_comes_again_before_its_dead_letter_is_durable_is_dead_lettered_again(
    scene: Scene,
) -> None:
    one = mail()
    scene.a.then(MailRejectedError("bad recipient", provider="a"))
    first = await scene.deliver(one)

    assert isinstance(first, DeadLetter)
    assert await scene.deliver(one) == first
    await scene.ledger.park(one.id, token=(await scene.entry(one)).token)
    assert await scene.deliver(one) == Ack()
    assert len(scene.a.attempts) == 1


async def test_a_mail_that_another_worker_sends_is_given_back_until_that_lease_ends(scene: Scene) -> None:
    one = mail()
    await scene.claim(one)
    verdict = await scene.deliver(one)

    assert isinstance(verdict, GiveBack)
    assert LIMITS.lease <= verdict.delay <= LIMITS.lease + 1
    assert not scene.a.attempts


async def test_the_same_id_with_another_content_is_a_conflict_and_harms_not_the_first(scene: Scene) -> None:
    one = mail(id="x")
    await scene.deliver(one)
    verdict = await scene.deliver(mail(id="x", subject="other"))

    assert isinstance(verdict, DeadLetter)
    assert verdict.reason is DeadReason.CONFLICT
    assert (await scene.entry(one)).state is State.SENT
    assert len(scene.a.accepted) == 1


@pytest.mark.parametrize("data", [b"", b"no json", b"[]", b'{"id":1}', b"\xff", b"[" * 100_000])
async def test_what_is_no_mail_is_dead_lettered(scene: Scene, data: bytes) -> None:
    verdict = await scene.deliver(Message(data, {"mail_id": "m", "schema": "1"}))

    assert isinstance(verdict, DeadLetter)
    assert verdict.reason is DeadReason.MALFORMED
    entry = await scene.ledger.find(MailId("m"))
    assert entry is not None
    assert entry.state is State.REFUSED


async def test_a_malformed_message_does_not_keep_the_real_mail_of_that_id_from_being_sent(scene: Scene) -> None:
    await scene.deliver(Message(b"no json", {"mail_id": "m", "schema": "1"}))

    assert await scene.deliver(mail(id="m")) == Ack()
    assert len(scene.a.accepted) == 1


async def test_an_expired_mail_is_dead_lettered_and_not_sent(scene: Scene) -> None:
    one = mail(expires_at=at(scene.clock.time() - 1))
    verdict = await scene.deliver(one)

    assert isinstance(verdict, DeadLetter)
    assert verdict.reason is DeadReason.EXPIRED
    await scene.ledger.park(one.id, token=(await scene.entry(one)).token)
    assert await scene.deliver(one) == Ack()
    assert not scene.a.attempts


async def test_a_mail_that_was_sent_before_it_expired_is_no_dead_letter(scene: Scene) -> None:
    one = mail(expires_at=at(scene.clock.time() + 10))
    await scene.deliver(one)
    await scene.clock.advance(20.0)

    assert await scene.deliver(one) == Ack()


async def test_a_scheduled_mail_waits(scene: Scene) -> None:
    one = mail(send_at=at(scene.clock.time() + 90))

    assert await scene.deliver(one) == GiveBack(90.0)
    await scene.clock.advance(90.0)
    assert await scene.deliver(one) == Ack()


async def test_a_mail_of_unknown_outcome_is_in_doubt_and_goes_nowhere_else(scene: Scene) -> None:
    one = mail()
    scene.a.then(unknown(takes=True))
    verdict = await scene.deliver(one)

    assert isinstance(verdict, GiveBack)
    entry = await scene.entry(one)
    assert (entry.state, entry.provider) == (State.IN_DOUBT, "a")
    assert not scene.b.attempts


async def test_a_look_up_that_finds_it_settles_the_doubt(scene: Scene) -> None:
    one = mail()
    scene.a.then(unknown(takes=True))
    await scene.deliver(one)

    assert await scene.deliver(one) == Ack()
    assert (await scene.entry(one)).state is State.SENT
    assert len(scene.a.accepted) == 1


async def test_absence_within_the_providers_window_sends_nothing(scene: Scene) -> None:
    one = mail()
    scene.a.then(unknown(takes=True))
    scene.a.hides = True
    await scene.deliver(one)
    began = scene.clock.now()
    while (left := began + LOOK_UP_AFTER - 1 - scene.clock.now()) > 0:
        verdict = await scene.deliver(one)
        assert isinstance(verdict, GiveBack)
        await scene.clock.advance(min(verdict.delay, left))
    scene.a.hides = False

    assert await scene.deliver(one) == Ack()
    assert len(scene.a.accepted) == 1


async def test_absence_after_the_providers_window_sends_it(scene: Scene) -> None:
    one = mail()
    scene.a.then(unknown(takes=False))
    await scene.deliver(one)
    await scene.clock.advance(LOOK_UP_AFTER)

    assert await scene.deliver(one) == Ack()
    assert len(scene.a.accepted) == 1


async def test_resend_sends_again_at_once(scene: Scene) -> None:
    one = mail(on_doubt=OnDoubt.RESEND)
    scene.a.then(unknown(takes=True))
    await scene.deliver(one)

    assert await scene.deliver(one) == Ack()
    assert len(scene.a.accepted) + len(scene.b.accepted) == 2


async def test_hold_is_left_to_a_person_and_never_sent_again(scene: Scene) -> None:
    one = mail(on_doubt=OnDoubt.HOLD)
    scene.a.then(unknown(takes=False))
    await scene.deliver(one)
    await scene.clock.advance(LOOK_UP_AFTER + WINDOW)
    verdict = await scene.deliver(one)

    assert isinstance(verdict, DeadLetter)
    assert verdict.reason is DeadReason.IN_DOUBT
    await scene.ledger.park(one.id, token=(await scene.entry(one)).token)
    assert await scene.deliver(one) == Ack()
    assert (await scene.entry(one)).state is State.IN_DOUBT


async def test_a_dead_workers_mail_is_put_in_doubt_not_sent(scene: Scene) -> None:
    one = mail()
    await scene.claim(one)
    await scene.clock.advance(LIMITS.lease)
    verdict = await scene.deliver(one)

    assert isinstance(verdict, GiveBack)
    assert (await scene.entry(one)).state is State.IN_DOUBT
    assert not scene.a.attempts


async def test_an_expired_mail_in_doubt_is_refused_once_it_is_known_to_be_absent(scene: Scene) -> None:
    one = mail(expires_at=at(scene.clock.time() + 5))
    scene.a.then(unknown(takes=False))
    await scene.deliver(one)
    await scene.clock.advance(LOOK_UP_AFTER)
    verdict = await scene.deliver(one)

    assert isinstance(verdict, DeadLetter)
    assert verdict.reason is DeadReason.EXPIRED
    assert len(scene.a.attempts) == 1


async def test_a_doubt_at_a_provider_that_was_retired_waits_for_the_window(scene: Scene) -> None:
    one = mail()
    await scene.claim(one, provider="gone")
    await scene.clock.advance(LIMITS.lease)
    await scene.deliver(one)
    assert isinstance(await scene.deliver(one), GiveBack)
    await scene.clock.advance(WINDOW)

    assert await scene.deliver(one) == Ack()


async def test_without_the_ledger_nothing_is_sent(scene: Scene) -> None:
    scene.ledger.failures = {"before": 2}

    with pytest.raises(LedgerUnavailableError):
        await scene.deliver(mail())
    assert not scene.a.attempts
    assert scene.failover.wait() == 0.0


async def test_an_acceptance_is_recorded_however_long_the_ledger_is_away(scene: Scene) -> None:
    one = mail()

    class LedgerGoesAway(FakeProvider):
        async def send(self, mail: Mail, *, timeout: float | None = None) -> Receipt:
            scene.ledger.failures = {"before": 30}
            return await super().send(mail, timeout=timeout)

    scene.failover._routes[0].provider = LedgerGoesAway("a", clock=scene.clock)

    assert await scene.deliver(one) == Ack()
    assert (await scene.entry(one)).state is State.SENT


async def test_a_lost_reply_to_the_record_is_recognised(scene: Scene) -> None:
    one = mail()

    class ReplyIsLost(FakeProvider):
        async def send(self, mail: Mail, *, timeout: float | None = None) -> Receipt:
            scene.ledger.failures = {"after": 1}
            return await super().send(mail, timeout=timeout)

    scene.failover._routes[0].provider = ReplyIsLost("a", clock=scene.clock)
    await scene.deliver(one)

    assert [note.event for note in (await scene.entry(one)).history] == ["claimed", "sent"]


async def test_a_worker_that_is_stopped_while_it_sends_leaves_a_doubt_not_a_riddle(scene: Scene) -> None:
    one = mail()
    scene.a = FakeProvider("a", clock=FakeClock(auto=False))
    scene.failover._routes[0].provider = scene.a
    scene.a.always(Answer(delay=5.0))
    delivering = asyncio.ensure_future(scene.deliver(one))
    await wait_until(lambda: scene.a.attempts, within=5.0)
    delivering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivering

    assert (await scene.entry(one)).state is State.IN_DOUBT


@pytest.mark.parametrize("answer", [down(), unknown(takes=False)])
async def test_a_worker_that_drains_gives_back_at_once(scene: Scene, answer: Answer | ProviderError) -> None:
    scene.is_draining = True
    scene.a.then(answer)
    scene.b.then(down("b"))

    assert await scene.deliver(mail()) == GiveBack(0.0)


async def test_a_claim_whose_reply_was_lost_is_asked_for_again_and_recognised(scene: Scene) -> None:
    one = mail()
    scene.ledger.failures = {"after": 1}

    assert await scene.deliver(one) == Ack()
    assert [note.event for note in (await scene.entry(one)).history] == ["claimed", "sent"]


async def test_a_worker_that_is_stopped_while_it_claims_leaves_the_mail_free(scene: Scene) -> None:
    one = mail()
    claim = scene.ledger._apply

    class Slow(FlakyLedger):
        is_slow = True

        async def _apply(self, mail_id: MailId, transition: Any) -> Any:
            answer = await claim(mail_id, transition)
            if self.is_slow:
                self.is_slow = False
                await asyncio.sleep(30.0)
            return answer

    scene.courier._ledger = Slow(scene.clock)
    delivering = asyncio.ensure_future(scene.deliver(one))
    await wait_until(lambda: scene.ledger.find(one.id), within=5.0)
    delivering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivering

    assert (await scene.entry(one)).state is State.FREE
    assert not scene.a.attempts


async def test_an_acceptance_is_recorded_also_by_a_worker_that_is_stopped_while_it_insists(scene: Scene) -> None:
    one = mail()
    clock = FakeClock(auto=False)

    class LedgerGoesAway(FakeProvider):
        async def send(self, mail: Mail, *, timeout: float | None = None) -> Receipt:
            scene.ledger.failures = {"before": 1}
            return await super().send(mail, timeout=timeout)

    scene.failover._routes[0].provider = LedgerGoesAway("a", clock=scene.clock)
    scene.courier._clock = clock
    delivering = asyncio.ensure_future(scene.deliver(one))
    await wait_until(lambda: clock._sleepers, within=5.0)
    delivering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivering

    assert (await scene.entry(one)).state is State.SENT
