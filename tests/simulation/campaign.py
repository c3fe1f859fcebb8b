"""Many seeds, over several processes."""

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from typing import Final

from tests.simulation.faults import Fault, fault_named
from tests.simulation.planting import check, plant

__all__ = ["Campaign", "Failure", "run_campaign"]

_BATCH: Final = 20
_PLANTED: Final[list[Fault]] = []
"""The mistake that is planted in this process, if there is one."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed in which an invariant broke."""

    seed: int
    wrongs: tuple[str, ...]


@dataclass(slots=True)
class Campaign:
    """What a campaign found so far."""

    seeds: int = 0
    failures: list[Failure] = field(default_factory=list)
    marks: Counter[str] = field(default_factory=Counter)
    virtual: float = 0.0
    """Seconds simulated."""
    longest_healing: float = 0.0
    """Seconds that a seed took at the most, after all was well again, until every mail was finished."""
    cpu: float = 0.0
    """Seconds."""
    began: float = field(default_factory=time.monotonic)

    def add(self, other: "Campaign") -> None:
        self.seeds += other.seeds
        self.failures += other.failures
        self.marks += other.marks
        self.virtual += other.virtual
        self.cpu += other.cpu
        self.longest_healing = max(self.longest_healing, other.longest_healing)


def run_campaign(
    seeds: Sequence[int],
    *,
    jobs: int,
    fault: str = "",
    stops_at_failure: bool = False,
    seconds: float = float("inf"),
    tell: Callable[[Campaign, Sequence[Failure]], None] = lambda _, __: None,
) -> Campaign:
    """Run *seeds* in *jobs* processes, for about *seconds* at the most; *tell* hears of each batch.

    *fault* names a mistake that is planted in the product; then only what shows that mistake counts as a failure.
    """
    if fault:
        check(fault_named(fault))
    total = Campaign()
    batches = _batches(seeds)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_prepare, initargs=(fault,)) as pool:
        waiting = {pool.submit(_run_batch, batch) for batch in islice(batches, 2 * jobs)}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            _add_all(total, done, tell)
            is_enough = (stops_at_failure and total.failures) or time.monotonic() - total.began > seconds
            if is_enough:
                pool.shutdown(cancel_futures=True)
                _add_all(total, {future for future in waiting if not future.cancelled()}, tell)
                break
            waiting |= {pool.submit(_run_batch, batch) for batch in islice(batches, len(done))}
    total.failures.sort(key=lambda failure: failure.seed)
    return total


def _batches(seeds: Sequence[int]) -> Iterator[Sequence[int]]:
    return (seeds[first : first + _BATCH] for first in range(0, len(seeds), _BATCH))


def _add_all(
    total: Campaign, done: "set[Future[Campaign]]", tell: Callable[[Campaign, Sequence[Failure]], None]
) -> None:
    for future in done:
        batch = future.result()
        total.add(batch)
        tell(total, batch.failures)


def _prepare(fault: str) -> None:
    """Make this process one that simulates."""
    if fault:
        planted = fault_named(fault)
        plant(planted)
        _PLANTED.append(planted)
    from tests.simulation.quiet import listen

    listen()
    gc.disable()


def _run_batch(seeds: Sequence[int]) -> Campaign:
    from tests.simulation.swarm import NOTHING
    from tests.simulation.world import simulate

    batch = Campaign()
    began = time.process_time()
    for seed in seeds:
        outcome = simulate(seed, emphasis=_PLANTED[0].emphasis if _PLANTED else NOTHING)
        batch.seeds += 1
        batch.marks += outcome.marks
        batch.virtual += outcome.lasted
        batch.longest_healing = max(batch.longest_healing, outcome.healing)
        if outcome.wrongs and all(any(fault.sign in wrong for wrong in outcome.wrongs) for fault in _PLANTED):
            batch.failures.append(Failure(seed, outcome.wrongs))
    gc.collect()
    batch.cpu = time.process_time() - began
    return batch
