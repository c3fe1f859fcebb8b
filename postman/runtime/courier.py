"""Deals with one delivery: decode, claim, send, record.

The order is the point. The ledger names the provider before the request leaves;
*sent* is written only after the provider accepted; the queue is told last. What
happens at which outcome is the table in `docs/design.md`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final, assert_never

import structlog

from postman.core.backoff import Backoff
from postman.core.events import recipient_tags
from postman.core.ids import MailId, is_mail_id
from postman.core.mail import Mail, OnDoubt
from postman.core.protocol import (
    MOST_LAPSES,
    Answer,
    Claim,
    Claimed,
    Conflict,
    Doubtful,
    Held,
    Poisonous,
    Settled,
    State,
)
from postman.core.shelf import OWN_REASONS
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
from postman.ports.tasting import Taster
from postman.runtime.doubts import Doubts
from postman.runtime.failover import Failover, Leave
from postman.runtime.meter import Meter, Span
from postman.runtime.settled import verdict_of
from postman.runtime.suspects import Suspects

__all__ = ["Courier", "Limits"]

_LOG = structlog.get_logger("postman.courier")

_LONGEST_DELAY: Final = 600.0
_PATIENCE: Final = 60.0
_STAY: Final = 0.5
"""So long a mail waits for room at the provider that works, before it goes elsewhere."""
_MOMENT: Final = 5.0
_LOOK_AGAIN: Final = 0.25
"""Seconds after which a mail that waits for room looks again by itself."""
_LONGEST_HOLD: Final = 600.0
"""So long a mail is kept in hand while all providers are down, where it is not known how other workers do."""
_LONGEST_REST: Final = 60.0
_PAUSE: Final = 0.2
_ROUNDS: Final = 3
_CRASHED: Final = f"{DeadReason.POISON}: {MOST_LAPSES} workers ended, or stood still, while they had it"


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
        limits: Callable[[], Limits],
        new_claim_id: Callable[[], str],
        is_draining: Callable[[], bool],
        objection: Callable[[Mail], str] = lambda _: "",
        others_send: Callable[[float], bool | None] = lambda _: None,
        taster: Taster | None = None,
        meter: Meter | None = None,
        random: Random | None = None,
    ) -> None:
        self._ledger = ledger
        self._failover = failover
        self._doubts = doubts
        self._clock = clock
        self._limits = limits
        self._new_claim_id = new_claim_id
        self._is_draining = is_draining
        self._objection = objection
        self._others_send = others_send
        self._suspects = Suspects(ledger, taster)
        self._random = random or Random()  # noqa: S311 — spreads load, guards nothing
        self._meter = meter or Meter(clock, failover.past)

    async def deal_with(self, delivery: Delivery) -> Verdict:
        """Return what becomes of *delivery*; its mail is sent by then, or not, as the ledger says.

        Raises `LedgerUnavailableError` when something other than an acceptance could not be recorded: the delivery
        comes back, and the ledger then says what to do.
        """
        if harm := await self._suspects.harm_of(delivery):
            return await self._unreadable(delivery, DeadLetter(DeadReason.POISON, harm))
        try:
            mail = decode_message(delivery.message)
        except InvalidMailError as error:
            return await self._unreadable(delivery, DeadLetter(DeadReason.MALFORMED, str(error)))
        if (early := mail.due_in(self._clock.time())) > 0:
            return GiveBack(min(early, _LONGEST_DELAY))
        content = digest(mail)
        if await self._suspects.has_lapsed(delivery, mail):
            return await self._deal_alone(mail, content)
        return await self._rounds(mail, content) or await self._deal_alone(mail, content)

    async def _deal_alone(self, mail: Mail, content: str) -> Verdict:
        """Deal with a suspect; while no provider takes anything it keeps nobody else from being the one alone."""
        begun = self._clock.now()
        while self._failover.wait() > 0 and self._may_hold(begun):
            await self._failover.rest(min(_MOMENT, self._failover.wait()))
        async with self._suspects.alone(mail) as is_alone:
            return (is_alone and await self._rounds(mail, content)) or GiveBack(1.0)

    async def _rounds(self, mail: Mail, content: str) -> Verdict | None:
        """Claim and send, a few times where that helps; None where the mail turns out to be one that goes alone."""
        begun, again, rounds = self._clock.now(), _Again(""), 0
        while rounds < _ROUNDS:
            outcome = await self._round(mail, content, again.avoid)
            if not isinstance(outcome, _Again):
                return outcome
            again = outcome
            if again.rest == 0:
                rounds += 1
            elif self._may_hold(begun) and not self._suspects.is_alone(mail):
                await self._failover.rest(again.rest)
            else:
                return GiveBack(again.rest)
        return GiveBack(1.0)

    async def _round(self, mail: Mail, content: str, avoid: str) -> "Verdict | _Again | None":
        """Claim and send once."""
        if (reason := self._reason_against(mail)) and (verdict := await self._refuse_unsent(mail, content, reason)):
            return verdict
        try:
            leave = await self._find_place(mail, avoid)
        except NoProviderError as none:
            return GiveBack(0.0 if self._is_draining() else min(none.retry_after, _LONGEST_DELAY))
        with self._meter.begin(leave.provider) as span:
            return await self._with_place(mail, content, leave, span, avoid=avoid)

    async def _with_place(
        self, mail: Mail, content: str, leave: Leave, span: Span, *, avoid: str
    ) -> "Verdict | _Again | None":
        limits = self._limits()
        deadline = self._clock.now() + limits.budget
        try:
            answer = await self._claim(mail, content, leave.provider, limits.lease)
        except BaseException:
            self._failover.give_back(leave)
            raise
        if isinstance(answer, Claimed):
            return await self._send_unless_suspect(mail, answer.claim, leave, deadline, span)
        span.drop()
        self._failover.give_back(leave)
        if isinstance(answer, Settled | Held | Conflict):
            self._meter.past.prevented()
        match answer:
            case Settled(entry):
                return verdict_of(entry)
            case Held(seconds):
                return GiveBack(min(seconds + 0.1, _LONGEST_DELAY))
            case Conflict():
                return DeadLetter(DeadReason.CONFLICT, "its id stands for another content")
            case Doubtful(entry):
                goes_alone = entry.lapses > 0 and not self._suspects.is_alone(mail)
                if goes_alone and self._doubts.can_repeat(entry):
                    return None
                return await self._doubts.settle(mail, answer) or (None if goes_alone else _Again(avoid))
            case Poisonous():
                return await self._refuse_unsent(mail, content, _CRASHED) or GiveBack(1.0)
            case never:
                assert_never(never)

    async def _claim(self, mail: Mail, content: str, provider: str, lease: float) -> Answer:
        """Claim, once more where the answer was lost; a claim that nobody will use is given back."""
        claim = partial(
            self._ledger.claim,
            mail.id,
            claim_id=self._new_claim_id(),
            digest=content,
            provider=provider,
            lease=lease,
            recipients=recipient_tags(mail),
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

    async def _send_unless_suspect(
        self, mail: Mail, claim: Claim, leave: Leave, deadline: float, span: Span
    ) -> "Verdict | _Again | None":
        if not claim.lapses or self._suspects.is_alone(mail):
            return await self._send(mail, claim, leave, deadline, span)
        span.drop()
        self._failover.give_back(leave)
        try:
            await self._ledger.release(claim, reason="a worker ended with it: it goes alone")
        except ClaimLostError:
            return GiveBack(1.0)
        return None

    async def _send(self, mail: Mail, claim: Claim, leave: Leave, deadline: float, span: Span) -> "Verdict | _Again":
        current = claim

        async def name_next(provider: str) -> None:
            nonlocal current
            current = await self._ledger.move(current, provider)
            span.move(provider)
            self._meter.past.moved()

        try:
            receipt = await self._failover.send(mail, leave, deadline=deadline, on_move=name_next)
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
        if not receipt.is_recorded:
            await self._record_sent(current, receipt)
        _LOG.info("sent", mail_id=mail.id, provider=receipt.provider, message_id=receipt.message_id)
        return Ack(receipt.provider, mail.send_at.timestamp() if mail.send_at else 0.0)

    async def _record_sent(self, claim: Claim, receipt: Receipt) -> None:
        """Insist, also a last time when the worker is stopped: here lies the gap that nobody can close."""
        try:
            await self._insist_on(claim, receipt)
        except asyncio.CancelledError:
            await self._try_once(self._ledger.record_sent(claim, receipt))
            raise

    async def _insist_on(self, claim: Claim, receipt: Receipt) -> None:
        waits = Backoff(0.1, longest=5.0, random=self._random.random)
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
        return DeadLetter(DeadReason.REFUSED, detail, claim.token, by=error.provider)

    async def _released(self, claim: Claim, none: NoProviderError) -> "Verdict | _Again":
        """Let a mail that fails everywhere rest ever longer, or it alone would keep every breaker open."""
        try:
            await self._ledger.release(claim, reason=str(none))
        except ClaimLostError:
            return GiveBack(1.0)
        if self._is_draining():
            return GiveBack(0.0)
        rest = min(_LONGEST_REST, 2.0 ** min(claim.attempts - 1, 6))
        if rest < _MOMENT or self._failover.wait() > 0:
            return _Again("", rest)
        return GiveBack(min(max(none.retry_after, rest), _LONGEST_DELAY))

    async def _unknown(self, mail: Mail, claim: Claim, problem: str) -> "Verdict | _Again":
        """Leave the mail in doubt; where its owner chose speed, it is cleared and sent elsewhere at once."""
        _LOG.warning("in_doubt", mail_id=claim.mail_id, provider=claim.provider, problem=problem)
        try:
            await self._ledger.record_doubt(claim, reason=problem)
        except ClaimLostError:
            return GiveBack(1.0)
        self._meter.past.doubted()
        if self._is_draining():
            return GiveBack(0.0)
        return _Again(claim.provider) if mail.on_doubt is OnDoubt.RESEND else GiveBack(1.0)

    async def _unreadable(self, delivery: Delivery, letter: DeadLetter) -> Verdict:
        """An unreadable mail binds no content: a valid one with its id is still sent."""
        mail_id = delivery.message.attributes.get("mail_id", "")
        reason = f"{letter.reason}: {letter.detail}" if letter.reason in OWN_REASONS else letter.detail
        if is_mail_id(mail_id):
            await self._ledger.refuse(MailId(mail_id), digest="", reason=reason)
        return letter

    def _reason_against(self, mail: Mail) -> str:
        """Return why *mail* shall not be sent any more; empty where it shall."""
        return str(DeadReason.EXPIRED) if mail.has_expired(self._clock.time()) else self._objection(mail)

    async def _refuse_unsent(self, mail: Mail, content: str, reason: str) -> Verdict | None:
        """Refuse a mail that nobody is sending; None where somebody may have sent it, so that it must be claimed."""
        entry = await self._ledger.refuse(mail.id, digest=content, reason=reason, recipients=recipient_tags(mail))
        if entry.state is State.REFUSED and entry.digest == content:
            return verdict_of(entry)
        if entry.state is State.SENT and entry.digest == content:
            return Ack()
        return None

    async def _find_place(self, mail: Mail, avoid: str) -> Leave:
        """Take a place at a provider, waiting where they are only busy, or down for everybody."""
        begun = self._clock.now()
        while True:
            is_patient = self._clock.now() < begun + _STAY
            try:
                return self._failover.choose(mail, avoid=avoid, is_patient=is_patient)
            except NoProviderError as none:
                is_brief = none.retry_after <= _MOMENT and self._clock.now() < begun + _PATIENCE
                is_useless = self._is_draining() or mail.has_expired(self._clock.time())
                may_hold = self._may_hold(begun) and not self._suspects.is_alone(mail)
                if is_useless or not (is_brief or may_hold):
                    raise
                await self._failover.wait_for_room(max(_LOOK_AGAIN, min(none.retry_after, _MOMENT)))

    def _may_hold(self, since: float) -> bool:
        """Whether a mail that no provider can take is kept in hand, as since *since*, which burns no delivery attempt.

        Not where another worker might send it: then it goes back.
        """
        if self._is_draining() or self._failover.local_fault:
            return False
        held_for = self._clock.now() - since
        others_send = self._others_send(self._clock.time() - held_for)
        return held_for < _LONGEST_HOLD if others_send is None else not others_send

    async def _try_once(self, recording: Awaitable[None]) -> None:
        """Where it fails the claim lapses, and the next worker puts the mail in doubt."""
        try:
            await recording
        except (ClaimLostError, LedgerUnavailableError) as error:
            _LOG.warning("not_recorded", reason=str(error))


@dataclass(frozen=True, slots=True)
class _Again:
    """The mail can be claimed anew after *rest* seconds in hand, and should rather not go to the provider *avoid*."""

    avoid: str
    rest: float = 0.0
