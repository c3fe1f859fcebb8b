"""How soon a bad worker is found, and how often a good one is accused: the judgement on simulated fleets.

    python -m tests.benchmarks.fleet --hours 5000

Every run takes fresh seeds, and prints the one from which they come; `--seed` repeats a run.
"""

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from math import inf
from random import Random, SystemRandom
from statistics import median
from sys import stdout
from time import perf_counter

from postman.core.fleet import Health, judge
from tests.unit.core.fleet.simulator import EPOCH, WINDOW, FleetSimulation, Setup, Trouble

__all__ = ["CASES", "Case", "Outcome", "find_fault", "watch_healthy"]

_BAD = frozenset({Health.SLOW, Health.STALLED, Health.IDLE_WITH_BACKLOG})
_GIVE_UP = 900.0
_MISSED = inf
_HOUR = 3600.0
_LOADS = (0.01, 0.05, 0.2, 0.5, 1.3)
_SIGMAS = (0.8, 1.4)
_CHUNK = 1.0
"""Hours of a fleet that one process simulates at a time."""


@dataclass(frozen=True, slots=True)
class Case:
    """A situation, made anew by each seed, and the factor of the bad worker: 1 is none, infinity hangs."""

    name: str
    setup: Callable[[Random], Setup]
    factor: float = 1.0


@dataclass(slots=True)
class Outcome:
    """What happened in one simulation."""

    delays: list[float] = field(default_factory=list)
    """Seconds from the first end of the bad worker's window after its fault to its judgement."""
    hours: float = 0.0
    """Hours of healthy workers that were watched."""
    accused: int = 0
    """Healthy workers that became bad in a judgement."""
    fleet_slow: int = 0
    """Times that the fleet was said to be slow."""
    left: int = 0
    """Times that a healthy worker was told to leave."""

    def add(self, other: "Outcome") -> None:
        self.delays += other.delays
        self.hours += other.hours
        self.accused += other.accused
        self.fleet_slow += other.fleet_slow
        self.left += other.left


class _Watch:
    """Counts accusations of the workers that are well, each when it begins."""

    def __init__(self, simulation: FleetSimulation, outcome: Outcome) -> None:
        self._simulation, self._outcome = simulation, outcome
        self._bad: set[str] = set()
        self._fleet_slow = False
        self._told: set[str] = set()
        self._began = simulation.now

    def look(self, guilty: str = "") -> set[str]:
        """Judge now, and return the workers that are bad."""
        found = judge(self._simulation.reports(), now=EPOCH + self._simulation.now)
        bad = {worker for worker, one in found.workers.items() if one.health in _BAD}
        told = set(found.leave)
        self._outcome.accused += len(bad - self._bad - {guilty})
        self._outcome.left += len(told - self._told - {guilty})
        self._outcome.fleet_slow += bool(found.fleet_slow) and not self._fleet_slow
        self._bad, self._told, self._fleet_slow = bad, told, bool(found.fleet_slow)
        return bad

    def finish(self, workers: int) -> None:
        self._outcome.hours += workers * (self._simulation.now - self._began) / _HOUR


def watch_healthy(case: Case, seed: int, hours: float) -> Outcome:
    """Watch a fleet that is well for *hours* and look whenever a worker has reported."""
    random = Random(seed)
    simulation = FleetSimulation(case.setup(random), random)
    outcome = Outcome()
    watch = _Watch(simulation, outcome)
    while simulation.now < hours * _HOUR:
        simulation.advance()
        watch.look()
    watch.finish(len(simulation.workers))
    return outcome


def find_fault(case: Case, seed: int) -> Outcome:
    """Make a worker slow, or hang, after some minutes, and wait until it is found."""
    random = Random(seed)
    simulation = FleetSimulation(case.setup(random), random)
    outcome = Outcome()
    watch = _Watch(simulation, outcome)
    _run(simulation, watch, random.uniform(300, 420))
    guilty = random.choice(simulation.workers)
    guilty.factor = case.factor
    after = simulation.now
    first = guilty.next_window
    while simulation.now < after + _GIVE_UP:
        simulation.advance()
        if guilty.name in watch.look(guilty.name) and simulation.now >= first:
            outcome.delays.append(simulation.now - first)
            break
    else:
        outcome.delays.append(_MISSED)
    watch.finish(len(simulation.workers) - 1)
    return outcome


def _run(simulation: FleetSimulation, watch: _Watch, until: float) -> None:
    while simulation.now < until:
        simulation.advance()
        watch.look()


@dataclass(frozen=True, slots=True)
class _Fixed:
    """A setup that is the same for each seed; unlike a lambda it can be sent to another process."""

    setup: Setup

    def __call__(self, _: Random) -> Setup:
        return self.setup


def _pairs(
    workers: int,
    load: float = 0.2,
    sigma: float = 1.4,
    *,
    staggered: bool = True,
    late: float = 0.0,
    trouble: Trouble | None = None,
) -> _Fixed:
    homes = tuple(("sendgrid", "mailgun")[index % 2] for index in range(workers))
    return _Fixed(Setup(homes=homes, load=load, sigma=sigma, staggered=staggered, late=late, trouble=trouble))


def _single(workers: int, sigma: float = 1.4, *, mean: float = 0.3, trouble: Trouble | None = None) -> _Fixed:
    homes = ("sendgrid",) * workers
    return _Fixed(Setup(homes=homes, means={"sendgrid": mean}, sigma=sigma, trouble=trouble))


@dataclass(frozen=True, slots=True)
class _Weighted:
    """Homes chosen by the weights 3 and 1."""

    workers: int
    sigma: float

    def __call__(self, random: Random) -> Setup:
        homes = random.choices(("sendgrid", "mailgun"), (3, 1), k=self.workers)
        return Setup(homes=tuple(homes), sigma=self.sigma)


def _healthy() -> Iterable[Case]:
    for load in _LOADS:
        for sigma in _SIGMAS:
            yield Case(f"8, 2 providers, {load:.0%}, sigma {sigma}", _pairs(8, load, sigma))
    yield Case("3, 20%, sigma 1.4", _single(3))
    yield Case("3 at the slower provider, 20%, sigma 1.4", _single(3, mean=0.9))
    yield Case("4, 2 providers, 20%, sigma 1.4", _pairs(4))
    yield Case("16, 2 providers, 20%, sigma 1.4", _pairs(16))
    yield Case("8, weights 3:1, 20%, sigma 1.4", _Weighted(8, 1.4))
    yield Case("8, windows together, 20%, sigma 1.4", _pairs(8, staggered=False))
    yield Case("8, one starts late, 20%, sigma 1.4", _pairs(8, late=600.0))
    yield from _troubled()


def _troubled() -> Iterable[Case]:
    down = Trouble(provider="sendgrid", begins=600.0, ends=1800.0)
    yield Case("8, a provider is down for 20 min, sigma 1.4", _pairs(8, trouble=down))
    few = Trouble(provider="sendgrid", begins=600.0, ends=3000.0, rate=12.0)
    yield Case("8, a provider throttles, another is free", _pairs(8, trouble=few))
    yield Case("8, the only provider throttles", _single(8, trouble=few))


def _faulty() -> Iterable[Case]:
    for sigma in _SIGMAS:
        for load in _LOADS:
            name = f"{load:.0%}, sigma {sigma}"
            yield Case(f"8, 2 providers, 3x, {name}", _pairs(8, load, sigma), 3.0)
            yield Case(f"8, 2 providers, hung, {name}", _pairs(8, load, sigma), inf)
        yield from _faulty_at_a_fifth(sigma)


def _faulty_at_a_fifth(sigma: float) -> Iterable[Case]:
    name = f"20%, sigma {sigma}"
    yield Case(f"8, 1 provider, 3x, {name}", _single(8, sigma), 3.0)
    yield Case(f"8, windows together, 3x, {name}", _pairs(8, sigma=sigma, staggered=False), 3.0)
    yield Case(f"3, 3x, {name}", _single(3, sigma), 3.0)
    yield Case(f"3 at the slower provider, 3x, {name}", _single(3, sigma, mean=0.9), 3.0)
    yield Case(f"3, hung, {name}", _single(3, sigma), inf)
    yield Case(f"4, 2 providers, 3x, {name}", _pairs(4, sigma=sigma), 3.0)
    yield Case(f"4, 2 providers, hung, {name}", _pairs(4, sigma=sigma), inf)
    yield Case(f"16, 2 providers, 2x, {name}", _pairs(16, sigma=sigma), 2.0)
    yield Case(f"16, 2 providers, 3x, {name}", _pairs(16, sigma=sigma), 3.0)
    yield Case(f"8, weights 3:1, 3x, {name}", _Weighted(8, sigma), 3.0)


CASES = {case.name: case for case in (*_healthy(), *_faulty())}


def _healthy_jobs(hours: float, seeds: Random) -> Iterable[tuple[Case, int, float]]:
    cases = list(_healthy())
    for case in cases:
        fleet_hours = hours / len(cases) / len(case.setup(Random(0)).homes)
        for _ in range(max(1, round(fleet_hours / _CHUNK))):
            yield case, seeds.getrandbits(48), _CHUNK


def _watch_job(job: tuple[Case, int, float]) -> tuple[str, Outcome]:
    return job[0].name, watch_healthy(*job)


def _find_job(job: tuple[Case, int]) -> tuple[str, Outcome]:
    return job[0].name, find_fault(*job)


def _gather(results: Iterable[tuple[str, Outcome]]) -> dict[str, Outcome]:
    table: dict[str, Outcome] = {}
    for name, outcome in results:
        table.setdefault(name, Outcome()).add(outcome)
    return table


def _percentile(delays: Sequence[float], share: float) -> float:
    return sorted(delays)[min(len(delays) - 1, int(share * len(delays)))]


def _say(line: str) -> None:
    stdout.write(f"{line}\n")
    stdout.flush()


def _print_found(table: dict[str, Outcome]) -> None:
    _say(f"\n{'found after':52}{'runs':>6}{'median':>8}{'95 %':>8}{'worst':>8}{'in 90 s':>9}{'missed':>8}")
    for name, outcome in table.items():
        delays = outcome.delays
        in_time = sum(delay <= 3 * WINDOW + 1e-6 for delay in delays) / len(delays)
        missed = sum(delay == _MISSED for delay in delays)
        times = f"{median(delays):>8.0f}{_percentile(delays, 0.95):>8.0f}{max(delays):>8.0f}"
        _say(f"{name:52}{len(delays):>6}{times}{in_time:>9.0%}{missed:>8}")


def _print_healthy(table: dict[str, Outcome]) -> None:
    _say(f"\n{'all are well':52}{'hours':>8}{'accused':>9}{'per 1,000':>11}{'told to go':>12}{'fleet slow':>12}")
    total = Outcome()
    for name, outcome in table.items():
        total.add(outcome)
        _print_accused(name, outcome)
    _print_accused("together", total)


def _print_accused(name: str, outcome: Outcome) -> None:
    rate = 1000 * outcome.accused / outcome.hours
    _say(f"{name:52}{outcome.hours:>8.0f}{outcome.accused:>9}{rate:>11.2f}{outcome.left:>12}{outcome.fleet_slow:>12}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=500.0, help="hours of healthy workers, over all situations")
    parser.add_argument("--runs", type=int, default=20, help="runs of each situation with a bad worker")
    parser.add_argument("--seed", type=int, default=None, help="repeats a run")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="", help="only situations whose name holds this")
    wanted = parser.parse_args()
    seed = SystemRandom().getrandbits(32) if wanted.seed is None else wanted.seed
    _say(f"seed {seed}")
    seeds, began = Random(seed), perf_counter()
    faulty = [(case, seeds.getrandbits(48)) for case in _faulty() for _ in range(wanted.runs)]
    healthy = list(_healthy_jobs(wanted.hours, seeds))
    with ProcessPoolExecutor(wanted.processes) as pool:
        found = pool.map(_find_job, [job for job in faulty if wanted.only in job[0].name], chunksize=4)
        watched = pool.map(_watch_job, [job for job in healthy if wanted.only in job[0].name])
        _print_found(_gather(found))
        _print_healthy(_gather(watched))
    _say(f"\n{perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
