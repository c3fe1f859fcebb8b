"""A provider in memory."""

import asyncio
from collections import deque
from dataclasses import dataclass

from postman.core.mail import Mail
from postman.errors import OutcomeUnknownError, ProviderDownError, ProviderError
from postman.ports.clock import Clock
from postman.ports.provider import Receipt
from postman.testing.clock import FakeClock

__all__ = ["Answer", "FakeProvider"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a `FakeProvider` does with one mail: takes it or not, then raises *error* or returns a receipt."""

    error: ProviderError | None = None
    takes: bool = True
    """Whether it has the mail afterwards; only an `OutcomeUnknownError` leaves that open."""
    delay: float = 0.0
    """Seconds before it answers, by the provider's clock; beyond the time-out the outcome is unknown."""


class FakeProvider:
    """A provider in memory, for tests of whatever uses one.

    It accepts, unless told otherwise: `then` says what it does with the next mails, one answer each, and `always`
    what it does when none of those is left. A mail is taken before the answer is waited for.
    """

    def __init__(
        self,
        name: str = "fake",
        *,
        timeout: float = 10.0,
        look_up_after: float = 0.0,
        idempotent_for: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        self._name = name
        self._timeout = timeout
        self._look_up_after = look_up_after
        self._idempotent_for = idempotent_for
        self._clock = clock or FakeClock()
        self._next: deque[Answer] = deque()
        self._always = Answer()
        self.attempts: list[Mail] = []
        """Every mail handed over, taken or not."""
        self.accepted: list[Mail] = []
        """Every mail it took, as often as it took it."""
        self.receipts: dict[str, Receipt] = {}
        """The first receipt for each mail it took, by our id."""
        self.questions = 0
        """How many look-ups were made."""
        self.hides = False
        """Whether look-ups do not find what it has, as in the first minutes."""
        self.look_up_error: ProviderError | None = None
        """Raised by every look-up."""
        self.is_closed = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def timeout(self) -> float:
        return self._timeout

    @property
    def look_up_after(self) -> float:
        return self._look_up_after

    @property
    def idempotent_for(self) -> float:
        return self._idempotent_for

    def then(self, *answers: Answer | ProviderError) -> None:
        """Do this with the next mails, in this order; an error alone takes nothing."""
        self._next.extend(map(_as_answer, answers))

    def always(self, answer: Answer | ProviderError) -> None:
        """Do this with all mails from now on."""
        self._next.clear()
        self._always = _as_answer(answer)

    async def send(self, mail: Mail, *, timeout: float | None = None) -> Receipt:
        if self.is_closed:
            raise ProviderDownError("its connections were closed here", provider=self.name)
        answer = self._next.popleft() if self._next else self._always
        self.attempts.append(mail)
        receipt = self._take(mail) if answer.takes else None
        await self._wait(answer.delay, self.timeout if timeout is None else min(self.timeout, timeout))
        if answer.error is not None:
            raise answer.error.with_traceback(None)
        return receipt or Receipt(self.name, "")

    async def look_up(self, mail: Mail) -> Receipt | None:
        if not self.look_up_after:
            raise ProviderError("cannot be asked", provider=self.name)
        self.questions += 1
        await asyncio.sleep(0)
        if self.look_up_error is not None:
            raise self.look_up_error.with_traceback(None)
        return None if self.hides else self.receipts.get(mail.id)

    async def aclose(self) -> None:
        self.is_closed = True

    def _take(self, mail: Mail) -> Receipt:
        if self._idempotent_for and mail.id in self.receipts:
            return self.receipts[mail.id]
        self.accepted.append(mail)
        receipt = Receipt(self.name, f"{self.name}-{len(self.accepted)}")
        self.receipts.setdefault(mail.id, receipt)
        return receipt

    async def _wait(self, delay: float, timeout: float) -> None:
        await self._clock.sleep(min(delay, timeout))
        if delay > timeout:
            raise OutcomeUnknownError(f"gave no answer within {timeout:g} s", provider=self.name)


def _as_answer(answer: Answer | ProviderError) -> Answer:
    return answer if isinstance(answer, Answer) else Answer(answer, takes=False)
