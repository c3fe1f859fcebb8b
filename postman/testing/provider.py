"""The contract of a provider, as tests, and a provider in memory.

Subclass `ProviderSuite` and give it three fixtures: *provider*, which can be
asked; *unaskable*, the same account with *look_up_after* 0; *service*, the far
side, which does what the suite says and tells what reached it.
"""

import asyncio
import traceback
from collections.abc import Sequence
from enum import StrEnum
from math import inf
from typing import Final, Protocol

import pytest

from postman.core.mail import Address, Mail
from postman.errors import (
    CredentialsError,
    MailRejectedError,
    OutcomeUnknownError,
    ProviderDownError,
    ProviderError,
    QuotaExceededError,
    RouteRefusedError,
    ThrottledError,
)
from postman.ports.provider import Provider
from postman.testing._fake_provider import Answer, FakeProvider

__all__ = ["PAUSE", "Answer", "FakeProvider", "FakeService", "Manner", "ProviderService", "ProviderSuite"]

PAUSE: Final = 30.0
"""Seconds that a service which throttles asks for."""


class Manner(StrEnum):
    """How a service treats what reaches it from now on."""

    ACCEPTS = "accepts"
    REFUSES_MAILS = "refuses mails"
    REFUSES_SENDERS = "refuses senders"
    REFUSES_KEYS = "refuses keys"
    THROTTLES = "throttles"
    """Asks for a pause of `PAUSE` seconds."""
    HAS_NO_QUOTA = "has no quota"
    FAILS = "fails"
    """Answers in its own way that it failed."""
    IS_DOWN = "is down"
    """Nothing reaches it."""
    GATEWAY_FAILS = "gateway fails"
    """Takes the mail; what stands in front of it answers that it failed."""
    HANGS = "hangs"
    """Takes the mail and never answers."""
    DROPS = "drops"
    """Takes the mail and ends the connection."""
    BABBLES = "babbles"
    """Takes the mail and answers a success that is not its own."""


class ProviderService(Protocol):
    """The far side of a provider."""

    @property
    def requests(self) -> int:
        """How many requests of any kind reached it."""
        ...

    @property
    def taken(self) -> Sequence[str]:
        """The ids of the mails it took, as often as it took them."""
        ...

    async def behave(self, manner: Manner) -> None:
        """Treat whatever reaches it from now on in this *manner*; look-ups find what it took."""
        ...

    async def refuse_questions(self) -> None:
        """Answer every look-up from now on that it cannot be answered."""
        ...


class FakeService:
    """The far side of a `FakeProvider`."""

    def __init__(self, provider: FakeProvider) -> None:
        self._provider = provider

    @property
    def requests(self) -> int:
        return len(self._provider.attempts) + self._provider.questions

    @property
    def taken(self) -> Sequence[str]:
        return [mail.id for mail in self._provider.accepted]

    async def behave(self, manner: Manner) -> None:
        self._provider.always(_answer(manner, self._provider.name))

    async def refuse_questions(self) -> None:
        self._provider.look_up_error = ProviderError("could not be asked", provider=self._provider.name)


def _answer(manner: Manner, provider: str) -> Answer:
    if manner is Manner.ACCEPTS:
        return Answer()
    if manner is Manner.HANGS:
        return Answer(delay=inf)
    error = EXPECTED[manner]
    pause = PAUSE if error is ThrottledError else None
    return Answer(error(manner.value, provider=provider, retry_after=pause), takes=error is OutcomeUnknownError)


EXPECTED: Final[dict[Manner, type[ProviderError]]] = {
    Manner.REFUSES_MAILS: MailRejectedError,
    Manner.REFUSES_SENDERS: RouteRefusedError,
    Manner.REFUSES_KEYS: CredentialsError,
    Manner.THROTTLES: ThrottledError,
    Manner.HAS_NO_QUOTA: QuotaExceededError,
    Manner.FAILS: ProviderDownError,
    Manner.IS_DOWN: ProviderDownError,
    Manner.GATEWAY_FAILS: OutcomeUnknownError,
    Manner.HANGS: OutcomeUnknownError,
    Manner.DROPS: OutcomeUnknownError,
    Manner.BABBLES: OutcomeUnknownError,
}


def _mail(number: int = 0) -> Mail:
    return Mail(
        id=f"suite-{number}",
        from_=Address(email="shop@mg.example.org"),
        to=(Address(email="hidden.person@example.org", name="Hidden Person"),),
        subject="hidden subject",
        text="hidden text",
    )


class ProviderSuite:
    """Subclass it, and give it the fixtures *provider*, *unaskable* and *service*."""

    async def test_accepted_mail_brings_a_receipt(self, provider: Provider, service: ProviderService) -> None:
        """A receipt names the provider and the provider's own id of the mail."""
        receipt = await provider.send(_mail())

        assert receipt.provider == provider.name
        assert receipt.message_id
        assert service.taken == ["suite-0"]
        assert service.requests == 1

    @pytest.mark.parametrize("manner", EXPECTED)
    async def test_each_failure_has_its_class(
        self, provider: Provider, service: ProviderService, manner: Manner
    ) -> None:
        """Its class says what to do next, and a mail is handed over once whatever happens."""
        await service.behave(manner)

        with pytest.raises(ProviderError) as caught:
            await provider.send(_mail(), timeout=0.5)

        assert type(caught.value) is EXPECTED[manner]
        assert caught.value.provider == provider.name
        assert service.requests <= 1

    @pytest.mark.parametrize("manner", EXPECTED)
    async def test_only_an_unknown_outcome_leaves_a_mail_there(
        self, provider: Provider, service: ProviderService, manner: Manner
    ) -> None:
        """What an error calls certainly not sent was not taken."""
        await service.behave(manner)

        with pytest.raises(ProviderError):
            await provider.send(_mail(), timeout=0.5)

        assert len(service.taken) == (1 if EXPECTED[manner] is OutcomeUnknownError else 0)

    @pytest.mark.parametrize("manner", EXPECTED)
    async def test_works_again_after_a_failure(
        self, provider: Provider, service: ProviderService, manner: Manner
    ) -> None:
        """A failure spoils nothing for the next mail."""
        await service.behave(manner)
        with pytest.raises(ProviderError):
            await provider.send(_mail(1), timeout=0.5)

        await service.behave(Manner.ACCEPTS)
        await provider.send(_mail(2))

        assert service.taken[-1] == "suite-2"

    @pytest.mark.parametrize("manner", EXPECTED)
    async def test_errors_hold_nothing_of_the_mail(
        self, provider: Provider, service: ProviderService, manner: Manner
    ) -> None:
        """An error may be logged with all that it was raised from."""
        await service.behave(manner)

        with pytest.raises(ProviderError) as caught:
            await provider.send(_mail(), timeout=0.5)

        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
        assert "hidden" not in shown.lower()

    async def test_throttling_names_its_pause(self, provider: Provider, service: ProviderService) -> None:
        """The pause that a provider asks for arrives in seconds."""
        await service.behave(Manner.THROTTLES)

        with pytest.raises(ThrottledError) as caught:
            await provider.send(_mail())

        assert caught.value.retry_after == pytest.approx(PAUSE, abs=2.0)

    async def test_cancelled_send_stays_cancelled(self, provider: Provider, service: ProviderService) -> None:
        """Cancellation is no provider's error, and the provider works on."""
        await service.behave(Manner.HANGS)
        sending = asyncio.create_task(provider.send(_mail(1)))
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

        await service.behave(Manner.ACCEPTS)

        assert (await provider.send(_mail(2))).message_id

    async def test_fifty_mails_at_once(self, provider: Provider, service: ProviderService) -> None:
        """Mails in flight do not disturb each other."""
        receipts = await asyncio.gather(*(provider.send(_mail(number)) for number in range(50)))

        assert len({receipt.message_id for receipt in receipts}) == 50
        assert sorted(service.taken) == sorted(f"suite-{number}" for number in range(50))
        assert service.requests == 50

    async def test_a_mail_sent_again_is_a_second_copy_only_where_there_are_no_keys(
        self, provider: Provider, service: ProviderService
    ) -> None:
        """With idempotency keys the answer is that of the first time, else there are two mails."""
        first, again = await provider.send(_mail()), await provider.send(_mail())

        assert len(service.taken) == (1 if provider.idempotent_for else 2)
        assert again == first or not provider.idempotent_for

    async def test_look_up_finds_what_was_taken(self, provider: Provider, service: ProviderService) -> None:
        """A look-up brings the same receipt as the send did."""
        receipt = await provider.send(_mail())

        assert await provider.look_up(_mail()) == receipt
        assert service.requests == 2

    @pytest.mark.parametrize("manner", [Manner.GATEWAY_FAILS, Manner.HANGS, Manner.DROPS, Manner.BABBLES])
    async def test_look_up_settles_a_doubt(self, provider: Provider, service: ProviderService, manner: Manner) -> None:
        """A mail whose answer was lost is found by our id."""
        await service.behave(manner)
        with pytest.raises(OutcomeUnknownError):
            await provider.send(_mail(), timeout=0.5)

        receipt = await provider.look_up(_mail())

        assert receipt is not None
        assert receipt.provider == provider.name

    async def test_look_up_of_another_mail_finds_nothing(self, provider: Provider) -> None:
        """Nothing found is None, also when the provider has other mails."""
        await provider.send(_mail(1))

        assert await provider.look_up(_mail(2)) is None

    async def test_failed_look_up_is_no_absence(self, provider: Provider, service: ProviderService) -> None:
        """A question without an answer raises, and does not call the mail's outcome into doubt."""
        await provider.send(_mail())
        await service.refuse_questions()

        with pytest.raises(ProviderError) as caught:
            await provider.look_up(_mail())

        assert not isinstance(caught.value, OutcomeUnknownError)

    async def test_unaskable_provider_says_so(self, unaskable: Provider, service: ProviderService) -> None:
        """A provider that cannot be asked is not asked."""
        assert unaskable.look_up_after == 0

        with pytest.raises(ProviderError):
            await unaskable.look_up(_mail())

        assert service.requests == 0

    async def test_closes_twice_and_for_good(self, provider: Provider, service: ProviderService) -> None:
        """A closed provider sends nothing, and says that nothing was sent."""
        await provider.aclose()
        await provider.aclose()

        with pytest.raises(ProviderDownError):
            await provider.send(_mail())

        assert service.requests == 0
