"""Workers that pull mails from shards, as a simulation of discrete events in which a batch is one event.

Mails arrive at random moments. A worker has one thing to do at a time: it chooses a shard, pulls up to a batch of its
oldest mails, waits a while if there is none, and sends what it got one by one. What is measured is how long a mail lay
before its sending began. Nothing is charged for many workers on one queue, which is fair on Pub/Sub and not elsewhere.
"""

from array import array
from bisect import bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import Final, Protocol

__all__ = ["PULL", "SERVICE", "Delays", "Fleet", "Policy", "Pull", "Scenario", "Shard", "run"]

SERVICE: Final = 0.02
"""Seconds in which a mail is sent."""
PULL: Final = 0.03
"""Seconds that a pull takes where there are mails."""
_ACK_DEADLINE: Final = 60.0
_POISON_RESTS: Final = 10.0
_POISON_SHARD: Final = 0

Mail = tuple[float, int, bool]
"""When it was published, the number of this delivery, and whether sending it always fails."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A situation. Shard 0 is the hot, the poisoned and the slow one."""

    name: str
    shards: int = 16
    workers: int = 8
    load: float = 0.8
    """Of what the workers could send if they never pulled."""
    batch: int = 50
    hot: float = 0.0
    """Shard 0's share of the mails; 0: the same as the others'."""
    wait: float = 1.0
    """Seconds that a pull waits at an empty shard."""
    listens: bool = False
    """Whether a worker whose shard is empty waits at all of them."""
    dies: bool = False
    """Whether a worker dies after two thirds of the time, with what it holds."""
    poison: int = 0
    """Mails that always fail, published into shard 0 after a fifth of the time."""
    short: float = 0.0
    """The share of the pulls that bring but a part of what is there."""
    in_order: bool = True
    """Whether a shard hands out its oldest mails first, or any: Pub/Sub promises no order."""
    slow: float = SERVICE
    """Seconds in which a mail of shard 0 is sent."""

    @property
    def counts_others_only(self) -> bool:
        """Whether shard 0 is what harms, and the delays of the others are what matters."""
        return self.shards > 1 and (self.poison > 0 or self.slow > SERVICE)


@dataclass(frozen=True, slots=True)
class Pull:
    """What a policy is told of a pull: each delivery's attempt, and when its mail was published."""

    shard: int
    asked: int
    sent_at: float
    returned_at: float
    deliveries: Sequence[tuple[int, float]]


class Policy(Protocol):
    def choose(self, worker: int, now: float) -> int: ...

    def pulled(self, worker: int, pull: Pull) -> None: ...


class Shard:
    """A queue: mails that arrive by themselves, and those that come back. With *random* it hands out any of them."""

    def __init__(self, arrivals: list[float], random: Random | None = None) -> None:
        self._arrivals = arrivals
        self._random = random
        self._next = 0
        self._away: list[tuple[float, Mail]] = []
        self._back: list[Mail] = []

    def give_back(self, mail: Mail, ready_at: float) -> None:
        """Hand *mail* out again from *ready_at* on."""
        heappush(self._away, (ready_at, mail))

    def head(self, now: float) -> float:
        """Return when the oldest mail that is here was published; infinite if there is none."""
        self._return(now)
        head = self._arrivals[self._next] if self._next < len(self._arrivals) else inf
        back = min(self._back, default=(inf, 0, False)) if self._random else next(iter(self._back), (inf, 0, False))
        return min(head if head <= now else inf, back[0])

    def next_at(self) -> float:
        """Return when the next mail will be here; a time that has passed if one is."""
        coming = self._arrivals[self._next] if self._next < len(self._arrivals) else inf
        back = self._back[0][0] if self._back else inf
        return min(coming, back, self._away[0][0] if self._away else inf)

    def take(self, most: int, now: float) -> list[Mail]:
        """Take up to *most* mails."""
        self._return(now)
        if self._random:
            return [self._draw(self._random) for _ in range(min(most, len(self._back)))]
        start = self._next
        end = bisect_right(self._arrivals, now, start, min(start + most, len(self._arrivals)))
        found = [(published, 1, False) for published in self._arrivals[start:end]]
        if self._back:
            found = sorted([*self._back[:most], *found])[:most]
            again = sum(mail[1] > 1 or mail[2] for mail in found)
            del self._back[:again]
            end = start + len(found) - again
        self._next = end
        return found

    def left(self, now: float) -> Sequence[float]:
        """Return when the mails that arrived and were never taken were published."""
        back = [published for published, attempt, fails in self._back if attempt == 1 and not fails]
        return [*back, *self._arrivals[self._next : bisect_right(self._arrivals, now)]]

    def _return(self, now: float) -> None:
        while self._away and self._away[0][0] <= now:
            insort(self._back, heappop(self._away)[1])
        if self._random:
            end = bisect_right(self._arrivals, now, self._next)
            self._back.extend((published, 1, False) for published in self._arrivals[self._next : end])
            self._next = end

    def _draw(self, random: Random) -> Mail:
        """Take any of the mails that are here; their order does not matter."""
        place = int(random.random() * len(self._back))
        self._back[place], self._back[-1] = self._back[-1], self._back[place]
        return self._back.pop()


class Delays:
    """When mails were published, and how many seconds each lay before it was sent, or until the end if it was not."""

    def __init__(self) -> None:
        self.published = array("d")
        self.seconds = array("d")

    def add(self, published: Sequence[float], seconds: Sequence[float]) -> None:
        self.published.extend(published)
        self.seconds.extend(seconds)

    @property
    def mean(self) -> float:
        return sum(self.seconds) / len(self.seconds)

    @property
    def worst(self) -> float:
        return max(self.seconds)

    def quantile(self, share: float) -> float:
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a policy may be made from; only an oracle looks into the shards."""

    scenario: Scenario
    shards: Sequence[Shard]
    random: Random


def run(
    scenario: Scenario,
    policy: Callable[[Fleet], Policy],
    *,
    seconds: float,
    seed: int,
    look: Callable[[Fleet, Policy, float], None] | None = None,
    look_every: float = inf,
) -> Delays:
    """Simulate *seconds*. *look*, if given, is called at the beginning and every *look_every* seconds."""
    random = Random(seed)
    any_order = None if scenario.in_order else random
    shards = [Shard(arrivals, any_order) for arrivals in _arrivals(scenario, seconds, random)]
    for _ in range(scenario.poison):
        published = seconds / 5
        shards[_POISON_SHARD].give_back((published, 1, True), published)
    fleet = Fleet(scenario, shards, random)
    simulation = _Simulation(fleet, policy(fleet), seconds)
    simulation.run(look, look_every)
    return simulation.delays


def _arrivals(scenario: Scenario, seconds: float, random: Random) -> list[list[float]]:
    rate = scenario.load * scenario.workers / SERVICE
    arrivals: list[list[float]] = [[] for _ in range(scenario.shards)]
    hot = scenario.hot if scenario.hot and scenario.shards > 1 else 1 / scenario.shards
    now = random.expovariate(rate)
    while now < seconds:
        cold = scenario.shards > 1 and random.random() >= hot
        arrivals[1 + int(random.random() * (scenario.shards - 1)) if cold else 0].append(now)
        now += random.expovariate(rate)
    return arrivals


@dataclass(frozen=True, slots=True)
class _Request:
    """A pull that waits at the queue."""

    shard: int
    sent_at: float
    until: float


@dataclass(frozen=True, slots=True)
class _Answer:
    """A pull on its way back."""

    request: _Request
    source: int
    """The shard of the mails: another than was asked where the worker listens at all."""
    mails: list[Mail]


class _Simulation:
    def __init__(self, fleet: Fleet, policy: Policy, seconds: float) -> None:
        self._fleet, self._policy, self._seconds = fleet, policy, seconds
        self._scenario, self._shards, self._random = fleet.scenario, fleet.shards, fleet.random
        self._dies_at = seconds * 2 / 3 if self._scenario.dies else inf
        self._requests: dict[int, _Request] = {}
        self._answers: dict[int, _Answer] = {}
        self._events: list[tuple[float, int, int]] = []
        self._numbered = 0
        self.delays = Delays()

    def run(self, look: Callable[[Fleet, Policy, float], None] | None, look_every: float) -> None:
        next_look = 0.0 if look else inf
        for worker in range(self._scenario.workers):
            self._call(worker, self._random.random() * PULL)
        while self._events and self._events[0][0] < self._seconds:
            now, _, worker = heappop(self._events)
            while look and next_look <= now:
                look(self._fleet, self._policy, next_look)
                next_look += look_every
            if worker == 0 and now >= self._dies_at:
                self._bury(now)
            else:
                self._turn_of(worker, now)
        self._count_the_left()

    def _call(self, worker: int, at: float) -> None:
        self._numbered += 1
        heappush(self._events, (at, self._numbered, worker))

    def _turn_of(self, worker: int, now: float) -> None:
        if worker in self._answers:
            self._receive(worker, self._answers.pop(worker), now)
            return
        if worker not in self._requests:
            shard = self._policy.choose(worker, now)
            self._requests[worker] = _Request(shard, now, now + self._scenario.wait)
        self._serve(worker, self._requests[worker], now)

    def _serve(self, worker: int, request: _Request, now: float) -> None:
        """Answer at once if there are mails, or the request has waited for long enough."""
        found, source = self._take(request.shard, now)
        if not found and now < request.until:
            self._call(worker, min(request.until, self._next_at(request.shard)))
            return
        del self._requests[worker]
        self._answers[worker] = _Answer(request, source, found)
        self._call(worker, now + PULL)

    def _receive(self, worker: int, answer: _Answer, now: float) -> None:
        """Tell the policy, and send what was got. A worker that listens tells it of its own shard only."""
        shard = answer.request.shard
        told = [(attempt, published) for published, attempt, _ in answer.mails] if answer.source == shard else []
        self._policy.pulled(worker, Pull(shard, self._scenario.batch, answer.request.sent_at, now, told))
        self._call(worker, self._send(answer.source, worker, answer.mails, now))

    def _take(self, shard: int, now: float) -> tuple[list[Mail], int]:
        most = self._scenario.batch
        if self._scenario.short and self._random.random() < self._scenario.short:
            most = self._random.randint(1, most)
        found = self._shards[shard].take(most, now)
        if found or not self._scenario.listens:
            return found, shard
        oldest = min(range(len(self._shards)), key=lambda other: self._shards[other].next_at())
        return self._shards[oldest].take(most, now), oldest

    def _next_at(self, shard: int) -> float:
        if self._scenario.listens:
            return min(one.next_at() for one in self._shards)
        return self._shards[shard].next_at()

    def _send(self, shard: int, worker: int, mails: list[Mail], now: float) -> float:
        """Send *mails* one by one, and return when that is done."""
        each = self._scenario.slow if shard == 0 else SERVICE
        sent = mails
        if worker == 0 and now + each * len(mails) > self._dies_at:
            sent = mails[: max(0, int((self._dies_at - now) / each))]
            for published, attempt, fails in mails[len(sent) :]:
                self._shards[shard].give_back((published, attempt + 1, fails), now + _ACK_DEADLINE)
        if shard == _POISON_SHARD and self._scenario.poison:
            self._give_poison_back(shard, sent, now)
        if not (shard == 0 and self._scenario.counts_others_only):
            good = [(published, now + place * each) for place, (published, _, fails) in enumerate(sent) if not fails]
            self.delays.add([published for published, _ in good], [begun - published for published, begun in good])
        return now + each * len(mails)

    def _bury(self, now: float) -> None:
        """What is on its way to the worker that died comes back later; its process sees a pull that failed."""
        answer = self._answers.pop(0, None)
        request = answer.request if answer else self._requests.pop(0, None)
        if request:
            self._policy.pulled(0, Pull(request.shard, self._scenario.batch, request.sent_at, now, ()))
        if answer:
            for published, attempt, fails in answer.mails:
                self._shards[answer.source].give_back((published, attempt + 1, fails), now + _ACK_DEADLINE)

    def _give_poison_back(self, shard: int, mails: list[Mail], now: float) -> None:
        for place, (published, attempt, fails) in enumerate(mails, 1):
            if fails:
                self._shards[shard].give_back((published, attempt + 1, True), now + place * SERVICE + _POISON_RESTS)

    def _count_the_left(self) -> None:
        for shard, queue in enumerate(self._shards):
            if not (shard == 0 and self._scenario.counts_others_only):
                left = queue.left(self._seconds)
                self.delays.add(left, [self._seconds - published for published in left])
