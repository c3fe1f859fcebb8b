"""Asks what became of a mail that may have been sent.

In this order: the same request again under the same key, where the provider
has idempotency keys; its look-up by our id; then time, and the mail's owner.
What the provider tells by itself (its events) settles a doubt without us.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, assert_never

import structlog

from postman.core.doubt import Clear, Found, Hold, Settle, Situation, Wait, next_step
from postman.core.mail import Mail, OnDoubt
from postman.core.protocol import MOST_LAPSES, Claim, Doubtful, Entry
from postman.core.verdict import Ack, DeadLetter, DeadReason, GiveBack, Verdict
from postman.errors import ClaimLostError, LedgerUnavailableError, OutcomeUnknownError, ProviderError
from postman.ports.clock import Clock
from postman.ports.ledger import Ledger
from postman.ports.provider import Provider, Receipt
from postman.runtime.failover import Failover

__all__ = ["Doubts"]

_LOG = structlog.get_logger("postman.doubts")

_LONGEST_REST: Final = 300.0
_MOST_ATTEMPTS: Final = 20
"""After so many claims a key is not repeated any more: the history may have forgotten when it was used first."""
_SKEW: Final = 60.0
"""Seconds that the clocks of two workers may differ."""


class Doubts:
    """Settles doubtful mails by evidence, by time, or by their owner's choice.

    *window* is how many seconds word is waited for where the provider cannot be asked; *lease* is that of the claim
    under which a key is repeated.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        failover: Failover,
        clock: Clock,
        window: float,
        lease: Callable[[], float],
        new_claim_id: Callable[[], str],
    ) -> None:
        self._ledger = ledger
        self._failover = failover
        self._clock = clock
        self._window = window
        self._lease = lease
        self._new_claim_id = new_claim_id

    async def settle(self, mail: Mail, doubt: Doubtful) -> Verdict | None:
        """Return what becomes of the delivery, or None where the mail is free to be claimed again."""
        if doubt.entry.parked:
            return Ack()
        try:
            evidence, renewed = await self._ask(mail, doubt)
        except ClaimLostError:
            return GiveBack(1.0)
        entry = renewed.entry
        case = Situation(
            on_doubt=mail.on_doubt,
            age=renewed.age,
            found=evidence.found,
            look_up_after=evidence.look_up_after,
            window=self._window,
            expires_in=None if mail.expires_at is None else mail.expires_at.timestamp() - self._clock.time(),
        )
        match next_step(case):
            case Settle():
                receipt = evidence.receipt or Receipt(entry.provider, "")
                await self._ledger.settle(mail.id, receipt, evidence=evidence.by)
                _LOG.info(
                    "doubt_settled", mail_id=mail.id, provider=entry.provider, outcome="sent", evidence=evidence.by
                )
                return Ack(entry.provider, mail.send_at.timestamp() if mail.send_at else 0.0)
            case Clear(reason):
                return await self._clear(mail, entry.token, entry.provider, reason)
            case Wait(seconds):
                return GiveBack(max(seconds, _pause_after(doubt, renewed)))
            case Hold():
                return DeadLetter(DeadReason.IN_DOUBT, f"{entry.provider}: {entry.reason}", entry.token)
            case never:
                assert_never(never)

    async def _clear(self, mail: Mail, token: int, provider: str, reason: str) -> Verdict | None:
        try:
            await self._ledger.clear_doubt(mail.id, token=token, reason=reason)
        except ClaimLostError:
            return GiveBack(1.0)
        _LOG.info("doubt_settled", mail_id=mail.id, provider=provider, outcome="free", reason=reason)
        return None

    async def _ask(self, mail: Mail, doubt: Doubtful) -> "tuple[_Evidence, Doubtful]":
        """Return what is known, and the doubt as it is then."""
        provider = self._failover.find(doubt.entry.provider)
        if provider is None:
            return self._of_unknown(doubt), doubt
        if self._knows_key(provider, doubt.entry):
            receipt, doubt = await self._repeat(provider, mail, doubt)
            if receipt is not None:
                return _Evidence(Found.YES, receipt, "repeated key", provider.look_up_after), doubt
        if provider.look_up_after <= 0 or mail.on_doubt is OnDoubt.RESEND:
            return _Evidence(), doubt
        return await self._look_up(provider, mail), doubt

    def _of_unknown(self, doubt: Doubtful) -> "_Evidence":
        """Return what is known where the document has no such provider.

        As long as a later document cannot be read it may be named there, and may have the mail: word of it is then
        always a window away.
        """
        if not self._failover.is_behind:
            return _Evidence()
        return _Evidence(Found.NO_ANSWER, look_up_after=doubt.age)

    def can_repeat(self, entry: Entry) -> bool:
        """Whether the doubt would be settled by sending the mail again under the same key."""
        provider = self._failover.find(entry.provider)
        return provider is not None and self._knows_key(provider, entry)

    def _knows_key(self, provider: Provider, entry: Entry) -> bool:
        """Whether the mail was first given to *provider* so short ago that it recognises it to the end of a request."""
        if entry.lapses >= MOST_LAPSES or entry.attempts > _MOST_ATTEMPTS:
            return False
        named = (note.at for note in entry.history if note.provider == provider.name)
        age = self._clock.time() - min(named, default=entry.since)
        return age + provider.timeout + _SKEW < provider.idempotent_for

    async def _repeat(self, provider: Provider, mail: Mail, doubt: Doubtful) -> tuple[Receipt | None, Doubtful]:
        """Send under the same key. A refusal of the repetition says nothing of the first time: the doubt stays.

        It is a new one, unless the repetition certainly did not arrive.
        """
        entry = doubt.entry
        lease = self._lease()
        ends = self._clock.now() + lease
        claim = await self._ledger.repeat(mail.id, token=entry.token, claim_id=self._new_claim_id(), lease=lease)
        if self._clock.now() + provider.timeout > ends:
            return None, await self._doubt_again(claim, doubt, "no time was left to repeat its key", entry.since)
        try:
            return await provider.send(mail), doubt
        except ProviderError as error:
            _LOG.warning("repetition_failed", mail_id=mail.id, provider=provider.name, problem=error.problem)
            problem, since = error.problem, None if isinstance(error, OutcomeUnknownError) else entry.since
        except asyncio.CancelledError:
            await self._leave_in_doubt(claim)
            raise
        return None, await self._doubt_again(claim, doubt, problem, since)

    async def _doubt_again(self, claim: Claim, doubt: Doubtful, reason: str, since: float | None) -> Doubtful:
        """Put the mail in doubt as of *since*, None for now; return the doubt as it is then."""
        await self._ledger.record_doubt(claim, reason=reason, since=since)
        renewed = replace(doubt.entry, token=claim.token, attempts=claim.attempts)
        return Doubtful(renewed, 0.0 if since is None else doubt.age)

    async def _leave_in_doubt(self, claim: Claim) -> None:
        """Where it fails the claim lapses, which comes to the same."""
        with suppress(ClaimLostError, LedgerUnavailableError):
            await self._ledger.record_doubt(claim, reason="its worker was stopped")

    async def _look_up(self, provider: Provider, mail: Mail) -> "_Evidence":
        try:
            receipt = await provider.look_up(mail)
        except ProviderError as error:
            _LOG.warning("look_up_failed", mail_id=mail.id, provider=provider.name, problem=error.problem)
            return _Evidence(Found.NO_ANSWER, look_up_after=provider.look_up_after)
        found = Found.NO if receipt is None else Found.YES
        return _Evidence(found, receipt, "look-up", provider.look_up_after)


def _pause_after(doubt: Doubtful, renewed: Doubtful) -> float:
    """Let a key that was repeated in vain rest ever longer: its provider is in trouble."""
    return min(_LONGEST_REST, 2.0 ** min(renewed.entry.attempts, 9)) if renewed is not doubt else 0.0


@dataclass(frozen=True, slots=True)
class _Evidence:
    found: Found = Found.UNASKABLE
    receipt: Receipt | None = None
    by: str = ""
    look_up_after: float = 0.0
