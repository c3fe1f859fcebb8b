"""All policies in all situations: a table of delays, and what must be true of it."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean
from typing import Final

from tests.benchmarks.queues.dispatch import Delays, Scenario
from tests.benchmarks.queues.policies import OURS, RIVALS, Contestant, ours

__all__ = ["SCENARIOS", "Cell", "Claim", "claims", "experiments", "measure", "table"]

SCENARIOS: Final[Mapping[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        Scenario("even 80 %"),
        Scenario("even 95 %", load=0.95),
        Scenario("hot 40 %", hot=0.4),
        Scenario("hot 40 %, 10 a pull", hot=0.4, batch=10),
        Scenario("hot 70 %", hot=0.7),
        Scenario("dead worker", dies=True),
        Scenario("poison storm", poison=5000),
        Scenario("hot 40 %, short pulls", hot=0.4, short=0.3),
        Scenario("hot 70 %, any order", hot=0.7, in_order=False),
    )
}


@dataclass(frozen=True, slots=True)
class Cell:
    """Seconds that mails waited: on average, 99 of 100 at the most, all at the most."""

    mean: float
    most: float
    worst: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} / {self.most:.1f} / {self.worst:.0f}"


@dataclass(frozen=True, slots=True)
class Claim:
    """What must be true of a table."""

    says: str
    is_true: bool


Table = Mapping[tuple[str, str], Cell]
"""By situation and contestant."""


def measure(scenario: Scenario, contestant: Contestant, *, seconds: float, seeds: int, seed: int) -> Cell:
    """Run *contestant* in *scenario* for *seconds*, *seeds* times."""
    runs = [_run(scenario, contestant, seconds, seed, number) for number in range(seeds)]
    return Cell(
        fmean(run.mean for run in runs), fmean(run.quantile(0.99) for run in runs), max(run.worst for run in runs)
    )


def _run(scenario: Scenario, contestant: Contestant, seconds: float, seed: int, number: int) -> Delays:
    return contestant.run(scenario, seconds=seconds, seed=Random(f"{seed} {number} {scenario.name}").getrandbits(48))


def table(cells: Table) -> Iterator[str]:
    """Return the lines of *cells* for a page."""
    situations = list(dict.fromkeys(situation for situation, _ in cells))
    yield f"| policy | {' | '.join(situations)} |"
    yield "|---" * (len(situations) + 1) + "|"
    for name in dict.fromkeys(name for _, name in cells):
        yield f"| {name} | {' | '.join(str(cells[situation, name]) for situation in situations)} |"


def claims(cells: Table) -> Iterator[Claim]:
    """Judge the order of the policies in each situation."""
    mean: Callable[[str, str], float] = lambda situation, name: cells[situation, name].mean  # noqa: E731 — a short name for a table
    in_8, in_2, in_1 = list(OURS)[:3]
    for even in ("even 80 %", "even 95 %"):
        yield _rising(even, mean, "one queue", "oldest, oracle", "2 choices, oracle", in_8, "round robin")
        yield _rising(even, mean, in_1, in_2, in_8)
        yield _rising(even, mean, in_8, "random", "2 choices, seen late", "oldest, seen late")
        yield _rising(even, mean, "static owner", "round robin, reshuffled", "random", "round robin")
    for name in OURS:
        yield from _ours(mean, name)
    yield _far("hot 40 %, 10 a pull", mean, in_8, "2 choices, oracle")
    yield _far("hot 70 %", mean, in_1, "2 choices, oracle", by=2.0)
    yield _far("poison storm", mean, "2 choices, oracle", "oldest, oracle")
    yield _far("dead worker", mean, in_8, "static owner", by=1.5)
    for hot in ("hot 40 %", "hot 40 %, 10 a pull", "hot 70 %"):
        yield _rising(hot, mean, "one queue", "oldest, oracle", in_8, "round robin, reshuffled", "static owner")


def _ours(mean: Callable[[str, str], float], name: str) -> Iterator[Claim]:
    for hot in ("hot 40 %", "hot 40 %, 10 a pull", "hot 70 %", "hot 40 %, short pulls", "hot 70 %, any order"):
        yield _far(hot, mean, name, "static owner")
        yield _far(hot, mean, name, "random", by=2.0)
    yield _far("poison storm", mean, name, "one queue", by=10.0)
    yield _rising("dead worker", mean, name, "random")


def _rising(situation: str, mean: Callable[[str, str], float], *names: str) -> Claim:
    values = [mean(situation, name) for name in names]
    says = " < ".join(f"{name} {value:.2f}" for name, value in zip(names, values, strict=True))
    return Claim(f"{situation}: {says}", all(left < right for left, right in itertools.pairwise(values)))


def _far(situation: str, mean: Callable[[str, str], float], name: str, other: str, *, by: float = 3.0) -> Claim:
    mine, theirs = mean(situation, name), mean(situation, other)
    return Claim(f"{situation}: {name} {mine:.2f} is {by:g} times better than {other} {theirs:.2f}", by * mine < theirs)


def experiments(*, seconds: float, seeds: int, seed: int) -> Iterator[tuple[str, Sequence[tuple[str, Cell]], Claim]]:
    """Measure what is not a matter of the policy: the limit for one shard, and where an idle worker listens."""

    def of(scenario: Scenario, share: float = 1.0, processes: int = 1) -> Cell:
        contestant = ours(0, processes, share=share)
        return measure(scenario, contestant, seconds=seconds, seeds=seeds, seed=seed)

    for load in (0.6, 0.8):
        hot = Scenario(f"hot 70 %, load {load:.0%}", hot=0.7, load=load)
        free, held = of(hot), of(hot, 0.5)
        rows = [("no limit", free), ("one shard has half of the workers", held)]
        diverges = load * 0.7 > 0.5
        says = "the limit lets the hot shard's backlog grow" if diverges else "the limit costs little"
        yield hot.name, rows, Claim(f"{hot.name}: {says}", (held.mean > 5 * free.mean) == diverges)
    slow = Scenario("slow shard, the others", load=0.4, slow=1.0)
    free, held = of(slow), of(slow, 0.5)
    rows = [("no limit", free), ("one shard has half of the workers", held)]
    yield slow.name, rows, Claim(f"{slow.name}: the limit keeps the others going", 5 * held.mean < free.mean)
    idle = Scenario("64 shards, 2 workers, 10 mails/s", shards=64, workers=2, load=0.1, wait=20.0)
    everywhere = Scenario(idle.name, shards=64, workers=2, load=0.1, wait=20.0, listens=True)
    one, every = of(idle, processes=2), of(everywhere, processes=2)
    rows = [("waits 20 s at one shard", one), ("listens at all", every)]
    yield idle.name, rows, Claim(f"{idle.name}: listening at all is 50 times better", 50 * every.mean < one.mean)


CONTESTANTS: Final[Mapping[str, Contestant]] = {**RIVALS, **OURS}
