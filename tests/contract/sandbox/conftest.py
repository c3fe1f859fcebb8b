"""A sandbox in the test's own loop, reached over real HTTP."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from postman.sandbox import Sandbox, SandboxSettings


class ManualClock:
    """Unix time that moves when it is told to."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def sandbox(clock: ManualClock) -> AsyncIterator[Sandbox]:
    async with Sandbox(SandboxSettings(), now=clock) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=5.0, trust_env=False) as opened:
        yield opened


@pytest.fixture
async def control(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the control port."""
    async with httpx.AsyncClient(base_url=sandbox.url, timeout=5.0, trust_env=False) as opened:
        yield opened


@pytest.fixture
async def sendgrid(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the imitated SendGrid, with the right key."""
    headers = {"Authorization": "Bearer SG.sandbox"}
    async with httpx.AsyncClient(
        base_url=sandbox.sendgrid_url, headers=headers, timeout=5.0, trust_env=False
    ) as opened:
        yield opened


@pytest.fixture
async def mailgun(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the imitated Mailgun, with the right key."""
    auth = ("api", "key-sandbox")
    async with httpx.AsyncClient(base_url=sandbox.mailgun_url, auth=auth, timeout=5.0, trust_env=False) as opened:
        yield opened


@pytest.fixture
def document() -> Callable[..., dict[str, Any]]:
    """Makes a valid body for SendGrid."""

    def make(mail_id: str = "m-1", to: str = "ann@example.com", **fields: Any) -> dict[str, Any]:
        return {
            "personalizations": [{"to": [{"email": to}], "custom_args": {"mail_id": mail_id}}],
            "from": {"email": "shop@example.org"},
            "subject": "Receipt",
            "content": [{"type": "text/plain", "value": "Thanks"}],
            **fields,
        }

    return make


@pytest.fixture
def form() -> Callable[..., dict[str, str]]:
    """Makes a valid form for Mailgun."""

    def make(mail_id: str = "m-1", to: str = "ann@example.com", **fields: str) -> dict[str, str]:
        return {
            "from": "Shop <shop@example.org>",
            "to": to,
            "subject": "Receipt",
            "text": "Thanks",
            "v:mail_id": mail_id,
            "h:Message-Id": f"<{mail_id}@mg.example.org>",
            **fields,
        }

    return make
