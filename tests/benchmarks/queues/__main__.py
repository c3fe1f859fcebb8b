"""Choosing among queues: the rank error of the literature, the delays of mails under many policies, figures of both.

    python -m tests.benchmarks.queues [rank|dispatch|plots|all]

`rank` counts rank errors and compares them with the exact formulas; `dispatch` sends mails through shards, by
`postman.core.selection` and by its rivals, and judges their order; `plots` draws `docs/figures/`. The exit status is 1
where a verdict is not what it should be. `--seed` repeats a run; shorter ones, by `--deletions`, `--seconds` and
`--seeds`, may miss by chance. As it stands, `rank` takes one minute of one core, `dispatch` and `plots` three.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from sys import exit as leave
from sys import stdout
from time import perf_counter

from tests.benchmarks.queues.contest import CONTESTANTS, SCENARIOS, Cell, Claim, claims, experiments, measure, table
from tests.benchmarks.queues.rank import RULES, Deletions, exact_rank_error, growing_rank_error

_FIGURES = Path(__file__).parents[3] / "docs" / "figures"
_SIZES = (2, 4, 8, 16, 32, 64)
_WITHIN = 0.02


@dataclass(frozen=True, slots=True)
class _Wanted:
    deletions: int
    seconds: float
    seeds: int
    seed: int
    processes: int
    figures: Path


def _rank(wanted: _Wanted, pool: ProcessPoolExecutor) -> Iterator[Claim]:
    _say("| rule | queues | exact | simulated | off by | 50 % | 90 % | 99 % |\n|---|---|---|---|---|---|---|---|")
    jobs = [(name, n, wanted.deletions, wanted.seeds, wanted.seed) for name in RULES if name != "d=1" for n in _SIZES]
    off = 0.0
    for (name, n, *_), (simulated, quantiles) in zip(jobs, pool.map(_count, jobs), strict=True):
        exact = exact_rank_error(RULES[name], n)
        missed = abs(simulated - exact) / exact if exact else simulated
        off = max(off, missed if "beta" not in name else 0.0)
        spread = " | ".join(map(str, quantiles))
        _say(f"| {name} | {n} | {exact:.3f} | {simulated:.3f} | {missed:.1%} | {spread} |")
    yield Claim(f"two choices and more are within {_WITHIN:.0%} of the formulas: {off:.2%}", off < _WITHIN)
    yield from _one_choice(wanted)


def _one_choice(wanted: _Wanted) -> Iterator[Claim]:
    """One choice has no steady state."""
    runs = [Deletions(RULES["d=1"], 16, Random(f"{wanted.seed} {number}")) for number in range(60)]
    found = []
    for deletions in (1_000, 9_000, 30_000):
        errors = [_last(run, deletions) for run in runs]
        found.append(sum(errors) / len(errors))
    for total, error in zip((1_000, 10_000, 40_000), found, strict=True):
        _say(f"| d=1, deletion {total} | 16 | {growing_rank_error(16, total):.0f} | {error:.0f} | | | | |")
    yield Claim("one choice grows without end", found[0] < found[1] < found[2])


def _last(run: Deletions, deletions: int) -> float:
    """Delete, and return the mean of the last few rank errors."""
    errors = [run.delete() for _ in range(deletions)][-50:]
    return sum(errors) / len(errors)


def _count(job: tuple[str, int, int, int, int]) -> tuple[float, tuple[int, int, int]]:
    name, n, deletions, seeds, seed = job
    errors: list[int] = []
    for number in range(seeds):
        run = Deletions(RULES[name], n, Random(f"{seed} {number} {name} {n}"))
        errors.extend(run.rank_errors(deletions // seeds))
    ordered = sorted(errors)
    at = [ordered[int(share * len(ordered))] for share in (0.5, 0.9, 0.99)]
    return sum(errors) / len(errors), (at[0], at[1], at[2])


def _dispatch(wanted: _Wanted, pool: ProcessPoolExecutor) -> Iterator[Claim]:
    _say("\nseconds: mean / 99 % / worst; in the poison storm of the other shards' mails\n")
    jobs = [
        (situation, name, wanted.seconds, wanted.seeds, wanted.seed) for name in CONTESTANTS for situation in SCENARIOS
    ]
    cells = dict(zip([job[:2] for job in jobs], pool.map(_measure, jobs), strict=True))
    for line in table(cells):
        _say(line)
    yield from claims(cells)
    _say("\n| situation | | mean / 99 % / worst |\n|---|---|---|")
    for situation, rows, claim in experiments(seconds=wanted.seconds, seeds=wanted.seeds, seed=wanted.seed):
        for name, cell in rows:
            _say(f"| {situation} | {name} | {cell} |")
        yield claim


def _measure(job: tuple[str, str, float, int, int]) -> Cell:
    situation, name, seconds, seeds, seed = job
    return measure(SCENARIOS[situation], CONTESTANTS[name], seconds=seconds, seeds=seeds, seed=seed)


def _plots(wanted: _Wanted, pool: ProcessPoolExecutor) -> Iterator[Claim]:
    from tests.benchmarks.queues.plots import draw

    for path in draw(wanted.figures, pool, seconds=wanted.seconds, seed=wanted.seed):
        size = path.stat().st_size
        yield Claim(f"{path.name}: {size / 1000:.0f} kB", size < 60_000)


_PARTS: dict[str, Callable[[_Wanted, ProcessPoolExecutor], Iterator[Claim]]] = {
    "rank": _rank,
    "dispatch": _dispatch,
    "plots": _plots,
}


def _say(line: str) -> None:
    stdout.write(f"{line}\n")
    stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", default="all", choices=[*_PARTS, "all"])
    parser.add_argument("--deletions", type=int, default=1_000_000, help="rank: of each rule and number of queues")
    parser.add_argument("--seconds", type=float, default=600.0, help="dispatch and plots: simulated time of a run")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each situation")
    parser.add_argument("--seed", type=int, default=1, help="another one makes another run")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--figures", type=Path, default=_FIGURES, help="plots: where to")
    given = vars(parser.parse_args())
    part = given.pop("part")
    wanted, broken = _Wanted(**given), 0
    for name in _PARTS if part == "all" else [part]:
        began = perf_counter()
        with ProcessPoolExecutor(wanted.processes) as pool:
            verdicts = list(_PARTS[name](wanted, pool))
        _say("")
        for claim in verdicts:
            _say(f"{'ok    ' if claim.is_true else 'BROKEN'} {claim.says}")
            broken += not claim.is_true
        _say(f"{name}: {perf_counter() - began:.0f} s\n")
    leave(1 if broken else 0)


if __name__ == "__main__":
    main()
