"""The observing proxy without HTTP: what it passes on, records and answers, and what becomes of who does not wait."""

import asyncio
from collections import deque
from typing import Any

import pytest

from postman.adapters.memory.ledger import MemoryLedger
from postman.core.entry import Claimed, Entry, State
from postman.core.ids import MailId
from postman.errors import (
    LedgerUnavailableError,
    OutcomeUnknownError,
    ProviderDownError,
    ProviderError,
    ProviderUnreachableError,
)
from postman.ports.observing import Answered, Outcome, Passage, Traffic
from postman.ports.provider import Receipt
from postman.runtime.observer import EVIDENCE, Observer, Passed
from postman.testing.clock import FakeClock
from postman.testing.waiting import wait_until

ID = MailId("mail-1")
PASSAGE = Passage("POST", "/send", body=b"a mail")
REFUSAL = Answered(400, {}, b"no")


class FakeObserved:
    """Takes every mail unless its script says something else; answers while *gate* is open."""

    def __init__(self, name: str = "a") -> None:
        self.name = name
        self.timeout = 10.0
        self.forwarded: list[Passage] = []
        self.timeouts: list[float] = []
        self.script: deque[Answered | ProviderError] = deque()
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_open = True
        self.closing_trouble: Exception | None = None

    def traffic(self, method: str, path: str) -> Traffic | None:
        return Traffic.SEND if (method, path) == ("POST", "/send") else None

    async def forward(self, passage: Passage, *, timeout: float) -> Answered:
        self.forwarded.append(passage)
        self.timeouts.append(timeout)
        await self.gate.wait()
        answer = self.script.popleft() if self.script else Answered(202, {"id": f"{self.name}-{len(self.forwarded)}"})
        if isinstance(answer, ProviderError):
            raise answer
        return answer

    def receipt_of(self, answer: Answered) -> Receipt | None:
        return Receipt(self.name, answer.headers["id"]) if answer.status == 202 else None

    def acceptance(self, receipt: Receipt) -> Answered:
        return Answered(202, {"id": receipt.message_id})

    async def aclose(self) -> None:
        self.is_open = False
        if self.closing_trouble is not None:
            raise self.closing_trouble


class AwayLedger(MemoryLedger):
    """A ledger that can be away, for all calls or once it has answered some."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.calls = 0
        self.away_after: int | None = None
        self.hangs = False

    async def _apply(self, mail_id: MailId, transition: Any) -> Any:
        self.calls += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.away_after is not None and self.calls > self.away_after:
            raise LedgerUnavailableError("not now")
        return await super()._apply(mail_id, transition)

    def leave(self, *, after: int = 0) -> None:
        """Be away once *after* more calls were answered."""
        self.away_after = self.calls + after

    def come_back(self) -> None:
        self.away_after = None


class Scene:
    """An observer of two providers, and a worker's words."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.ledger = AwayLedger(self.clock)
        self.a, self.b = FakeObserved("a"), FakeObserved("b")
        self.observer = Observer(ledger=self.ledger, providers=[self.a, self.b], clock=self.clock)

    async def claim(self) -> Claimed:
        answer = await self.ledger.claim(ID, claim_id="worker", digest="d", provider="a", lease=25.0)
        assert isinstance(answer, Claimed)
        return answer

    async def send(self, provider: FakeObserved | None = None, *, patience: float = 10.0) -> Passed:
        return await self.observer.send(provider or self.a, PASSAGE, ID, patience=patience)

    async def entry(self) -> Entry:
        entry = await self.ledger.find(ID)
        assert entry is not None
        return entry

    async def is_under_way(self) -> None:
        """Return once the provider has the request."""
        await wait_until(lambda: self.a.forwarded, within=2.0)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_an_acceptance_is_recorded_before_it_is_answered(scene: Scene) -> None:
    await scene.claim()

    passed = await scene.send()

    assert passed == Passed(Outcome.RECORDED, Answered(202, {"id": "a-1"}))
    entry = await scene.entry()
    assert (entry.state, entry.provider, entry.message_id) == (State.SENT, "a", "a-1")
    assert entry.history[-1].detail == EVIDENCE
    assert scene.a.forwarded == [PASSAGE]


async def test_what_is_no_acceptance_is_handed_back_as_it_is_and_changes_nothing(scene: Scene) -> None:
    await scene.claim()
    scene.a.script.append(REFUSAL)
    before = await scene.entry()

    assert await scene.send() == Passed(Outcome.ANSWERED, REFUSAL)
    assert await scene.entry() == before


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ProviderDownError, Outcome.DOWN),
        (ProviderUnreachableError, Outcome.UNREACHABLE),
        (OutcomeUnknownError, Outcome.UNKNOWN),
        (ProviderError, Outcome.UNKNOWN),
    ],
)
async def test_an_exchange_that_failed_is_told_for_what_it_is_and_not_repeated(
    scene: Scene, error: type[ProviderError], outcome: Outcome
) -> None:
    await scene.claim()
    scene.a.script.append(error("failed", provider="a"))

    assert (await scene.send()).outcome is outcome
    assert len(scene.a.forwarded) == 1
    assert (await scene.entry()).state is State.SENDING


async def test_a_mail_sent_again_is_answered_from_the_record(scene: Scene) -> None:
    await scene.claim()
    first = await scene.send()

    again = await scene.send()

    assert (again.outcome, again.answer) == (first.outcome, first.answer)
    assert len(scene.a.forwarded) == 1


async def test_the_same_mail_under_way_gets_the_first_ones_answer(scene: Scene) -> None:
    await scene.claim()
    scene.a.gate.clear()
    both = asyncio.gather(scene.send(), scene.send())
    await scene.is_under_way()
    assert scene.observer.in_flight == 1
    scene.a.gate.set()

    first, second = await both

    assert first == second == Passed(Outcome.RECORDED, Answered(202, {"id": "a-1"}))
    assert len(scene.a.forwarded) == 1
    await wait_until(lambda: scene.observer.in_flight == 0, within=1.0)


async def test_who_does_not_wait_for_the_answer_does_not_stop_the_exchange(scene: Scene) -> None:
    """The worker may die as soon as its whole request has come."""
    await scene.claim()
    scene.a.gate.clear()
    worker = asyncio.create_task(scene.send())
    await scene.is_under_way()
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker
    scene.a.gate.set()

    assert await scene.observer.drain(2.0)

    assert (await scene.entry()).state is State.SENT


async def _nobody(scene: Scene) -> None:
    """Nobody has claimed it."""


async def _freed(scene: Scene) -> None:
    """Its worker gave it back."""
    await scene.ledger.release((await scene.claim()).claim, reason="none is free")


async def _taken_over(scene: Scene) -> None:
    """Its worker stood still, and another put it in doubt."""
    await scene.claim()
    await scene.clock.sleep(26.0)
    await scene.ledger.claim(ID, claim_id="another", digest="d", provider="a", lease=25.0)


async def _refused(scene: Scene) -> None:
    """The provider refused it."""
    await scene.ledger.record_refused((await scene.claim()).claim, reason="bad")


async def _moved(scene: Scene) -> None:
    """Its worker went on to the other provider."""
    await scene.ledger.move((await scene.claim()).claim, "b")


async def _sent_elsewhere(scene: Scene) -> None:
    """The other provider took it."""
    await scene.ledger.settle(ID, Receipt("b", "b-1"), evidence="answer")


@pytest.mark.parametrize("state", [_nobody, _freed, _taken_over, _refused, _moved, _sent_elsewhere])
async def test_a_mail_that_is_not_under_way_to_this_provider_is_not_passed_on(scene: Scene, state: Any) -> None:
    await state(scene)

    passed = await scene.send()

    assert passed.outcome is Outcome.OUTDATED
    assert passed.answer is None
    assert not scene.a.forwarded


async def test_without_the_ledger_nothing_is_sent(scene: Scene) -> None:
    await scene.claim()
    scene.ledger.leave()

    assert (await scene.send()).outcome is Outcome.UNAVAILABLE
    assert not scene.a.forwarded


async def test_a_ledger_that_hangs_is_not_waited_for_longer_than_the_worker_waits(scene: Scene) -> None:
    await scene.claim()
    scene.ledger.hangs = True

    passed = await asyncio.wait_for(scene.send(patience=0.2), 0.2)

    assert passed.outcome is Outcome.UNAVAILABLE
    assert not scene.a.forwarded


async def test_an_acceptance_is_held_until_the_ledger_is_back(scene: Scene) -> None:
    """It is the proxy's to insist; who asks again meanwhile waits for the same record."""
    await scene.claim()
    scene.ledger.leave(after=1)
    worker = asyncio.create_task(scene.send())
    await wait_until(lambda: scene.observer.unrecorded == 1, within=2.0)
    again = asyncio.create_task(scene.send())
    done, _ = await asyncio.wait((worker, again), timeout=0.05)
    assert not done
    assert scene.clock.now() > 1_000.0, "it tries again and again, with pauses"

    scene.ledger.come_back()

    assert (await worker).outcome is (await again).outcome is Outcome.RECORDED
    assert scene.observer.unrecorded == 0
    assert (await scene.entry()).message_id == "a-1"
    assert len(scene.a.forwarded) == 1


async def test_the_provider_gets_the_workers_patience_less_the_time_to_record(scene: Scene) -> None:
    """The worker's own time-out is the last to run out; a provider's is never exceeded."""
    await scene.claim()
    for patience in (10.0, 2.0, 60.0):
        scene.a.script.append(REFUSAL)
        await scene.send(patience=patience)

    assert scene.a.timeouts == [9.0, 1.5, 10.0]


async def test_a_request_that_came_too_late_is_not_begun(scene: Scene) -> None:
    await scene.claim()

    assert (await scene.send(patience=0.1)).outcome is Outcome.UNAVAILABLE
    assert not scene.a.forwarded


async def test_a_proxy_that_stops_takes_no_mail_and_ends_those_under_way(scene: Scene) -> None:
    await scene.claim()
    scene.a.gate.clear()
    worker = asyncio.create_task(scene.send())
    await scene.is_under_way()
    scene.observer.close()

    other = await scene.observer.send(scene.b, PASSAGE, MailId("mail-2"), patience=10.0)
    assert other.outcome is Outcome.UNAVAILABLE
    assert not await scene.observer.drain(0.05)
    scene.a.gate.set()
    assert await scene.observer.drain(2.0)

    assert (await worker).outcome is Outcome.RECORDED
    await scene.observer.aclose()
    await scene.observer.aclose()
    assert not scene.a.is_open


async def test_a_proxy_that_breaks_off_tries_a_last_time_to_record(scene: Scene) -> None:
    await scene.claim()
    scene.observer._clock = FakeClock(auto=False)
    scene.ledger.leave(after=1)
    worker = asyncio.create_task(scene.send())
    await wait_until(lambda: scene.observer.unrecorded == 1, within=2.0)
    scene.ledger.come_back()

    await scene.observer.aclose()

    assert (await scene.entry()).state is State.SENT
    with pytest.raises(asyncio.CancelledError):
        await worker


async def test_a_look_up_is_passed_on_without_the_ledger(scene: Scene) -> None:
    scene.ledger.leave()
    scene.a.script.append(Answered(200, {}, b"{}"))

    assert await scene.observer.ask(scene.a, Passage("GET", "/mails")) == Passed(
        Outcome.ANSWERED, Answered(200, {}, b"{}")
    )


def test_providers_are_found_by_their_names(scene: Scene) -> None:
    assert scene.observer.find("b") is scene.b
    assert scene.observer.find("c") is None
    assert scene.observer.longest_timeout == 10.0


async def test_a_mail_under_way_at_one_that_was_changed_is_waited_for_as_long_as_it_may_take(scene: Scene) -> None:
    quick = FakeObserved("a")
    quick.timeout = 1.0
    scene.observer.change([quick])

    assert scene.observer.longest_timeout == 10.0
    await scene.observer.aclose()
    assert not any(each.is_open for each in (scene.a, scene.b, quick))


async def test_one_that_cannot_be_closed_keeps_no_other_open(scene: Scene) -> None:
    scene.a.closing_trouble = OSError("no")
    scene.observer.change([scene.b])
    scene.b.closing_trouble = OSError("no")
    await scene.observer.aclose()

    assert not any(each.is_open for each in (scene.a, scene.b))
