"""The contract of a provider, kept through the proxy: for a worker nothing changes but that it is recorded."""

from collections.abc import AsyncIterator

import pytest

from postman.ports.provider import Provider
from postman.sandbox.server import Sandbox
from postman.sandbox.settings import ProviderName
from postman.testing.provider import ProviderService, ProviderSuite
from tests.contract.proxy.scene import Claiming, Proxy, running_proxy
from tests.contract.test_provider_suites import _MAILGUN_FAULTS, _SENDGRID_FAULTS, SandboxService


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
async def proxy(sandbox: Sandbox) -> AsyncIterator[Proxy]:
    async with running_proxy({"sendgrid": sandbox.sendgrid_url, "mailgun": sandbox.mailgun_url}) as proxy:
        yield proxy


async def _claiming(proxy: Proxy, kind: str, look_up_after: float) -> AsyncIterator[Provider]:
    provider = Claiming(proxy, proxy.worker(kind, look_up_after=look_up_after))
    yield provider
    await provider.aclose()


class TestSendGridThroughTheProxy(ProviderSuite):
    @pytest.fixture
    async def provider(self, proxy: Proxy) -> AsyncIterator[Provider]:
        async for provider in _claiming(proxy, "sendgrid", 1.0):
            yield provider

    @pytest.fixture
    async def unaskable(self, proxy: Proxy) -> AsyncIterator[Provider]:
        async for provider in _claiming(proxy, "sendgrid", 0.0):
            yield provider

    @pytest.fixture
    def service(self, sandbox: Sandbox) -> ProviderService:
        return SandboxService(sandbox, ProviderName.SENDGRID, _SENDGRID_FAULTS)


class TestMailgunThroughTheProxy(ProviderSuite):
    @pytest.fixture
    async def provider(self, proxy: Proxy) -> AsyncIterator[Provider]:
        async for provider in _claiming(proxy, "mailgun", 1.0):
            yield provider

    @pytest.fixture
    async def unaskable(self, proxy: Proxy) -> AsyncIterator[Provider]:
        async for provider in _claiming(proxy, "mailgun", 0.0):
            yield provider

    @pytest.fixture
    def service(self, sandbox: Sandbox) -> ProviderService:
        return SandboxService(sandbox, ProviderName.MAILGUN, _MAILGUN_FAULTS)
