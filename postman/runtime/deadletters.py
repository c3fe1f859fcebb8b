"""Dead letters: what lies there and why; sent back, or dropped, by a person's decision.

Looking leases the letters for a moment and gives them back, so two people who
look at once may each see a part. A letter that stands twice (a crash between
its two steps) is shown once and acted upon as one.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import structlog

from postman.core.ids import MailId, is_mail_id
from postman.core.layout import Layout
from postman.core.message import key_of
from postman.core.protocol import State
from postman.core.verdict import DeadReason
from postman.errors import QueueError
from postman.ports.ledger import Ledger
from postman.ports.queue import Delivery, Message, Queue, ShardMap

__all__ = ["Choice", "DeadLetter", "DeadLetters", "Replayed"]

_LOG = structlog.get_logger("postman.dead_letters")

_Told = Callable[[int, int], None]
"""Called with how many are done, and of how many."""

_PULL: Final = 100
_AT_ONCE: Final = 100
"""So many letters are under way at a time."""
_HELD_FOR: Final = 300.0
"""Seconds for which letters are kept from others while they are looked at: enough for hundreds of thousands."""
_MARKS: Final = ("dead_", "CloudPubSubDeadLetter")
_OF_NO_ENTRY: Final = (DeadReason.CONFLICT, DeadReason.MALFORMED)
"""Reasons of letters that are not the mail which the ledger knows by that id."""
_UNTOLD: Final = "delivery attempts exhausted"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One mail among the dead letters, with every copy of it."""

    mail_id: str
    """Empty where the message had none."""
    shard: int
    reason: str
    detail: str
    dead_at: float
    """Seconds since 1970."""
    attempt: int
    message: Message = field(repr=False)
    copies: tuple[Delivery, ...] = field(repr=False, default=())

    @property
    def size(self) -> int:
        return len(self.message.data)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters are meant; an empty field means all."""

    ids: frozenset[str] = frozenset()
    reason: str = ""
    shard: int | None = None

    def includes(self, letter: DeadLetter) -> bool:
        return (not self.ids or letter.mail_id in self.ids) and (not self.reason or letter.reason == self.reason)


@dataclass(frozen=True, slots=True)
class Replayed:
    """How often each thing happened."""

    published: int = 0
    already_sent: int = 0
    held: int = 0
    """Left where they are, since a worker is dead-lettering the mail at this moment: try again in a minute."""


class DeadLetters:
    """Works on all shards, or on the one that is chosen."""

    def __init__(self, *, shards: ShardMap, ledger: Ledger, layout: Layout | None = None) -> None:
        self._shards = shards
        self._layout = layout or Layout.of(shards.count)
        self._ledger = ledger

    async def find(self, choice: Choice) -> Sequence[DeadLetter]:
        """Return the chosen letters, oldest first, and leave them where they are."""
        found = await self._take(choice)
        await self._give_back(found)
        return found

    async def replay(self, choice: Choice, *, reason: str, told: _Told = lambda *_: None) -> Replayed:
        """Send the chosen letters back to their shards, oldest first; those that were sent after all are only dropped.

        The ledger reopens a mail first, then it is published, then its dead letter goes: broken off anywhere, it can be
        run again. *told* hears how many are done, and of how many; first 0.
        """
        ends = await self._each(await self._take(choice), lambda letter: self._replay(letter, reason), told)
        return Replayed(ends["published"], ends["already_sent"], ends["held"])

    async def drop(self, choice: Choice, *, reason: str, told: _Told = lambda *_: None) -> int:
        """Remove the chosen letters for good; return how many. The ledger keeps what it knows of them, and notes that.

        The ledger is told first: broken off anywhere, it can be run again.
        """
        return (await self._each(await self._take(choice), lambda letter: self._drop(letter, reason), told)).total()

    async def _each(
        self, letters: Sequence[DeadLetter], act: Callable[[DeadLetter], Awaitable[str]], told: _Told
    ) -> Counter[str]:
        """Do *act* with each, many at a time, so that stores deal with them in groups; count what it says.

        Where it raises, those that are left are given back.
        """
        left, ends = deque(letters), Counter[str]()
        told(0, len(letters))

        async def work() -> None:
            while left:
                letter = left.popleft()
                try:
                    ends[await act(letter)] += 1
                except BaseException:
                    left.append(letter)
                    raise
                told(ends.total(), len(letters))

        workers = [asyncio.ensure_future(work()) for _ in letters[:_AT_ONCE]]
        try:
            await asyncio.gather(*workers)
        except BaseException:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await asyncio.gather(*(self._give_back([letter]) for letter in left), return_exceptions=True)
            raise
        return ends

    async def _drop(self, letter: DeadLetter, reason: str) -> str:
        if is_mail_id(letter.mail_id) and letter.reason not in _OF_NO_ENTRY:
            await self._ledger.drop(MailId(letter.mail_id), reason=reason)
        await self._remove(letter)
        return "dropped"

    async def _replay(self, letter: DeadLetter, reason: str) -> str:
        """Return what became of it, as a field of `Replayed`."""
        if letter.mail_id and letter.reason not in _OF_NO_ENTRY:
            entry = await self._ledger.reopen(MailId(letter.mail_id), reason=reason)
            state = None if entry is None else entry.state
            if state is State.SENT:
                await self._remove(letter)
                return "already_sent"
            if state is State.IN_DOUBT and letter.reason == DeadReason.IN_DOUBT:
                await self._give_back([letter])
                return "held"
        await self._shards.queue(self._home_of(letter)).publish(_original(letter.message))
        await self._remove(letter)
        return "published"

    def _home_of(self, letter: DeadLetter) -> int:
        if not letter.mail_id and self._layout.takes(letter.shard):
            return letter.shard
        return self._layout.shard_of(letter.mail_id, key_of(letter.message))

    async def _remove(self, letter: DeadLetter) -> None:
        queue = self._shards.dead(letter.shard)
        await asyncio.gather(*(queue.ack(copy) for copy in letter.copies))

    async def _give_back(self, letters: Sequence[DeadLetter]) -> None:
        await asyncio.gather(*(self._shards.dead(one.shard).nack(copy) for one in letters for copy in one.copies))

    async def _take(self, choice: Choice) -> Sequence[DeadLetter]:
        """Take the chosen letters of all shards, or none; a retired one may have been removed, and is passed over."""
        shards = range(self._layout.top) if choice.shard is None else [choice.shard]
        answers = await asyncio.gather(*(self._take_from(shard, choice) for shard in shards), return_exceptions=True)
        taken = [letter for answer in answers if not isinstance(answer, BaseException) for letter in answer]
        for shard, answer in zip(shards, answers, strict=True):
            if isinstance(answer, QueueError) and shard in self._layout.retired and choice.shard is None:
                _LOG.warning("retired_shard_not_read", shard=shard, reason=str(answer))
            elif isinstance(answer, BaseException):
                await self._give_back(taken)
                raise answer
        return sorted(taken, key=lambda letter: letter.dead_at)

    async def _take_from(self, shard: int, choice: Choice) -> Sequence[DeadLetter]:
        queue = self._shards.dead(shard)
        chosen: dict[str, DeadLetter] = {}
        others: list[DeadLetter] = []
        for delivery in await _all_of(queue):
            letter = _letter(delivery, shard)
            key = _key(letter, delivery)
            if not choice.includes(letter):
                others.append(letter)
            elif key in chosen:
                chosen[key] = _joined(chosen[key], letter)
            else:
                chosen[key] = letter
        await self._give_back(others)
        return list(chosen.values())


async def _all_of(queue: Queue) -> list[Delivery]:
    """Take every letter, holding the first ones until the last is there; broken off, give them back."""
    taken: list[Delivery] = []
    try:
        while deliveries := await queue.pull(max_deliveries=_PULL, wait=0.0):
            taken.extend(deliveries)
            await queue.extend(deliveries, _HELD_FOR)
    except BaseException:
        await asyncio.gather(*(queue.nack(delivery) for delivery in taken), return_exceptions=True)
        raise
    return taken


def _letter(delivery: Delivery, shard: int) -> DeadLetter:
    said = delivery.message.attributes
    return DeadLetter(
        mail_id=said.get("mail_id", ""),
        shard=shard,
        reason=said.get("dead_reason", _UNTOLD),
        detail=said.get("dead_detail", ""),
        dead_at=_number(said.get("dead_at"), delivery.published_at),
        attempt=int(_number(said.get("dead_attempt", said.get("CloudPubSubDeadLetterSourceDeliveryCount")), 0)),
        message=delivery.message,
        copies=(delivery,),
    )


def _key(letter: DeadLetter, delivery: Delivery) -> str:
    """Copies are of one mail and one content; without an id every letter is its own."""
    return f"{letter.mail_id} {sha256(letter.message.data).hexdigest()}" if letter.mail_id else delivery.receipt


def _joined(first: DeadLetter, second: DeadLetter) -> DeadLetter:
    newest = max(first, second, key=lambda letter: letter.dead_at)
    return DeadLetter(
        newest.mail_id,
        newest.shard,
        newest.reason,
        newest.detail,
        newest.dead_at,
        newest.attempt,
        newest.message,
        (*first.copies, *second.copies),
    )


def _number(text: str | None, default: float) -> float:
    try:
        return float(text) if text is not None else default
    except ValueError:
        return default


def _original(message: Message) -> Message:
    kept = {name: value for name, value in message.attributes.items() if not name.startswith(_MARKS)}
    return Message(message.data, kept)
