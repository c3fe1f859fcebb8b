"""A ledger made of one primitive: run a pure transition atomically.

An adapter gives `_apply`; where it has a quicker way for a common step it
overrides that method and falls back on this one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from postman.core import protocol
from postman.core.events import MailEvent
from postman.core.ids import MailId
from postman.core.protocol import Answer, Claim, Entry, Step
from postman.ports.provider import Receipt

__all__ = ["Transition", "TransitionLedger"]

_T = TypeVar("_T")

Transition = Callable[[Entry | None, float], Step[_T]]


class TransitionLedger(ABC):
    """See the module; the methods are those of `postman.ports.ledger.Ledger`."""

    @abstractmethod
    async def _apply(self, mail_id: MailId, transition: Transition[_T]) -> _T:
        """Read the entry, run *transition* with the server's time, write what it returns: all of it, or nothing.

        What the transition raises is raised, and nothing is written. May run it again after a conflict.
        """

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
        return await self._apply(
            mail_id,
            lambda entry, now: protocol.claim(
                entry,
                now,
                mail_id=mail_id,
                digest=digest,
                claim_id=claim_id,
                provider=provider,
                lease=lease,
                recipients=recipients,
            ),
        )

    async def move(self, claim: Claim, provider: str) -> Claim:
        moved = await self._apply(
            claim.mail_id, lambda entry, now: protocol.move(entry, now, claim=claim, provider=provider)
        )
        return replace(moved, version=None)

    async def release(self, claim: Claim, *, reason: str) -> None:
        await self._apply(claim.mail_id, lambda entry, now: protocol.release(entry, now, claim=claim, reason=reason))

    async def record_sent(self, claim: Claim, receipt: Receipt) -> None:
        await self.settle(claim.mail_id, receipt, evidence="answer")

    async def record_refused(self, claim: Claim, *, reason: str) -> None:
        await self._apply(claim.mail_id, lambda entry, now: protocol.refuse(entry, now, claim=claim, reason=reason))

    async def record_doubt(self, claim: Claim, *, reason: str, since: float | None = None) -> None:
        await self._apply(
            claim.mail_id, lambda entry, now: protocol.doubt(entry, now, claim=claim, reason=reason, since=since)
        )

    async def settle(self, mail_id: MailId, receipt: Receipt, *, evidence: str) -> None:
        await self._apply(
            mail_id,
            lambda entry, now: protocol.sent(
                entry, now, provider=receipt.provider, message_id=receipt.message_id, evidence=evidence
            ),
        )

    async def record_event(self, mail_id: MailId, event: MailEvent) -> Entry | None:
        return await self._apply(mail_id, lambda entry, now: protocol.happened(entry, now, event=event))

    async def repeat(self, mail_id: MailId, *, token: int, claim_id: str, lease: float) -> Claim:
        return await self._apply(
            mail_id,
            lambda entry, now: protocol.repeat(
                entry, now, mail_id=mail_id, token=token, claim_id=claim_id, lease=lease
            ),
        )

    async def clear_doubt(self, mail_id: MailId, *, token: int, reason: str) -> None:
        await self._apply(mail_id, lambda entry, now: protocol.clear_doubt(entry, now, token=token, reason=reason))

    async def refuse(self, mail_id: MailId, *, digest: str, reason: str, recipients: Sequence[str] = ()) -> Entry:
        return await self._apply(
            mail_id,
            lambda entry, now: protocol.refuse_unclaimed(
                entry, now, digest=digest, reason=reason, recipients=recipients
            ),
        )

    async def park(self, mail_id: MailId, *, token: int) -> None:
        await self._apply(mail_id, lambda entry, now: protocol.park(entry, now, token=token))

    async def drop(self, mail_id: MailId, *, reason: str) -> None:
        await self._apply(mail_id, lambda entry, now: protocol.drop(entry, now, reason=reason))

    async def reopen(self, mail_id: MailId, *, reason: str) -> Entry | None:
        return await self._apply(mail_id, lambda entry, now: protocol.reopen(entry, now, reason=reason))

    async def find(self, mail_id: MailId) -> Entry | None:
        return await self._apply(mail_id, lambda entry, _: Step(entry, entry))
