"""Which evidence is asked for in a doubt, and in which order."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count

import pytest

from postman import Address, Mail, OnDoubt
from postman.adapters.memory.ledger import MemoryLedger
from postman.breaker import CircuitBreaker
from postman.core.protocol import Claimed, Doubtful, State
from postman.core.verdict import Ack, DeadLetter, GiveBack, Verdict
from postman.core.wire import digest
from postman.errors import OutcomeUnknownError, ProviderDownError
from postman.runtime.doubts import Doubts
from postman.runtime.failover import Failover, Route
from postman.testing.clock import FakeClock
from postman.testing.provider import Answer, FakeProvider

DAY = 86_400.0


class Scene:
    """A mail in doubt at provider a."""

    def __init__(self, *, idempotent_for: float, look_up_after: float = 60.0) -> None:
        self.clock = FakeClock()
        self.ledger = MemoryLedger(self.clock)
        self.a = FakeProvider(
            "a", look_up_after=look_up_after, idempotent_for=idempotent_for, clock=self.clock, timeout=10.0
        )
        self.failover = Failover([Route(self.a, CircuitBreaker("a", clock=self.clock.now))], clock=self.clock)
        ids = count()
        self.doubts = Doubts(
            ledger=self.ledger,
            failover=self.failover,
            clock=self.clock,
            window=600.0,
            lease=lambda: 30.0,
            new_claim_id=lambda: f"r{next(ids)}",
        )

    async def doubt(self, mail: Mail, *, takes: bool) -> None:
        answer = await self.ledger.claim(mail.id, claim_id="c", digest=digest(mail), provider="a", lease=30.0)
        assert isinstance(answer, Claimed)
        self.a.then(Answer(OutcomeUnknownError("no answer", provider="a"), takes=takes))
        with pytest.raises(OutcomeUnknownError):
            await self.a.send(mail)
        await self.ledger.record_doubt(answer.claim, reason="no answer")

    async def settle(self, mail: Mail) -> Verdict | None:
        answer = await self.ledger.claim(mail.id, claim_id="d", digest=digest(mail), provider="a", lease=30.0)
        assert isinstance(answer, Doubtful)
        return await self.doubts.settle(mail, answer)

    async def history(self, mail: Mail) -> Sequence[tuple[str, str]]:
        entry = await self.ledger.find(mail.id)
        assert entry is not None
        return [(note.event, note.detail) for note in entry.history]


def mail(on_doubt: OnDoubt = OnDoubt.ASK) -> Mail:
    one = Address(email="b@example.org")
    return Mail(from_=Address(email="a@example.org"), to=(one,), subject="s", text="t", on_doubt=on_doubt)


@pytest.mark.parametrize("on_doubt", list(OnDoubt))
@pytest.mark.parametrize("takes", [True, False], ids=["it had come", "it had not come"])
async def test_the_same_key_again_settles_a_doubt_at_once(on_doubt: OnDoubt, *, takes: bool) -> None:
    """Whether the provider had the mail or not: afterwards it has it once."""
    scene, one = Scene(idempotent_for=DAY), mail(on_doubt)
    await scene.doubt(one, takes=takes)

    assert await scene.settle(one) == Ack()
    assert len(scene.a.accepted) == 1
    assert scene.a.questions == 0
    assert (await scene.history(one))[-1] == ("sent", "repeated key")


async def test_a_key_that_may_be_forgotten_before_the_answer_is_not_repeated() -> None:
    """The time counts from when the provider was named, by clocks that may differ by a minute."""
    for age, is_repeated in ((900.0 - 75.0, True), (900.0 - 65.0, False)):
        scene, one = Scene(idempotent_for=900.0), mail()
        await scene.doubt(one, takes=True)
        await scene.clock.advance(age)
        assert await scene.settle(one) == Ack()
        assert (len(scene.a.attempts) == 2) is is_repeated
        assert scene.a.questions == (0 if is_repeated else 1)


async def test_a_take_over_does_not_make_a_key_younger() -> None:
    """A mail whose worker died may be put in doubt hours after it was sent."""
    scene, one = Scene(idempotent_for=900.0), mail()
    await scene.ledger.claim(one.id, claim_id="c", digest=digest(one), provider="a", lease=30.0)
    await scene.clock.advance(7_200.0)

    assert isinstance(await scene.settle(one), GiveBack)
    assert not scene.a.attempts


async def test_a_repetition_that_fails_tells_nothing_and_the_look_up_is_asked() -> None:
    scene, one = Scene(idempotent_for=DAY), mail()
    await scene.doubt(one, takes=True)
    scene.a.then(ProviderDownError("down", provider="a"))

    assert await scene.settle(one) == Ack()
    assert scene.a.questions == 1
    assert (await scene.history(one))[-1] == ("sent", "look-up")


async def test_without_keys_a_doubtful_mail_is_not_sent_again() -> None:
    scene, one = Scene(idempotent_for=0.0), mail()
    await scene.doubt(one, takes=False)

    assert isinstance(await scene.settle(one), GiveBack)
    assert len(scene.a.attempts) == 1
    entry = await scene.ledger.find(one.id)
    assert entry is not None
    assert entry.state is State.IN_DOUBT


async def test_a_repetition_of_unknown_outcome_is_a_doubt_of_its_own() -> None:
    """Its age counts from then, since it may be what arrived; whoever held the first claim has no say any more."""
    scene, one = Scene(idempotent_for=DAY), mail()
    await scene.doubt(one, takes=False)
    await scene.clock.advance(100.0)
    scene.a.then(Answer(OutcomeUnknownError("no answer", provider="a"), takes=False))

    assert isinstance(await scene.settle(one), GiveBack)
    entry = await scene.ledger.find(one.id)
    assert entry is not None
    assert (entry.state, entry.token, entry.since) == (State.IN_DOUBT, 2, scene.clock.time())


async def test_a_repetition_that_did_not_arrive_leaves_the_doubt_as_old_as_it_was_and_rests_ever_longer() -> None:
    """Else a provider that is down for a day would be asked once a second, and time would never decide."""
    scene, one = Scene(idempotent_for=DAY, look_up_after=0.0), mail()
    await scene.doubt(one, takes=False)
    scene.a.always(ProviderDownError("down", provider="a"))
    rests = []
    while isinstance(verdict := await scene.settle(one), GiveBack):
        rests.append(verdict.delay)
        await scene.clock.advance(verdict.delay)

    assert verdict is None
    assert sum(rests) == pytest.approx(600.0, abs=300.0)
    assert len(rests) < 10
    assert rests[:3] == [4.0, 8.0, 16.0]


async def test_a_mail_that_two_workers_ended_with_is_not_repeated() -> None:
    scene, one = Scene(idempotent_for=DAY), mail()
    for claim_id in ("c", "e"):
        await scene.ledger.claim(one.id, claim_id=claim_id, digest=digest(one), provider="a", lease=1.0)
        await scene.clock.advance(2.0)
        doubt = await scene.ledger.claim(one.id, claim_id=f"{claim_id}2", digest=digest(one), provider="a", lease=1.0)
        assert isinstance(doubt, Doubtful)
        if claim_id == "c":
            await scene.ledger.clear_doubt(one.id, token=doubt.entry.token, reason="absent")

    assert isinstance(await scene.settle(one), GiveBack)
    assert not scene.a.attempts


async def test_two_workers_never_repeat_a_key_at_the_same_time() -> None:
    scene, one = Scene(idempotent_for=DAY), mail()
    await scene.doubt(one, takes=True)
    answer = await scene.ledger.claim(one.id, claim_id="d", digest=digest(one), provider="a", lease=30.0)
    assert isinstance(answer, Doubtful)
    await scene.ledger.repeat(one.id, token=answer.entry.token, claim_id="other", lease=30.0)

    assert await scene.doubts.settle(one, answer) == GiveBack(1.0)
    assert len(scene.a.attempts) == 1


@pytest.mark.parametrize("on_doubt", [OnDoubt.ASK, OnDoubt.HOLD])
async def test_of_a_provider_that_only_a_later_document_names_word_is_waited_for_until_that_can_be_read(
    on_doubt: OnDoubt,
) -> None:
    """It may have the mail, and may be asked; a worker that cannot read the document sends no second one elsewhere."""
    scene, one = Scene(idempotent_for=0.0), mail(on_doubt)
    await scene.doubt(one, takes=True)
    other = FakeProvider("b", clock=scene.clock)
    scene.failover.change([Route(other, CircuitBreaker("b", clock=scene.clock.now))])
    scene.failover.is_behind = True
    for _ in range(100):
        verdict = await scene.settle(one)
        assert isinstance(verdict, GiveBack)
        await scene.clock.advance(verdict.delay)

    scene.failover.is_behind = False
    verdict = await scene.settle(one)
    assert verdict is None if on_doubt is OnDoubt.ASK else isinstance(verdict, DeadLetter)


async def test_a_code_of_which_no_word_can_come_in_time_goes_out_however_old_the_document_is() -> None:
    scene = Scene(idempotent_for=0.0)
    for seconds, is_freed in ((500.0, True), (700.0, False)):
        one = mail().model_copy(update={"expires_at": datetime.fromtimestamp(scene.clock.time() + seconds, UTC)})
        scene.failover.change([Route(scene.a, CircuitBreaker("a", clock=scene.clock.now))])
        await scene.doubt(one, takes=False)
        scene.failover.change([Route(FakeProvider("b"), CircuitBreaker("b", clock=scene.clock.now))])
        scene.failover.is_behind = True
        assert (await scene.settle(one) is None) is is_freed
