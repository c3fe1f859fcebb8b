"""Ways to choose a shard: ours, simple ones, oracles that see the true heads, and ones that see them late."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from random import Random
from typing import Final

from postman.core.selection import Selection, most_of_one_shard
from tests.benchmarks.queues.dispatch import Delays, Fleet, Policy, Pull, Scenario, run

__all__ = ["OURS", "RIVALS", "Contestant", "Late", "Ours", "late", "ours"]


class _Untold:
    """A policy that learns nothing from pulls."""

    def pulled(self, worker: int, pull: Pull) -> None:
        pass


class _Owned(_Untold):
    """Each worker has shards of its own, and goes round them."""

    def __init__(self, fleet: Fleet) -> None:
        scenario = fleet.scenario
        self._own = [
            list(range(worker % scenario.shards, scenario.shards, scenario.workers))
            for worker in range(scenario.workers)
        ]
        self._turn = Counter[int]()

    def choose(self, worker: int, now: float) -> int:
        own = self._own[worker]
        self._turn[worker] += 1
        return own[self._turn[worker] % len(own)]


class _Round(_Untold):
    """Each worker goes round all shards, in the same order or in one that it shuffles for each round."""

    def __init__(self, fleet: Fleet, *, shuffled: bool) -> None:
        self._shards = fleet.scenario.shards
        self._random = fleet.random
        self._shuffled = shuffled
        self._left: list[list[int]] = [[] for _ in range(fleet.scenario.workers)]

    def choose(self, worker: int, now: float) -> int:
        left = self._left[worker]
        if not left:
            left.extend(reversed(range(self._shards)))
            if self._shuffled:
                self._random.shuffle(left)
        return left.pop()


class _AtRandom(_Untold):
    def __init__(self, fleet: Fleet) -> None:
        self._shards = fleet.scenario.shards
        self._random = fleet.random

    def choose(self, worker: int, now: float) -> int:
        return self._random.randrange(self._shards)


class _Oracle(_Untold):
    """Sees the true head of each shard, or of two of them."""

    def __init__(self, fleet: Fleet, *, choices: int) -> None:
        self._fleet = fleet
        self._choices = choices

    def choose(self, worker: int, now: float) -> int:
        return _oldest(self._fleet.random, self._choices, [shard.head(now) for shard in self._fleet.shards])


class Late(_Untold):
    """Sees the true heads as they were some time ago, as a monitoring service shows them."""

    def __init__(self, fleet: Fleet, *, choices: int) -> None:
        self._random = fleet.random
        self._choices = choices
        self._taken: Sequence[float] = [inf] * fleet.scenario.shards
        self._shown: Sequence[float] = self._taken

    def choose(self, worker: int, now: float) -> int:
        return _oldest(self._random, self._choices, self._shown)

    def sample(self, heads: Sequence[float]) -> None:
        """Take a sample; the one before is shown from now on."""
        self._shown, self._taken = self._taken, heads


def _oldest(random: Random, choices: int, heads: Sequence[float]) -> int:
    shards = random.sample(range(len(heads)), choices) if choices else range(len(heads))
    least = min(heads[shard] for shard in shards)
    return random.choice([shard for shard in shards if heads[shard] == least])


class Ours:
    """`Selection` itself: one for each process, which has no second pull at a shard that it is already pulling from."""

    def __init__(self, fleet: Fleet, *, processes: int, choices: int, share: float) -> None:
        scenario = fleet.scenario
        slots = scenario.workers // processes
        self._slots = slots
        self._shards = range(scenario.shards)
        self._selections = [Selection(random=fleet.random, choices=choices) for _ in range(processes)]
        self._open: list[set[int]] = [set() for _ in range(processes)]
        self._held: list[Counter[int]] = [Counter() for _ in range(processes)]
        self._holds: dict[int, int] = {}
        self._most = most_of_one_shard(slots, scenario.shards, share)

    def choose(self, worker: int, now: float) -> int:
        process = worker // self._slots
        held = self._held[process]
        if worker in self._holds:
            held[self._holds.pop(worker)] -= 1
        closed = self._open[process]
        shard = self._selections[process].choose(
            [shard for shard in self._shards if shard not in closed and held[shard] < self._most]
        )
        closed.add(shard)
        return shard

    def pulled(self, worker: int, pull: Pull) -> None:
        process = worker // self._slots
        self._open[process].discard(pull.shard)
        if pull.deliveries:
            self._holds[worker] = pull.shard
            self._held[process][pull.shard] += 1
        self._selections[process].pulled(
            pull.shard,
            asked=pull.asked,
            sent_at=pull.sent_at,
            returned_at=pull.returned_at,
            deliveries=pull.deliveries,
        )


@dataclass(frozen=True, slots=True)
class Contestant:
    """A policy, and what it needs: one queue instead of shards, or a look at the heads from time to time."""

    name: str
    policy: Callable[[Fleet], Policy]
    in_one_queue: bool = False
    look_every: float = inf

    def run(self, scenario: Scenario, *, seconds: float, seed: int) -> Delays:
        if self.in_one_queue:
            scenario = _in_one_queue(scenario)
        look = _sample if self.look_every < inf else None
        return run(scenario, self.policy, seconds=seconds, seed=seed, look=look, look_every=self.look_every)


def late(choices: int, every: float) -> Contestant:
    """Sees samples that are taken *every* so many seconds, and shown one period later."""
    name = "2 choices" if choices else "oldest"
    return Contestant(f"{name}, seen late", lambda fleet: Late(fleet, choices=choices), look_every=every)


def ours(choices: int, processes: int, *, share: float = 1.0) -> Contestant:
    """Our selection in *processes*, without a limit for one shard's mails unless *share* says so."""
    among = f"{choices} and memory" if choices else "all"
    return Contestant(
        f"ours of {among}, processes: {processes}",
        lambda fleet: Ours(fleet, processes=processes, choices=choices, share=share),
    )


def _sample(fleet: Fleet, policy: Policy, now: float) -> None:
    assert isinstance(policy, Late)
    policy.sample([shard.head(now) for shard in fleet.shards])


def _in_one_queue(scenario: Scenario) -> Scenario:
    return replace(scenario, shards=1)


RIVALS: Final[Mapping[str, Contestant]] = {
    one.name: one
    for one in (
        Contestant("one queue", _AtRandom, in_one_queue=True),
        Contestant("static owner", _Owned),
        Contestant("round robin", lambda fleet: _Round(fleet, shuffled=False)),
        Contestant("round robin, reshuffled", lambda fleet: _Round(fleet, shuffled=True)),
        Contestant("random", _AtRandom),
        Contestant("2 choices, oracle", lambda fleet: _Oracle(fleet, choices=2)),
        Contestant("oldest, oracle", lambda fleet: _Oracle(fleet, choices=0)),
        late(2, 60.0),
        late(0, 60.0),
    )
}

OURS: Final[Mapping[str, Contestant]] = {
    one.name: one for one in (ours(choices, processes) for choices in (0, 2) for processes in (8, 2, 1))
}
