"""A ledger with a watch beside it: how long each of its calls takes.

It costs about a microsecond a call, and changes nothing: what the ledger
returns or raises is passed on.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from postman.core.events import MailEvent
from postman.core.ids import MailId
from postman.core.protocol import Answer, Claim, Entry
from postman.ports.clock import Clock
from postman.ports.ledger import Ledger
from postman.ports.provider import Receipt

__all__ = ["WatchedLedger"]

_T = TypeVar("_T")


class WatchedLedger:
    """Calls *told* with the seconds of each call that concerns a mail, when it has ended, well or not."""

    def __init__(self, ledger: Ledger, clock: Clock, told: Callable[[float], None]) -> None:
        self._ledger = ledger
        self._now = clock.now
        self._told = told

    async def claim(
        self,
        mail_id: MailId,
        *,
        claim_id: str,
        digest: str,
        provider: str,
        lease: float,
        recipients: Sequence[str] = (),
    ) -> Answer:
        call = self._ledger.claim(
            mail_id, claim_id=claim_id, digest=digest, provider=provider, lease=lease, recipients=recipients
        )
        return await self._timed(call)

    async def move(self, claim: Claim, provider: str) -> Claim:
        return await self._timed(self._ledger.move(claim, provider))

    async def release(self, claim: Claim, *, reason: str) -> None:
        await self._timed(self._ledger.release(claim, reason=reason))

    async def record_sent(self, claim: Claim, receipt: Receipt) -> None:
        await self._timed(self._ledger.record_sent(claim, receipt))

    async def record_refused(self, claim: Claim, *, reason: str) -> None:
        await self._timed(self._ledger.record_refused(claim, reason=reason))

    async def record_doubt(self, claim: Claim, *, reason: str, since: float | None = None) -> None:
        await self._timed(self._ledger.record_doubt(claim, reason=reason, since=since))

    async def settle(self, mail_id: MailId, receipt: Receipt, *, evidence: str) -> None:
        await self._timed(self._ledger.settle(mail_id, receipt, evidence=evidence))

    async def record_event(self, mail_id: MailId, event: MailEvent) -> Entry | None:
        return await self._timed(self._ledger.record_event(mail_id, event))

    async def repeat(self, mail_id: MailId, *, token: int, claim_id: str, lease: float) -> Claim:
        return await self._timed(self._ledger.repeat(mail_id, token=token, claim_id=claim_id, lease=lease))

    async def clear_doubt(self, mail_id: MailId, *, token: int, reason: str) -> None:
        await self._timed(self._ledger.clear_doubt(mail_id, token=token, reason=reason))

    async def refuse(self, mail_id: MailId, *, digest: str, reason: str, recipients: Sequence[str] = ()) -> Entry:
        return await self._timed(self._ledger.refuse(mail_id, digest=digest, reason=reason, recipients=recipients))

    async def park(self, mail_id: MailId, *, token: int) -> None:
        await self._timed(self._ledger.park(mail_id, token=token))

    async def drop(self, mail_id: MailId, *, reason: str) -> None:
        await self._timed(self._ledger.drop(mail_id, reason=reason))

    async def reopen(self, mail_id: MailId, *, reason: str) -> Entry | None:
        return await self._timed(self._ledger.reopen(mail_id, reason=reason))

    async def find(self, mail_id: MailId) -> Entry | None:
        return await self._timed(self._ledger.find(mail_id))

    async def ensure(self) -> None:
        await self._ledger.ensure()

    async def check(self) -> None:
        await self._ledger.check()

    async def aclose(self) -> None:
        await self._ledger.aclose()

    async def _timed(self, call: Awaitable[_T]) -> _T:
        begun = self._now()
        try:
            return await call
        finally:
            self._told(self._now() - begun)
