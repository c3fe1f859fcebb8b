"""Takes mails in: pulls from the shards that the layout lets workers read.

An idle worker has a pull open at every shard, so it hears of a mail at once
wherever it lands. A busy one has few places, and asks where the oldest mails
are thought to be. A shard whose last pull was full is asked for many at a time,
the others for a few. A shard that cannot be read is tried again by itself, and
keeps no other waiting.

No pull is ever cancelled: a cancelled pull takes messages along that nobody
sees until their leases end. What a pull brings after the worker was told to
stop, or of a shard that was paused meanwhile, is given back at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Final

import structlog

from postman.core.backoff import Backoff
from postman.core.fleet.reports import ShardWork
from postman.core.selection import Selection
from postman.errors import ConfigError
from postman.ports.clock import Clock
from postman.ports.queue import Delivery, ShardMap
from postman.runtime.following import Following
from postman.runtime.freight import Freight
from postman.runtime.guard import Guard
from postman.runtime.hands import Hands
from postman.runtime.meter import Meter
from postman.runtime.surprise import reason_of
from postman.runtime.tasks import first_of

__all__ = ["Intake"]

_LOG = structlog.get_logger("postman.worker")

_LARGEST_PULL: Final = 100
_LONGEST_PAUSE: Final = 15.0
_RECENT: Final = 3_600.0
"""Seconds for which a shard that brought a mail is reported."""


@dataclass(slots=True)
class _Shard:
    """What is known of a shard. *back_at* is on the clock's scale, the times of *work* are since 1970."""

    waits: Backoff
    places: int = 0
    """What the open pull asks for; 0: none is open."""
    was_full: bool = False
    back_at: float = 0.0
    work: ShardWork = field(default_factory=ShardWork)


class Intake:
    """See the module. *hindrance* is for how many seconds no mail could be sent; 0 or less: one could.

    *rest* waits so long at the most: what ends a hindrance early, and who closes the gate, ends it.
    """

    def __init__(
        self,
        *,
        shards: ShardMap,
        following: Following,
        hands: Hands,
        guard: Guard,
        freight: Freight,
        meter: Meter,
        clock: Clock,
        random: Random,
        hindrance: Callable[[], float],
        rest: Callable[[float], Awaitable[None]],
        concurrency: int,
        pull_wait: float,
        choices: int = 0,
    ) -> None:
        self.turned_at = -inf
        """When the loop last turned, on the clock's scale."""
        self._reached_at = -inf
        self._queues = shards
        self._following = following
        self._hands = hands
        self._guard = guard
        self._freight = freight
        self._meter = meter
        self._clock = clock
        self._random = random
        self._hindrance = hindrance
        self._rest = rest
        self._concurrency = concurrency
        self._pull_wait = pull_wait
        self._selection = Selection(random=random, choices=choices)
        self._shards: dict[int, _Shard] = {}
        self._read: frozenset[int] = frozenset()
        self._without_pull: set[int] = set()
        """Of those that are read, the ones at which no pull is open."""
        self._pulls: set[asyncio.Task[None]] = set()
        self._fatal: ConfigError | None = None
        following.on_change(self._adopt)
        self._adopt()

    @property
    def pulls(self) -> Collection["asyncio.Task[None]"]:
        """Those that are open."""
        return list(self._pulls)

    @property
    def reached_at(self) -> float:
        """When a pull last ended well; minus infinity where the latest one of every shard failed."""
        is_cut_off = all(self._shards[number].waits.failures for number in self._read)
        return -inf if is_cut_off else self._reached_at

    def works(self) -> Mapping[str, ShardWork]:
        """Return how each shard is seen that there is something to say of, by its number."""
        since = self._clock.time() - _RECENT
        return {
            str(number): ShardWork(held, shard.work.pulled_at, shard.work.published_at, shard.work.problem)
            for number, shard in self._shards.items()
            if (held := self._hands.held_of(number)) or shard.work.problem or shard.work.pulled_at >= since
        }

    async def run(self) -> None:
        """Pull until the gate closes; raises `ConfigError` where waiting cannot help."""
        while not self._guard.is_closed:
            self._guard.news.clear()
            if self._fatal:
                raise self._fatal
            self.turned_at = now = self._clock.now()
            shard = self._choose(now)
            if shard is None:
                await self._wait_for_news(now)
            elif (hindered := self._hindrance()) > 0:
                with self._meter.pause():
                    await self._rest(min(hindered, _LONGEST_PAUSE))
            else:
                self._open(shard)

    def _adopt(self) -> None:
        """Read what the layout says; what waits of a shard that is not read any more goes back."""
        self._read = frozenset(self._following.read)
        self._hands.shards = len(self._read)
        for number in self._shards.keys() - self._read:
            self._selection.forget(number)
            self._shards[number].work = ShardWork(0, self._shards[number].work.pulled_at)
            if waiting := self._hands.take_back(number):
                self._spawn(self._hands.give_back(waiting))
        for number in self._read:
            self._shards.setdefault(number, _Shard(Backoff(0.5, longest=_LONGEST_PAUSE, random=self._random.random)))
        self._without_pull = {number for number in self._read if not self._shards[number].places}
        self._guard.news.set()

    def _choose(self, now: float) -> int | None:
        """Return the shard to pull from next; None where there is none, or no room."""
        ahead = self._hands.ahead
        self._guard.capacity = self._concurrency + len(self._read) + ahead
        if not self._guard.free or self._freight.is_full:
            return None
        room = self._hands.most_of()
        takes_many = self._hands.has_place or self._spare() >= max(1, ahead // 2)
        if not takes_many and self._hands.waiting >= ahead:
            return None  # others may have places where these would wait
        candidates = [each for each in self._without_pull if self._may_open(each, room, now, takes_many=takes_many)]
        return self._selection.choose(candidates) if candidates else None

    def _may_open(self, number: int, room: int, now: float, *, takes_many: bool) -> bool:
        """One that has more is asked when a few places are free, not for each that gets free."""
        shard = self._shards[number]
        if shard.back_at > now or self._hands.held_of(number) >= room:
            return False
        return takes_many or not shard.was_full

    def _spare(self) -> int:
        """Return how many places are free, but for one at which each shard without an open pull can be listened to."""
        return self._guard.free - len(self._without_pull)

    def _open(self, number: int) -> None:
        shard = self._shards[number]
        most = _LARGEST_PULL if shard.was_full else self._few()
        most = min(most, self._hands.most_of() - self._hands.held_of(number), 1 + max(0, self._spare()))
        shard.places = self._guard.enter(self._freight.room(most))
        self._without_pull.discard(number)
        with ExitStack() as expecting:
            expecting.enter_context(self._freight.expecting(shard.places))
            self._spawn(self._pull(number, shard, shard.places, expecting.pop_all()))

    def _few(self) -> int:
        """Return for how many a pull asks that only listens."""
        if not self._hands.has_place:
            return 1
        share = max(1, self._concurrency // (2 * len(self._read)))
        return min(share, self._freight.listening_room(len(self._read)))

    async def _pull(self, number: int, shard: _Shard, places: int, expecting: AbstractContextManager[object]) -> None:
        queue = self._queues.queue(number)
        sent_at = self._clock.time()
        deliveries: Sequence[Delivery] = ()
        try:
            with expecting:
                deliveries = await queue.pull(max_deliveries=places, wait=self._pull_wait)
                taken = self._hands.take(number, queue, deliveries)
        except ConfigError as error:
            self._fatal = error
        except Exception as error:  # noqa: BLE001 — one shard's surprise must not stop the others
            self._failed(number, shard, error)
        else:
            self._note(number, shard, places, sent_at, deliveries)
            if self._guard.is_closed or number not in self._read:
                await self._hands.give_back(taken)
            else:
                self._hands.begin(taken)
        finally:
            shard.places = 0
            if number in self._read:
                self._without_pull.add(number)
            self._guard.exit(places - len(deliveries))

    def _note(self, number: int, shard: _Shard, asked: int, sent_at: float, deliveries: Sequence[Delivery]) -> None:
        if shard.waits.failures:
            _LOG.info("pull_recovered", shard=number)
            shard.waits.reset()
        self._reached_at = self._clock.now()
        now = self._clock.time()
        seen = [(delivery.attempt, delivery.published_at) for delivery in deliveries]
        if number in self._read:
            self._selection.pulled(number, asked=asked, sent_at=sent_at, returned_at=now, deliveries=seen)
        shard.was_full = 2 * len(deliveries) >= asked
        work = shard.work
        newest = max((published_at for _, published_at in seen), default=0.0)
        pulled_at = now if deliveries else work.pulled_at
        shard.work = ShardWork(pulled_at=pulled_at, published_at=max(work.published_at, newest))

    def _failed(self, number: int, shard: _Shard, error: Exception) -> None:
        if number not in self._read:
            return  # it may be gone, as a shard that was given up is in the end
        now = self._clock.time()
        self._selection.pulled(number, asked=1, sent_at=now, returned_at=now, deliveries=())
        pause = shard.waits.next()
        shard.back_at = self._clock.now() + pause
        reason = reason_of(error)
        shard.work = ShardWork(0, shard.work.pulled_at, shard.work.published_at, reason["reason"])
        _LOG.error("pull_failed", shard=number, retry_in=round(pause, 1), **reason)

    def _spawn(self, coroutine: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._pulls.add(task)
        task.add_done_callback(self._pulls.discard)

    async def _wait_for_news(self, now: float) -> None:
        """Wait until there may be something to choose that there was not *now*."""
        backs = (self._shards[number].back_at for number in self._without_pull)
        back_at = min((each for each in backs if each > now), default=None)
        if back_at is None:
            await self._guard.news.wait()
        else:
            await first_of(self._guard.news.wait(), self._clock.sleep(back_at - now))
