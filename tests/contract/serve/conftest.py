"""A server in the test's own loop, reached over real HTTP; what it works with is in memory."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Final

import httpx
import pytest

from postman.adapters.mailgun_events import MailgunEvents
from postman.adapters.memory import MemorySuppressions
from postman.adapters.sendgrid_events import SendGridEvents
from postman.core.entry import Claimed, Entry
from postman.core.ids import MailId
from postman.core.mail import Mail
from postman.core.shards import shard_for
from postman.entrypoints.serve.access import Access
from postman.entrypoints.serve.intake import Places
from postman.entrypoints.serve.parts import Parts
from postman.entrypoints.serve.running import Listening, listen
from postman.errors import QueueUnavailableError
from postman.ports.events import EventSource
from postman.runtime.receiver import Receiver
from postman.testing.clock import FakeClock
from postman.testing.events import NOW, Signed
from tests.contract.event_posts import MailgunSender, SendGridSender
from tests.unit.runtime.courier_scene import FlakyLedger

GRACE: Final = 5.0


class Office:
    """What stands behind the server, and its client."""

    def __init__(self) -> None:
        self.clock = FakeClock(wall=NOW)
        self.ledger = FlakyLedger(self.clock)
        self.suppressions = MemorySuppressions(self.clock)
        self.sendgrid, self.mailgun = SendGridSender(), MailgunSender()
        self.published: list[Mail] = []
        self.traces: list[Mapping[str, str]] = []
        self.refused: set[str] = set()
        self.has_begun = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.url = ""
        self.client = httpx.AsyncClient(timeout=10.0, trust_env=False)

    def parts(self) -> Parts:
        sources: list[EventSource] = [
            SendGridEvents("sendgrid", [self.sendgrid.public_key]),
            MailgunEvents("mailgun", [self.mailgun.key]),
        ]
        receiver = Receiver(
            ledger=self.ledger, suppressions=self.suppressions, sources=sources, clock=self.clock, kept_for=0.0
        )
        return Parts(
            ledger=self.ledger,
            receiver=receiver,
            publish=self._publish,
            clock=self.clock,
            shard_of=lambda mail_id, _: shard_for(mail_id, 8),
            access=Access(),
            event_places=Places(2, 64_000_000),
            mail_places=Places(2, 64_000_000),
        )

    async def _publish(self, mail: Mail, trace: Mapping[str, str]) -> MailId:
        self.has_begun.set()
        await self.may_go_on.wait()
        if mail.subject in self.refused:
            raise QueueUnavailableError("away")
        self.published.append(mail)
        self.traces.append(trace)
        return mail.id

    async def sending(self, mail_id: str, provider: str = "sendgrid") -> Claimed:
        answer = await self.ledger.claim(MailId(mail_id), claim_id="c", digest="d", provider=provider, lease=60.0)
        assert isinstance(answer, Claimed)
        return answer

    async def entry(self, mail_id: str) -> Entry:
        entry = await self.ledger.find(MailId(mail_id))
        assert entry is not None
        return entry

    async def take(self, provider: str, post: Signed, **headers: str) -> httpx.Response:
        url = f"{self.url}/v1/events/{provider}"
        return await self.client.post(url, content=post.body, headers={**post.headers, **headers})

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", int(self.url.rpartition(":")[2])


@pytest.fixture
def access() -> Access:
    """Nothing but the rule that holds without settings; a test may ask for another."""
    return Access()


@pytest.fixture
async def office(access: Access) -> AsyncIterator[Office]:
    made = Office()
    parts = replace(made.parts(), access=access)
    async with made.client, listen(parts, Listening("127.0.0.1", 0), GRACE) as made.url:
        yield made
