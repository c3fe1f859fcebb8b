"""Asks what became of a mail that may have been sent."""

from typing import assert_never

import structlog

from postman.core.doubt import Clear, Found, Hold, Settle, Situation, Wait, next_step
from postman.core.mail import Mail, OnDoubt
from postman.core.protocol import Doubtful
from postman.core.verdict import Ack, DeadLetter, DeadReason, GiveBack, Verdict
from postman.errors import ClaimLostError, ProviderError
from postman.ports.clock import Clock
from postman.ports.ledger import Ledger
from postman.ports.provider import Receipt
from postman.runtime.failover import Failover

__all__ = ["Doubts"]

_LOG = structlog.get_logger("postman.doubts")


class Doubts:
    """Settles doubtful mails by evidence, by time, or by their owner's choice.

    *window* is how many seconds word is waited for where the provider cannot be asked.
    """

    def __init__(self, *, ledger: Ledger, failover: Failover, clock: Clock, window: float) -> None:
        self._ledger = ledger
        self._failover = failover
        self._clock = clock
        self._window = window

    async def settle(self, mail: Mail, doubt: Doubtful) -> Verdict | None:
        """Return what becomes of the delivery, or None where the mail is free to be claimed again."""
        entry = doubt.entry
        if entry.parked:
            return Ack()
        receipt, found, look_up_after = await self._look_up(mail, entry.provider)
        case = Situation(
            on_doubt=mail.on_doubt,
            age=doubt.age,
            found=found,
            look_up_after=look_up_after,
            window=self._window,
            expires_in=None if mail.expires_at is None else mail.expires_at.timestamp() - self._clock.time(),
        )
        match next_step(case):
            case Settle():
                await self._ledger.settle(mail.id, receipt or Receipt(entry.provider, ""), evidence="look-up")
                _LOG.info("doubt_settled", mail_id=mail.id, provider=entry.provider, outcome="sent")
                return Ack()
            case Clear(reason):
                return await self._clear(mail, entry.token, entry.provider, reason)
            case Wait(seconds):
                return GiveBack(seconds)
            case Hold():
                return DeadLetter(DeadReason.IN_DOUBT, f"{entry.provider}: {entry.reason}")
            case never:
                assert_never(never)

    async def _clear(self, mail: Mail, token: int, provider: str, reason: str) -> Verdict | None:
        try:
            await self._ledger.clear_doubt(mail.id, token=token, reason=reason)
        except ClaimLostError:
            return GiveBack(1.0)
        _LOG.info("doubt_settled", mail_id=mail.id, provider=provider, outcome="free", reason=reason)
        return None

    async def _look_up(self, mail: Mail, name: str) -> tuple[Receipt | None, Found, float]:
        provider = self._failover.find(name)
        if provider is None or provider.look_up_after <= 0 or mail.on_doubt is OnDoubt.RESEND:
            return None, Found.UNASKABLE, 0.0
        try:
            receipt = await provider.look_up(mail)
        except ProviderError as error:
            _LOG.warning("look_up_failed", mail_id=mail.id, provider=name, problem=error.problem)
            return None, Found.NO_ANSWER, provider.look_up_after
        return receipt, Found.NO if receipt is None else Found.YES, provider.look_up_after
