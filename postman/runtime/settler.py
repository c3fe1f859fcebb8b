"""Carries out verdicts at the queue: ack, give back, dead-letter.

What is to go back into a shard that producers do not fill any more is put into
the one where it belongs now: a shard that is to run empty does so at once.

A dead letter is durable before the message it came from is acked; the ledger
is told in between, so that a crash at any point repeats the step and loses
nothing.
"""

from typing import Final, assert_never

import structlog

from postman.core.ids import MailId
from postman.core.message import key_of
from postman.core.verdict import Ack, DeadLetter, GiveBack, Verdict
from postman.errors import QueueError
from postman.ports.clock import Clock
from postman.ports.ledger import Ledger
from postman.ports.queue import Delivery, Message, ShardMap
from postman.runtime.following import Following
from postman.runtime.surprise import reason_of

__all__ = ["Settler", "dead_letter_of"]

_LOG = structlog.get_logger("postman.settler")

_DETAIL: Final = 1_000
_ADDED: Final = ("CloudPubSub", "googclient_")
"""How the names of attributes begin that a queue added, and does not take."""


class Settler:
    """Settles deliveries; a queue or ledger that fails meanwhile leaves them to come back with their lease."""

    def __init__(self, *, shards: ShardMap, ledger: Ledger, clock: Clock, following: Following | None = None) -> None:
        self._shards = shards
        self._following = following or Following.of(shards, clock)
        self._ledger = ledger
        self._clock = clock

    async def carry_out(self, shard: int, delivery: Delivery, verdict: Verdict) -> None:
        """Do what *verdict* says; what fails is logged."""
        queue = self._shards.queue(shard)
        try:
            match verdict:
                case Ack():
                    await queue.ack(delivery)
                case GiveBack(delay) if delay > 0 and not self._following.layout.takes(shard):
                    await self.move(shard, delivery, delay=delay)
                case GiveBack(delay):
                    await queue.nack(delivery, delay=delay)
                case DeadLetter():
                    await self._dead_letter(shard, delivery, verdict)
                case never:
                    assert_never(never)
        except Exception as error:  # noqa: BLE001 — an outermost step, like the verdict before it
            _LOG.warning("not_settled", **reason_of(error))

    async def move(self, shard: int, delivery: Delivery, *, delay: float) -> None:
        """Put what was delivered from *shard* into the one where it belongs.

        Where that one takes nothing, it is given back for *delay* seconds, and that is logged. Raises `QueueError`
        where *shard* fails.
        """
        message = delivery.message
        home = self._following.layout.shard_of(message.attributes.get("mail_id", ""), key_of(message))
        own = {name: value for name, value in message.attributes.items() if not name.startswith(_ADDED)}
        try:
            await self._shards.queue(home).publish(Message(message.data, own))
        except QueueError as error:
            _LOG.warning("mail_not_moved", shard=shard, home=home, reason=str(error))
            await self._shards.queue(shard).nack(delivery, delay=delay)
        else:
            await self._shards.queue(shard).ack(delivery)

    async def _dead_letter(self, shard: int, delivery: Delivery, verdict: DeadLetter) -> None:
        mail_id = delivery.message.attributes.get("mail_id", "")
        letter = dead_letter_of(delivery, verdict, shard=shard, now=self._clock.time())
        await self._shards.dead(shard).publish(letter)
        if verdict.token is not None:
            await self._ledger.park(MailId(mail_id), token=verdict.token)
        await self._shards.queue(shard).ack(delivery)
        _LOG.warning(
            "dead_lettered",
            mail_id=mail_id,
            reason=str(verdict.reason),
            detail=verdict.detail,
        )


def dead_letter_of(delivery: Delivery, verdict: DeadLetter, *, shard: int, now: float) -> Message:
    """Return the original bytes and attributes, with the reason beside them."""
    return Message(
        delivery.message.data,
        {
            **delivery.message.attributes,
            "dead_reason": str(verdict.reason),
            "dead_detail": verdict.detail.encode()[:_DETAIL].decode(errors="ignore"),
            "dead_at": f"{now:.3f}",
            "dead_shard": str(shard),
            "dead_attempt": str(delivery.attempt),
        },
    )
