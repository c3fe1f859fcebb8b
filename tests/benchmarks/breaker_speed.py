"""What a breaker costs: nanoseconds per call, ours and others' beside each other in one run.

The rounds are interleaved (A B C, A B C, …), so that a machine that is busy for a while is busy for all of them. Look
at the minimum first: it is what the code costs; the median says how calm the machine was.

`./emulator.sh bench breaker_speed --write` puts the tables into `docs/breaker.md`; `--json` prints them for machines.
"""

import argparse
import gc
import json
import platform
import sys
import tracemalloc
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import sleep
from typing import Final

from tests.benchmarks.breaker_speed_cases import OURS, Case, Kind, cases
from tests.benchmarks.pages import replace_part

__all__ = ["Cost", "Memory", "main", "measure", "ratios"]

_PAGE: Final = Path(__file__).parents[2] / "docs" / "breaker.md"
_PAUSE: Final = 0.2
"""Seconds; longer than any breaker here keeps what it only notes."""
_PATHS: Final = (Kind.FAILURE, Kind.PROBE, Kind.REJECTION)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one case costs per call, in nanoseconds."""

    kind: Kind
    library: str
    way: str
    minimum: float
    median: float


@dataclass(frozen=True, slots=True)
class Memory:
    """What a breaker holds after many successful calls and a pause, and held at the most meanwhile, in KiB."""

    library: str
    held: float
    peak: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    wants = _wants(arguments)
    costs = measure(rounds=wants.rounds, calls=wants.calls)
    held = [_memory(case, wants.memory_calls) for case in _one_for_each_library()]
    if wants.json:
        machine = {"machine": _machine(), "date": _today(), "python": platform.python_version()}
        found = {"costs": [asdict(cost) for cost in costs], "memory": [asdict(one) for one in held]}
        sys.stdout.write(json.dumps(machine | found | {"ratios": ratios(costs)}, indent=1) + "\n")
        return 0
    content = "\n".join([*_tables(costs), "", *_memory_table(held, wants.memory_calls), "", _summary(costs, wants)])
    sys.stdout.write(f"{content}\n")
    if wants.write:
        replace_part(_PAGE, "speed", content)
    return 0


def measure(*, rounds: int, calls: int) -> list[Cost]:
    """Run each case *calls* times in each of *rounds*."""
    runners = [(case, case.runner()) for case in cases()]
    times: list[list[float]] = [[] for _ in runners]
    for _ in range(rounds):
        gc.collect()
        for taken, (_, run) in zip(times, runners, strict=True):
            taken.append(run(calls) / calls * 1e9)
    return [
        Cost(case.kind, case.library, case.way, min(taken), median(taken))
        for taken, (case, _) in zip(times, runners, strict=True)
    ]


def ratios(costs: Sequence[Cost]) -> dict[str, float]:
    """Return, for calls and for awaits, our fastest way's minimum over that of the others' fastest."""
    found = {}
    for kind in (Kind.SYNC, Kind.ASYNC):
        ours = [cost.minimum for cost in costs if cost.kind is kind and cost.library == OURS]
        others = [cost.minimum for cost in costs if cost.kind is kind and cost.library not in (OURS, "bare")]
        if others:
            found[str(kind)] = min(ours) / min(others)
    return found


def _wants(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="breaker_speed", description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--calls", type=int, default=20_000, help="of each case in each round")
    parser.add_argument("--memory-calls", type=int, default=1_000_000, help="after which the memory is looked at")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/breaker.md")
    return parser.parse_args(arguments)


def _one_for_each_library() -> list[Case]:
    first: dict[str, Case] = {}
    for case in cases():
        if case.kind in (Kind.SYNC, Kind.ASYNC) and case.library != "bare":
            first.setdefault(case.library, case)
    return list(first.values())


def _memory(case: Case, calls: int) -> Memory:
    tracemalloc.start()
    try:
        [fresh] = [one for one in cases() if (one.kind, one.library, one.way) == (case.kind, case.library, case.way)]
        run = fresh.runner()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        run(calls)
        _, peak = tracemalloc.get_traced_memory()
        sleep(_PAUSE)
        run(1)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        return Memory(case.library, (after - before) / 1024, (peak - before) / 1024)
    finally:
        tracemalloc.stop()


def _tables(costs: Sequence[Cost]) -> list[str]:
    lines = ["| one call, ns: minimum (median) | way | call | await |", "| --- | --- | ---: | ---: |"]
    ways = dict.fromkeys((cost.library, cost.way) for cost in costs if cost.kind in (Kind.SYNC, Kind.ASYNC))
    for library, way in ways:
        lines.append(f"| {library} | {way or '-'} | {_cell(costs, library, way, Kind.SYNC)} | ")
        lines[-1] += f"{_cell(costs, library, way, Kind.ASYNC)} |"
    lines += ["", f"| other paths, ns | way | {' | '.join(_PATHS)} |", "| --- | --- | ---: | ---: | ---: |"]
    paths = dict.fromkeys((cost.library, cost.way) for cost in costs if cost.kind in _PATHS)
    for library in dict.fromkeys(library for library, _ in paths):
        used = [way for name, way in paths if name == library]
        cells = [_first_cell(costs, library, used, kind) for kind in _PATHS]
        lines.append(f"| {library} | {', '.join(filter(None, used)) or '-'} | {' | '.join(cells)} |")
    return lines


def _first_cell(costs: Sequence[Cost], library: str, ways: Sequence[str], kind: Kind) -> str:
    found = (_cell(costs, library, way, kind) for way in ways)
    return next((cell for cell in found if cell != "-"), "-")


def _cell(costs: Sequence[Cost], library: str, way: str, kind: Kind) -> str:
    found = (cost for cost in costs if (cost.library, cost.way, cost.kind) == (library, way, kind))
    cost = next(found, None)
    return f"{cost.minimum:,.0f} ({cost.median:,.0f})" if cost else "-"


def _memory_table(held: Sequence[Memory], calls: int) -> list[str]:
    lines = [
        f"| {calls:,} calls at full speed, KiB | held after them | at the most meanwhile |",
        "| --- | ---: | ---: |",
    ]
    return lines + [f"| {one.library} | {one.held:,.1f} | {one.peak:,.1f} |" for one in held]


def _summary(costs: Sequence[Cost], wants: argparse.Namespace) -> str:
    parts = [f"{kind} {ratio:.2f}" for kind, ratio in ratios(costs).items()]
    compared = f"Our fastest way over the others' fastest: {', '.join(parts)}. " if parts else ""
    how = f"{wants.rounds} interleaved rounds of {wants.calls:,} calls"
    return f"{compared}Measured on {_today()}, {how}, CPython {platform.python_version()}, {_machine()}."


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _machine() -> str:
    """Return what the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} processors" if names else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
