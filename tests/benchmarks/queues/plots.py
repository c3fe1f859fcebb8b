"""The figures of `docs/shards.md`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from math import nan
from pathlib import Path
from random import Random
from typing import Final

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from tests.benchmarks.queues.contest import SCENARIOS
from tests.benchmarks.queues.dispatch import Delays, Scenario
from tests.benchmarks.queues.policies import OURS, RIVALS, Contestant, late
from tests.benchmarks.queues.rank import RULES, Deletions, exact_rank_error

__all__ = ["draw"]

_SIZES: Final = (2, 4, 8, 16, 32, 64)
_COUNTED: Final = 150_000
_SHARES: Final = (0.0625, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_PERIODS: Final = (0.05, 0.2, 0.5, 2.0, 5.0, 20.0, 60.0)
_ALL, _TWO = "ours of all, processes: 2", "ours of 2 and memory, processes: 2"
_SLICE: Final = 5.0
"""Seconds of a storm that make a point of its figure."""

Curves = Mapping[str, Sequence[float]]


def draw(folder: Path, pool: ProcessPoolExecutor, *, seconds: float, seed: int) -> Iterator[Path]:
    """Draw all figures, each from runs of *seconds* of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "postman", "font.size": 10})
    yield _save(folder / "rank-error.svg", lambda axes: _rank_error(axes, pool, seed))
    yield _save(folder / "hot-shard.svg", lambda axes: _hot_shard(axes, pool, seconds, seed))
    yield _save(folder / "late-knowledge.svg", lambda axes: _late_knowledge(axes, pool, seconds, seed))
    yield _save(folder / "poison-storm.svg", lambda axes: _poison_storm(axes, seconds, seed))


def _save(path: Path, fill: Callable[[Axes], None]) -> Path:
    figure, axes = plt.subplots(figsize=(8.4, 4.0), layout="constrained", facecolor="white")
    fill(axes)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)
    return path


def _rank_error(axes: Axes, pool: ProcessPoolExecutor, seed: int) -> None:
    names = [name for name in RULES if name != "d=1"]
    jobs = [(name, n, seed) for name in names for n in _SIZES]
    counted = iter(pool.map(_count, jobs))
    for name in names:
        exact = [exact_rank_error(RULES[name], n) or nan for n in _SIZES]
        [line] = axes.plot(_SIZES, exact, label=name)
        axes.plot(_SIZES, [next(counted) for _ in _SIZES], "o", color=line.get_color(), markersize=4)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_ylim(0.05, 200)
    axes.set_xticks(_SIZES, [str(n) for n in _SIZES])
    axes.set(xlabel="queues", ylabel="older mails left (mean)", title="Rank error: lines by formula, dots counted")


def _count(job: tuple[str, int, int]) -> float:
    name, n, seed = job
    errors = Deletions(RULES[name], n, Random(f"{seed} {name} {n}")).rank_errors(_COUNTED)
    return sum(errors) / _COUNTED


def _hot_shard(axes: Axes, pool: ProcessPoolExecutor, seconds: float, seed: int) -> None:
    names = ["one queue", "static owner", "round robin, reshuffled", "random", "2 choices, oracle", _ALL, _TWO]
    jobs = [(name, Scenario("hot", hot=share), seconds, seed) for name in names for share in _SHARES]
    _lines(axes, [100 * share for share in _SHARES], _by_name(names, pool.map(_mean, jobs), len(_SHARES)))
    axes.set(xlabel="the hot shard's share of the mails, %", title="One shard of 16 is hot; load 80 %, 50 mails a pull")


def _late_knowledge(axes: Axes, pool: ProcessPoolExecutor, seconds: float, seed: int) -> None:
    scenario = SCENARIOS["even 80 %"]
    rules = {"2 choices": 2, "oldest": 0}
    jobs = [(choices, period, scenario, seconds, seed) for choices in rules.values() for period in _PERIODS]
    _lines(axes, _PERIODS, _by_name([*rules], pool.map(_late_mean, jobs), len(_PERIODS)))
    for name, style in (("random", ":"), (_ALL, "--")):
        mean = _mean((name, scenario, seconds, seed))
        axes.axhline(mean, linestyle=style, color="black", linewidth=1, label=f"{name} (no samples)")
    axes.set_xscale("log")
    axes.set_xticks(_PERIODS, [f"{period:g}" for period in _PERIODS])
    axes.set(xlabel="seconds between samples, each shown one period later", title="Even shards, heads seen late")


def _poison_storm(axes: Axes, seconds: float, seed: int) -> None:
    storm = SCENARIOS["poison storm"]
    for label, contestant in (("one queue", RIVALS["one queue"]), ("the 15 other shards of 16", OURS[_ALL])):
        delays = contestant.run(storm, seconds=seconds, seed=seed)
        times, means = _over_time(delays, seconds)
        axes.plot(times, means, label=label)
    axes.axvline(seconds / 5, linestyle=":", color="black", linewidth=1, label="5,000 mails come that always fail")
    axes.set_yscale("log")
    axes.set(
        xlabel="published, s",
        ylabel="delay, or until the end, s (log)",
        title="A poison storm: how long good mails wait",
    )


def _over_time(delays: Delays, seconds: float) -> tuple[list[float], list[float]]:
    sums, counts = [0.0] * (int(seconds / _SLICE) + 1), [0] * (int(seconds / _SLICE) + 1)
    for published, delay in zip(delays.published, delays.seconds, strict=True):
        sums[int(published / _SLICE)] += delay
        counts[int(published / _SLICE)] += 1
    times = [place * _SLICE for place, count in enumerate(counts) if count]
    return times, [total / count for total, count in zip(sums, counts, strict=True) if count]


def _lines(axes: Axes, at: Sequence[float], curves: Curves) -> None:
    for place, (name, means) in enumerate(curves.items()):
        axes.plot(at, means, marker="osv^Dx+"[place % 7], markersize=4, label=name)
    axes.set_yscale("log")
    axes.set_ylabel("mean delay, s (log)")


def _by_name(names: Sequence[str], means: Iterator[float], each: int) -> Curves:
    return {name: [next(means) for _ in range(each)] for name in names}


def _mean(job: tuple[str, Scenario, float, int]) -> float:
    name, scenario, seconds, seed = job
    contestant = {**RIVALS, **OURS}[name]
    return contestant.run(scenario, seconds=seconds, seed=seed).mean


def _late_mean(job: tuple[int, float, Scenario, float, int]) -> float:
    choices, period, scenario, seconds, seed = job
    contestant: Contestant = late(choices, period)
    return contestant.run(scenario, seconds=seconds, seed=seed).mean
