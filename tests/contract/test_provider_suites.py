"""The contract of a provider, run for the fake and for both adapters against the sandbox."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from postman.adapters import mailgun, sendgrid
from postman.core.mail import Address, Mail
from postman.errors import OutcomeUnknownError, ThrottledError
from postman.ports.opening import ProviderSpec
from postman.ports.provider import Provider
from postman.sandbox.faults import Fault, FaultKind, Traffic
from postman.sandbox.server import Sandbox
from postman.sandbox.settings import ProviderName
from postman.testing.clock import FakeClock
from postman.testing.provider import PAUSE, Answer, FakeProvider, FakeService, Manner, ProviderService, ProviderSuite

MAIL = Mail(
    from_=Address(email="shop@mg.example.org"), to=(Address(email="ann@example.org"),), subject="Hello", text="Hi Ann"
)
_PAGE = "<html><body>Bad Gateway</body></html>"


def _errors(message: str) -> str:
    return f'{{"errors": [{{"message": "{message}", "field": null, "help": null}}]}}'


def _status(status: int, body: str | None = None, content_type: str = "application/json") -> Fault:
    headers = None if body is None else {"Content-Type": content_type}
    return Fault(FaultKind.STATUS, status=status, body=body, headers=headers, only=Traffic.SEND)


_FAULTS: Mapping[Manner, Fault] = {
    Manner.REFUSES_KEYS: _status(401),
    Manner.THROTTLES: Fault(FaultKind.THROTTLE, seconds=PAUSE),
    Manner.FAILS: Fault(FaultKind.DOWN, only=Traffic.SEND),
    Manner.IS_DOWN: Fault(FaultKind.REFUSE),
    Manner.GATEWAY_FAILS: Fault(
        FaultKind.STATUS,
        status=502,
        body=_PAGE,
        headers={"Content-Type": "text/html"},
        accept=True,
        only=Traffic.SEND,
    ),
    Manner.HANGS: Fault(FaultKind.HANG, only=Traffic.SEND),
    Manner.DROPS: Fault(FaultKind.RESET, only=Traffic.SEND),
    Manner.BABBLES: Fault(FaultKind.MALFORMED, only=Traffic.SEND),
}
_SENDGRID_FAULTS = {
    **_FAULTS,
    Manner.REFUSES_MAILS: _status(400, _errors("Does not contain a valid address.")),
    Manner.REFUSES_SENDERS: _status(403, _errors("The from address does not match a verified Sender Identity.")),
    Manner.HAS_NO_QUOTA: _status(401, _errors("Maximum credits exceeded")),
}
_MAILGUN_FAULTS = {
    **_FAULTS,
    Manner.REFUSES_MAILS: _status(400, '{"message": "to parameter is not a valid address"}'),
    Manner.REFUSES_SENDERS: _status(
        400, '{"message": "Domain mg.example.org is not allowed to send: The domain is unverified"}'
    ),
    Manner.HAS_NO_QUOTA: _status(402),
}


@dataclass(slots=True)
class SandboxService:
    """One provider of the sandbox, as the suite wants to steer it."""

    sandbox: Sandbox
    name: ProviderName
    faults: Mapping[Manner, Fault]

    @property
    def requests(self) -> int:
        counts = self.sandbox.stats.document()["by_provider"]
        assert isinstance(counts, dict)
        return int(counts[self.name]["requests"])

    @property
    def taken(self) -> Sequence[str]:
        mails = self.sandbox.store.newest_first(provider=self.name)
        return [mail.draft.mail_id for mail in mails][::-1]

    async def behave(self, manner: Manner) -> None:
        fault = self.faults.get(manner)
        await self.sandbox.faults.replace(self.name, [fault] if fault else [])

    async def refuse_questions(self) -> None:
        await self.sandbox.faults.add(self.name, Fault(FaultKind.STATUS, status=500, only=Traffic.LOOKUP))


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as sandbox:
        yield sandbox


def _sendgrid(sandbox: Sandbox, look_up_after: float) -> Provider:
    key = SecretStr("SG.sandbox")
    return sendgrid.open_provider(
        ProviderSpec("sendgrid", "sendgrid", key, sandbox.sendgrid_url, look_up_after=look_up_after)
    )


def _mailgun(sandbox: Sandbox, look_up_after: float) -> Provider:
    key = SecretStr("key-sandbox")
    options = {"domain": "mg.example.org"}
    return mailgun.open_provider(
        ProviderSpec("mailgun", "mailgun", key, sandbox.mailgun_url, look_up_after=look_up_after, options=options)
    )


async def _until_closed(provider: Provider) -> AsyncIterator[Provider]:
    yield provider
    await provider.aclose()


class TestFakeProvider(ProviderSuite):
    @pytest.fixture
    def provider(self) -> FakeProvider:
        return FakeProvider(look_up_after=60.0)

    @pytest.fixture
    def unaskable(self) -> FakeProvider:
        return FakeProvider()

    @pytest.fixture
    def service(self, provider: FakeProvider) -> FakeService:
        return FakeService(provider)

    async def test_answers_follow_its_script(self) -> None:
        """Scripted answers come first, in their order; then it accepts again."""
        provider = FakeProvider("main")
        provider.then(ThrottledError("slow down", provider="main", retry_after=5.0), Answer())
        mail = MAIL

        with pytest.raises(ThrottledError):
            await provider.send(mail)
        await provider.send(mail)
        await provider.send(mail)

        assert len(provider.attempts) == 3
        assert len(provider.accepted) == 2

    async def test_delay_is_its_clocks(self) -> None:
        """A delayed answer costs the time of the clock that was handed in."""
        clock = FakeClock()
        provider = FakeProvider(clock=clock, timeout=10.0)
        provider.then(Answer(delay=4.0), Answer(delay=40.0))
        started = clock.now()

        await provider.send(MAIL)
        assert clock.now() - started == 4.0
        with pytest.raises(OutcomeUnknownError):
            await provider.send(MAIL)

        assert clock.now() - started == 14.0

    async def test_lost_answer_can_leave_nothing_behind(self) -> None:
        """An unknown outcome may be a mail that was never taken."""
        provider = FakeProvider(look_up_after=60.0)
        provider.then(Answer(OutcomeUnknownError("gone", provider="fake"), takes=False))

        with pytest.raises(OutcomeUnknownError):
            await provider.send(MAIL)

        assert await provider.look_up(MAIL) is None

    async def test_hidden_mails_are_not_found_yet(self) -> None:
        """Look-ups lag behind as those of real providers do."""
        provider = FakeProvider(look_up_after=60.0)
        receipt = await provider.send(MAIL)
        provider.hides = True
        assert await provider.look_up(MAIL) is None

        provider.hides = False

        assert await provider.look_up(MAIL) == receipt


class TestFakeProviderWithKeys(ProviderSuite):
    @pytest.fixture
    def provider(self) -> FakeProvider:
        return FakeProvider(look_up_after=60.0, idempotent_for=86_400.0)

    @pytest.fixture
    def unaskable(self) -> FakeProvider:
        return FakeProvider(idempotent_for=86_400.0)

    @pytest.fixture
    def service(self, provider: FakeProvider) -> FakeService:
        return FakeService(provider)


class TestSendGrid(ProviderSuite):
    @pytest.fixture
    async def provider(self, sandbox: Sandbox) -> AsyncIterator[Provider]:
        async for provider in _until_closed(_sendgrid(sandbox, 1.0)):
            yield provider

    @pytest.fixture
    async def unaskable(self, sandbox: Sandbox) -> AsyncIterator[Provider]:
        async for provider in _until_closed(_sendgrid(sandbox, 0.0)):
            yield provider

    @pytest.fixture
    def service(self, sandbox: Sandbox) -> ProviderService:
        return SandboxService(sandbox, ProviderName.SENDGRID, _SENDGRID_FAULTS)


class TestMailgun(ProviderSuite):
    @pytest.fixture
    async def provider(self, sandbox: Sandbox) -> AsyncIterator[Provider]:
        async for provider in _until_closed(_mailgun(sandbox, 1.0)):
            yield provider

    @pytest.fixture
    async def unaskable(self, sandbox: Sandbox) -> AsyncIterator[Provider]:
        async for provider in _until_closed(_mailgun(sandbox, 0.0)):
            yield provider

    @pytest.fixture
    def service(self, sandbox: Sandbox) -> ProviderService:
        return SandboxService(sandbox, ProviderName.MAILGUN, _MAILGUN_FAULTS)
