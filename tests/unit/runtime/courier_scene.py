"""A courier with two providers, and the words that its tests share."""

from datetime import UTC, datetime
from itertools import count
from typing import Any

from postman import Address, Mail
from postman.adapters.memory.ledger import MemoryLedger
from postman.breaker import CircuitBreaker, Trip
from postman.core.ids import MailId
from postman.core.message import Message
from postman.core.protocol import Claimed, Entry
from postman.core.verdict import Verdict
from postman.core.wire import digest, message_for
from postman.errors import (
    LedgerUnavailableError,
    OutcomeUnknownError,
    ProviderDownError,
)
from postman.ports.queue import Delivery
from postman.runtime.courier import Courier, Limits
from postman.runtime.doubts import Doubts
from postman.runtime.failover import Failover, Route
from postman.testing.clock import FakeClock
from postman.testing.provider import Answer, FakeProvider

LIMITS = Limits(lease=25.0, budget=20.0)
WINDOW = 600.0
LOOK_UP_AFTER = 60.0


class FlakyLedger(MemoryLedger):
    """Fails as often as it is told, before or after it did what it was asked."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.failures: dict[str, int] = {}

    async def _apply(self, mail_id: MailId, transition: Any) -> Any:
        self._fail("before")
        answer = await super()._apply(mail_id, transition)
        self._fail("after")
        return answer

    def _fail(self, when: str) -> None:
        if self.failures.get(when, 0) > 0:
            self.failures[when] -= 1
            raise LedgerUnavailableError("not now")


class Scene:
    """A courier with two providers, of which a is home."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.ledger = FlakyLedger(self.clock)
        self.a = FakeProvider("a", look_up_after=LOOK_UP_AFTER, clock=self.clock)
        self.b = FakeProvider("b", clock=self.clock)
        self.breakers = {name: CircuitBreaker(name, Trip(consecutive=2), clock=self.clock.now) for name in "ab"}
        self.is_draining = False
        self.others_send: bool | None = None
        ids = count()
        failover = Failover(
            [Route(self.a, self.breakers["a"], weight=1.0), Route(self.b, self.breakers["b"], weight=0.0)],
            clock=self.clock,
        )
        self.courier = Courier(
            ledger=self.ledger,
            failover=failover,
            doubts=Doubts(
                ledger=self.ledger,
                failover=failover,
                clock=self.clock,
                window=WINDOW,
                lease=lambda: LIMITS.lease,
                new_claim_id=lambda: f"repeat-{next(ids)}",
            ),
            clock=self.clock,
            limits=lambda: LIMITS,
            new_claim_id=lambda: f"claim-{next(ids)}",
            is_draining=lambda: self.is_draining,
            others_send=lambda _: self.others_send,
        )
        self.failover = failover

    def stop_the_clock(self) -> FakeClock:
        """Let time pass only when it is moved, for the courier and what it sends through."""
        self.courier._clock = self.failover._clock = self.failover._room._clock = FakeClock(auto=False)
        return self.failover._clock

    async def deliver(self, message: Mail | Message) -> Verdict:
        if isinstance(message, Mail):
            message = message_for(message)
        delivery = Delivery(message, "r", 1, self.clock.now() + 30.0, self.clock.time())
        return await self.courier.deal_with(delivery)

    async def entry(self, mail: Mail) -> Entry:
        entry = await self.ledger.find(mail.id)
        assert entry is not None
        return entry

    async def claim(self, mail: Mail, provider: str = "a") -> Claimed:
        """Claim as another worker would."""
        answer = await self.ledger.claim(
            mail.id, claim_id="other", digest=digest(mail), provider=provider, lease=LIMITS.lease
        )
        assert isinstance(answer, Claimed)
        return answer


def mail(**changes: Any) -> Mail:
    fields = {"from_": Address(email="a@example.org"), "to": (Address(email="b@example.org"),), "subject": "s"}
    return Mail(**(fields | {"text": "t"} | changes))


def down(name: str = "a") -> ProviderDownError:
    return ProviderDownError("down", provider=name)


def unknown(*, takes: bool) -> Answer:
    return Answer(OutcomeUnknownError("no answer", provider="a"), takes=takes)


def at(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)
