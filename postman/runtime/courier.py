"""Deals with one delivery: decode, claim, send, record.

The order is the point. The ledger names the provider before the request leaves;
*sent* is written only after the provider accepted; the queue is told last. What
happens at which outcome is the table in `docs/design.md`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, assert_never

import structlog

from postman.core.backoff import Backoff
from postman.core.ids import MailId, is_mail_id
from postman.core.mail import Mail, OnDoubt
from postman.core.protocol import Answer, Claim, Claimed, Conflict, Doubtful, Entry, Held, Settled, State
from postman.core.verdict import Ack, DeadLetter, DeadReason, GiveBack, Verdict
from postman.core.wire import decode_message, digest
from postman.errors import (
    ClaimLostError,
    InvalidMailError,
    LedgerUnavailableError,
    MailRejectedError,
    NoProviderError,
    OutcomeUnknownError,
)
from postman.ports.clock import Clock
from postman.ports.ledger import Ledger
from postman.ports.provider import Receipt
from postman.ports.queue import Delivery
from postman.runtime.doubts import Doubts
from postman.runtime.failover import Failover, Leave
from postman.runtime.meter import Meter, Span

__all__ = ["Courier", "Limits"]

_LOG = structlog.get_logger("postman.courier")

_LONGEST_DELAY: Final = 600.0
_PATIENCE: Final = 60.0
_STAY: Final = 0.5
"""So long a mail waits for room at the provider that works, before it goes elsewhere."""
_MOMENT: Final = 5.0
_LOOK_AGAIN: Final = 0.25
"""Also how soon a mail that waits for a provider sees that the worker drains."""
_LONGEST_REST: Final = 60.0
_PAUSE: Final = 0.2
_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """How long one claim may take, in seconds."""

    lease: float
    """A claim is its worker's alone for so long."""
    budget: float
    """All attempts of one claim together; shorter than *lease*, so that no request is under way when it ends."""


class Courier:
    """See the module; one for each worker, dealing with many deliveries at a time."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        failover: Failover,
        doubts: Doubts,
        clock: Clock,
        limits: Limits,
        new_claim_id: Callable[[], str],
        is_draining: Callable[[], bool],
        meter: Meter | None = None,
    ) -> None:
        self._ledger = ledger
        self._failover = failover
        self._doubts = doubts
        self._clock = clock
        self._limits = limits
        self._new_claim_id = new_claim_id
        self._is_draining = is_draining
        self._meter = meter or Meter(clock)

    async def deal_with(self, delivery: Delivery) -> Verdict:
        """Return what becomes of *delivery*; its mail is sent by then, or not, as the ledger says.

        Raises `LedgerUnavailableError` when something other than an acceptance could not be recorded: the delivery
        comes back, and the ledger then says what to do.
        """
        try:
            mail = decode_message(delivery.message)
        except InvalidMailError as error:
            return await self._malformed(delivery, error)
        if (early := mail.due_in(self._clock.time())) > 0:
            return GiveBack(min(early, _LONGEST_DELAY))
        content = digest(mail)
        again = _Again("")
        for _ in range(_ROUNDS):
            outcome = await self._round(mail, content, again.avoid)
            if not isinstance(outcome, _Again):
                return outcome
            again = outcome
        return GiveBack(1.0)

    async def _round(self, mail: Mail, content: str, avoid: str) -> "Verdict | _Again":
        """Claim and send once."""
        if mail.has_expired(self._clock.time()) and (verdict := await self._expired(mail, content)):
            return verdict
        try:
            leave = await self._find_place(mail, avoid)
        except NoProviderError as none:
            return GiveBack(0.0 if self._is_draining() else min(none.retry_after, _LONGEST_DELAY))
        with self._meter.begin(leave.provider) as span:
            return await self._with_place(mail, content, leave, span, avoid=avoid)

    async def _with_place(
        self, mail: Mail, content: str, leave: Leave, span: Span, *, avoid: str
    ) -> "Verdict | _Again":
        begun = self._clock.now()
        try:
            answer = await self._claim(mail.id, content, leave.provider)
        except BaseException:
            self._failover.give_back(leave)
            raise
        if isinstance(answer, Claimed):
            return await self._send(mail, answer.claim, leave, begun, span)
        span.drop()
        self._failover.give_back(leave)
        match answer:
            case Settled(entry):
                return _settled(entry)
            case Held(seconds):
                return GiveBack(min(seconds + 0.1, _LONGEST_DELAY))
            case Conflict():
                return DeadLetter(DeadReason.CONFLICT, "its id stands for another content", parks=False)
            case Doubtful():
                return await self._doubts.settle(mail, answer) or _Again(avoid)
            case never:
                assert_never(never)

    async def _claim(self, mail_id: MailId, content: str, provider: str) -> Answer:
        """Claim, once more where the answer was lost; a claim that nobody will use is given back."""
        claim = partial(
            self._ledger.claim,
            mail_id,
            claim_id=self._new_claim_id(),
            digest=content,
            provider=provider,
            lease=self._limits.lease,
        )
        try:
            return await self._twice(claim)
        except asyncio.CancelledError:
            await self._try_once(self._unclaim(claim))
            raise

    async def _twice(self, claim: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            return await claim()
        except LedgerUnavailableError:
            await self._clock.sleep(_PAUSE)
            return await claim()

    async def _unclaim(self, claim: Callable[[], Awaitable[Answer]]) -> None:
        answer = await claim()
        if isinstance(answer, Claimed):
            await self._ledger.release(answer.claim, reason="its worker was stopped")

    async def _send(self, mail: Mail, claim: Claim, leave: Leave, begun: float, span: Span) -> "Verdict | _Again":
        current = claim

        async def name_next(provider: str) -> None:
            nonlocal current
            current = await self._ledger.move(current, provider)
            span.move(provider)

        try:
            receipt = await self._failover.send(mail, leave, deadline=begun + self._limits.budget, on_move=name_next)
        except MailRejectedError as error:
            return await self._refused(current, error)
        except NoProviderError as none:
            return await self._released(current, none)
        except OutcomeUnknownError as error:
            return await self._unknown(mail, current, error.problem)
        except ClaimLostError:
            return GiveBack(1.0)
        except LedgerUnavailableError:
            await self._try_once(self._ledger.release(current, reason="the ledger could not be reached"))
            raise
        except asyncio.CancelledError:
            await self._try_once(self._ledger.record_doubt(current, reason="its worker was stopped"))
            raise
        await self._record_sent(current, receipt)
        _LOG.info("sent", mail_id=mail.id, provider=receipt.provider, message_id=receipt.message_id)
        return Ack()

    async def _record_sent(self, claim: Claim, receipt: Receipt) -> None:
        """Insist, also a last time when the worker is stopped: here lies the gap that nobody can close."""
        try:
            await self._insist_on(claim, receipt)
        except asyncio.CancelledError:
            await self._try_once(self._ledger.record_sent(claim, receipt))
            raise

    async def _insist_on(self, claim: Claim, receipt: Receipt) -> None:
        waits = Backoff(0.1, longest=5.0)
        while True:
            try:
                return await self._ledger.record_sent(claim, receipt)
            except LedgerUnavailableError as error:
                _LOG.error(
                    "sent_but_not_recorded",
                    mail_id=claim.mail_id,
                    provider=receipt.provider,
                    message_id=receipt.message_id,
                    reason=str(error),
                )
                await self._clock.sleep(waits.next())

    async def _refused(self, claim: Claim, error: MailRejectedError) -> Verdict:
        detail = str(error)
        try:
            await self._ledger.record_refused(claim, reason=detail)
        except ClaimLostError:
            return GiveBack(1.0)
        return DeadLetter(DeadReason.REFUSED, detail)

    async def _released(self, claim: Claim, none: NoProviderError) -> Verdict:
        """Let a mail that fails everywhere rest ever longer, or it alone would keep every breaker open."""
        try:
            await self._ledger.release(claim, reason=str(none))
        except ClaimLostError:
            return GiveBack(1.0)
        if self._is_draining():
            return GiveBack(0.0)
        rest = min(_LONGEST_REST, 2.0 ** min(claim.attempts - 1, 6))
        return GiveBack(min(max(none.retry_after, rest), _LONGEST_DELAY))

    async def _unknown(self, mail: Mail, claim: Claim, problem: str) -> "Verdict | _Again":
        """Leave the mail in doubt; where its owner chose speed, it is cleared and sent elsewhere at once."""
        _LOG.warning("in_doubt", mail_id=claim.mail_id, provider=claim.provider, problem=problem)
        try:
            await self._ledger.record_doubt(claim, reason=problem)
        except ClaimLostError:
            return GiveBack(1.0)
        if self._is_draining():
            return GiveBack(0.0)
        return _Again(claim.provider) if mail.on_doubt is OnDoubt.RESEND else GiveBack(1.0)

    async def _malformed(self, delivery: Delivery, error: InvalidMailError) -> Verdict:
        """An undecodable mail binds no content: a valid one with its id is still sent."""
        mail_id = delivery.message.attributes.get("mail_id", "")
        if is_mail_id(mail_id):
            await self._ledger.refuse(MailId(mail_id), digest="", reason=str(error))
        return DeadLetter(DeadReason.MALFORMED, str(error), parks=False)

    async def _expired(self, mail: Mail, content: str) -> Verdict | None:
        entry = await self._ledger.refuse(mail.id, digest=content, reason=str(DeadReason.EXPIRED))
        if entry.state is State.REFUSED and entry.digest == content:
            return Ack() if entry.parked else DeadLetter(_reason_of(entry), entry.reason)
        if entry.state is State.SENT and entry.digest == content:
            return Ack()
        return None

    async def _find_place(self, mail: Mail, avoid: str) -> Leave:
        """Take a place at a provider, waiting where they are only busy, or down for a moment."""
        begun = self._clock.now()
        until = begun + _PATIENCE
        while True:
            is_patient = self._clock.now() < begun + _STAY
            try:
                return self._failover.choose(mail, avoid=avoid, is_patient=is_patient)
            except NoProviderError as none:
                if self._is_draining() or none.retry_after > _MOMENT or self._clock.now() > until:
                    raise
                await self._failover.wait_for_room(min(none.retry_after, _LOOK_AGAIN))

    async def _try_once(self, recording: Awaitable[None]) -> None:
        """Where it fails the claim lapses, and the next worker puts the mail in doubt."""
        try:
            await recording
        except (ClaimLostError, LedgerUnavailableError) as error:
            _LOG.warning("not_recorded", reason=str(error))


@dataclass(frozen=True, slots=True)
class _Again:
    """The mail can be claimed anew, and should rather not go to the provider *avoid*."""

    avoid: str


def _settled(entry: Entry) -> Verdict:
    if entry.state is State.SENT or entry.parked:
        return Ack()
    return DeadLetter(_reason_of(entry), entry.reason)


def _reason_of(entry: Entry) -> DeadReason:
    return DeadReason.EXPIRED if entry.reason == DeadReason.EXPIRED else DeadReason.REFUSED
