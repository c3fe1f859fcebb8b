"""The worker to which mails are pushed: each comes with a request, and waits for its answer.

It is the worker without a pull. Courier, hands and settler are the same, and so
are the ledger, the router and the outcomes; a worker that pulls may work beside
it on the same shards.

Two things differ. The lease of a pushed mail cannot be extended, so no claim is
begun that could last longer than the queue waits for the answer, and no mail is
kept in hand while it cannot be sent. And nothing waits for a place: who comes
when all are taken is told so at once.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import count
from math import inf
from random import Random
from typing import Final

import structlog

from postman.core.mail import Mail
from postman.core.message import key_of
from postman.core.verdict import Ack, GiveBack, Verdict
from postman.errors import ConfigError
from postman.ports.clock import Clock
from postman.ports.ledger import Ledger
from postman.ports.queue import Delivery, ShardMap
from postman.ports.tasting import Taster
from postman.runtime.companion import Companion
from postman.runtime.courier import Courier, Limits
from postman.runtime.doubts import Doubts
from postman.runtime.failover import Failover
from postman.runtime.following import Following
from postman.runtime.freight import BUDGET, Freight
from postman.runtime.guard import Guard
from postman.runtime.hands import Hands, Tally
from postman.runtime.lease import LeaseKeeper
from postman.runtime.meter import Meter
from postman.runtime.pushed import Answer, Answers, Pushed, PushedShards
from postman.runtime.settler import Settler
from postman.runtime.tasks import first_of

__all__ = ["Busy", "PushSettings", "PushWorker", "check_timeout", "limits_for"]

_LOG = structlog.get_logger("postman.worker")

_LAST_WORDS: Final = 1.5
"""Of *grace*, the seconds kept for recording what did not end."""
_ANSWERING: Final = 1.0
"""Seconds before the end of the lease: an answer needs some time to arrive."""
_MARGIN: Final = 3.0
"""Seconds that the calls to the ledger around an attempt may take."""
_MOMENT: Final = 1.0

_CLAIMS_UNTIL: ContextVar[float] = ContextVar("postman_claims_until", default=inf)
"""Until when the mail that is being dealt with may be claimed."""


@dataclass(frozen=True, slots=True)
class Busy:
    """No place is free: another process may have one, and so may this one after *delay* seconds."""

    delay: float = _MOMENT


@dataclass(frozen=True, slots=True)
class PushSettings:
    """Times in seconds."""

    ack_deadline: float = 30.0
    """How long the queue waits for an answer, at the least."""
    concurrency: int = 50
    """Mails in flight at the most."""
    grace: float = 8.0
    doubt_window: float = 600.0
    memory: int = BUDGET
    """Bytes of messages that are held, see `Freight`."""


def limits_for(failover: Failover, ack_deadline: float) -> Limits:
    """Return how long a claim of a pushed mail may take: two attempts, if the queue waits for so long."""
    timeout = failover.longest_timeout
    longest = max(ack_deadline - _ANSWERING, timeout + _MARGIN)
    budget = min(2 * timeout + _MARGIN, longest)
    return Limits(lease=budget + _MARGIN, budget=budget)


def check_timeout(longest: float, ack_deadline: float) -> None:
    """Raise `ConfigError` where the queue does not wait long enough for an attempt of *longest* seconds."""
    least = longest + _MARGIN + _ANSWERING
    if ack_deadline < least:
        raise ConfigError(
            f"POSTMAN_ACK_DEADLINE: {ack_deadline:g} s are too few for pushed mails: the time-out of the slowest "
            f"provider takes {least:g} s with what is around it"
        )


class _AnsweringSettler(Settler):
    """Settles, and leaves no request without an answer, whatever fails."""

    def __init__(
        self, answers: Answers, *, shards: ShardMap, ledger: Ledger, clock: Clock, following: Following
    ) -> None:
        super().__init__(shards=shards, ledger=ledger, clock=clock, following=following)
        self._answers = answers

    async def carry_out(self, shard: int, delivery: Delivery, verdict: Verdict) -> None:
        try:
            await super().carry_out(shard, delivery, verdict)
        finally:
            self._answers.conclude(delivery)


class PushWorker:
    """See the module. `run` goes on beside the requests until `stop`; without it none is dealt with.

    *objection* and *taster* are as the worker's. Used from one event loop.
    """

    def __init__(
        self,
        *,
        shards: ShardMap,
        ledger: Ledger,
        failover: Failover,
        clock: Clock,
        settings: PushSettings,
        new_claim_id: Callable[[], str],
        objection: Callable[[Mail], str] = lambda _: "",
        random: Random | None = None,
        companions: Sequence[Companion] = (),
        taster: Taster | None = None,
        following: Following | None = None,
    ) -> None:
        random = random or Random()  # noqa: S311 — spreads load, guards nothing
        self._ledger = ledger
        self._failover = failover
        self._clock = clock
        self._settings = settings
        self._companions = companions
        self._following = following or Following.of(shards, clock)
        self._guard = Guard(settings.concurrency)
        self._answers = Answers()
        self._shards = PushedShards(shards, self._answers)
        self._ready = asyncio.Event()
        self._numbers = count(1)
        meter = Meter(clock, failover.past)
        doubts = Doubts(
            ledger=ledger,
            failover=failover,
            clock=clock,
            window=settings.doubt_window,
            lease=lambda: self.limits.lease,
            new_claim_id=new_claim_id,
        )
        courier = Courier(
            ledger=ledger,
            failover=failover,
            doubts=doubts,
            clock=clock,
            limits=lambda: self.limits,
            new_claim_id=new_claim_id,
            is_draining=self._must_go_back,
            objection=objection,
            others_send=lambda _: True,  # or so it is taken: a mail in hand would keep its request waiting
            taster=taster,
            meter=meter,
            random=random,
        )
        self._hands = Hands(
            courier=courier,
            settler=_AnsweringSettler(
                self._answers, shards=self._shards, ledger=ledger, clock=clock, following=self._following
            ),
            leases=LeaseKeeper(seconds=settings.ack_deadline, clock=clock),
            freight=Freight(settings.memory),
            guard=self._guard,
            meter=meter,
            clock=clock,
            random=random,
            concurrency=settings.concurrency,
            share=1.0,
        )

    @property
    def limits(self) -> Limits:
        """Return how long a claim may take, by the providers that there are now."""
        return limits_for(self._failover, self._settings.ack_deadline)

    @property
    def in_flight(self) -> int:
        """How many mails are being dealt with."""
        return self._hands.in_flight

    @property
    def tally(self) -> Tally:
        """What it did since it started."""
        return self._hands.tally

    def stop(self) -> None:
        """Take no more, and let `run` return when what is under way has ended; calling it twice is fine."""
        self._guard.close()
        self._failover.wake_all()

    async def run(self) -> None:
        """Be there for requests until `stop`, then drain within *grace* seconds."""
        await first_of(self._get_ready(), self._guard.wait_until_closed())
        beside = [asyncio.create_task(each) for each in self._beside()]
        self._ready.set()
        try:
            await self._guard.wait_until_closed()
            await self._drain()
        finally:
            self.stop()
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        _LOG.info("push_worker_stopped", **self.tally.verdicts)

    async def deal_with(self, pushed: Pushed) -> Answer | Busy:
        """Return what the queue shall be told about *pushed*, before its lease ends.

        Where the lease ends first, the mail goes on being dealt with, and its next delivery hears of the outcome.
        """
        delivery = self._delivery(pushed)
        until = pushed.lease_ends - _ANSWERING
        with self._answers.expecting(delivery) as answer:
            await first_of(self._ready.wait(), self._guard.wait_until_closed(), self._sleep_until(until))
            has_begun = await self._begin(self._shard_of(pushed), delivery, until)
            await first_of(asyncio.wait([answer]), self._sleep_until(until))
            told = answer.result() if answer.done() else GiveBack(_MOMENT)
            return told if has_begun or told == Ack() else Busy()

    async def _begin(self, shard: int, delivery: Delivery, until: float) -> bool:
        """Deal with *delivery*, or give it back at once; False where that is for want of a place."""
        queue = self._shards.queue(shard)
        if self._guard.is_closed or not self._ready.is_set():
            await queue.nack(delivery)
        elif (hindered := max(self._hands.ledger_away_for, self._failover.wait())) > 0:
            await queue.nack(delivery, delay=hindered)
        elif not self._guard.enter(1):
            await queue.nack(delivery)
            return False
        else:
            _CLAIMS_UNTIL.set(until - self.limits.budget)
            self._hands.begin(self._hands.take(shard, queue, [delivery]))
            if waiting := self._hands.take_back():  # there is no memory for it beside the others
                await self._hands.give_back(waiting)
                return False
        return True

    def _must_go_back(self) -> bool:
        return self._guard.is_closed or self._clock.now() >= _CLAIMS_UNTIL.get()

    def _delivery(self, pushed: Pushed) -> Delivery:
        receipt = str(next(self._numbers))
        return Delivery(pushed.message, receipt, pushed.attempt, pushed.lease_ends, pushed.published_at)

    def _shard_of(self, pushed: Pushed) -> int:
        if pushed.shard is not None:
            return pushed.shard
        message = pushed.message
        return self._following.layout.shard_of(message.attributes.get("mail_id", ""), key_of(message))

    async def _sleep_until(self, moment: float) -> None:
        await self._clock.sleep(moment - self._clock.now())

    async def _get_ready(self) -> None:
        await asyncio.gather(self._following.try_to_look(), *(each.get_ready() for each in self._companions))

    def _beside(self) -> Sequence[Coroutine[object, object, None]]:
        """Return what goes on while mails are dealt with."""
        return [self._following.run(), *(each.run() for each in self._companions)]

    async def _drain(self) -> None:
        _LOG.info("push_worker_draining", in_flight=self.in_flight)
        last_words = min(_LAST_WORDS, self._settings.grace / 4)
        await first_of(self._all_ended(), self._clock.sleep(self._settings.grace - last_words))
        self._hands.break_off()
        await first_of(self._all_ended(), self._clock.sleep(last_words))

    async def _all_ended(self) -> None:
        while pending := self._hands.running:
            await asyncio.wait(pending)
