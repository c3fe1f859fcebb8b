"""`python -m tests.mutation [MODULE...]`: do the tests notice when the code is wrong?

Without arguments the whole plan; a group (ledger, router, classifiers), a module's path or a part of it choose. Says
for each module how many mutants were killed, shows the survivors as diffs, and exits with 1 if fewer than nine in ten
died in some group. Survivors that cannot matter are explained in `tests/mutation/survivors.md`.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.mutation.judging import Bench, Fate, copies, preload
from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.plan import GROUPS, PLAN, Part

__all__ = ["main"]

_TREE: Final = Path(__file__).parents[2]
_ENOUGH: Final = 90.0


@dataclass(slots=True)
class Score:
    """How the mutants of one module, or of a group, fared."""

    fates: Counter[Fate] = field(default_factory=Counter)
    survivors: list[Mutant] = field(default_factory=list)

    def add(self, mutant: Mutant, fate: Fate) -> None:
        self.fates[fate] += 1
        if fate is Fate.SURVIVED:
            self.survivors.append(mutant)

    @property
    def percentage(self) -> float:
        total = self.fates.total()
        return 100.0 * (total - self.fates[Fate.SURVIVED]) / total if total else 100.0

    def __str__(self) -> str:
        counts = ", ".join(f"{self.fates[fate]} {fate}" for fate in Fate)
        return f"{self.percentage:.1f} % of {self.fates.total()} ({counts})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 where enough were killed, 1 where not, 2 where nothing could be judged."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", help="groups, or parts of modules' paths; none: all")
    parser.add_argument("--jobs", type=int, default=2, help="children at a time")
    options = parser.parse_args(arguments)
    parts = [part for part in PLAN if _is_chosen(part, options.modules)]
    if not parts:
        parser.error("no module of the plan has such a name")
    preload()
    scores: dict[str, Score] = {}
    with copies(_TREE, options.jobs) as trees:
        for part in parts:
            score = judge(part, trees)
            if score is None:
                return 2
            scores[part.module] = score
    return _summed_up(scores)


def judge(part: Part, trees: Sequence[Path]) -> Score | None:
    """Judge one module in copies of the tree; None, and a word on stderr, if its tests fail as they are."""
    source = (trees[0] / part.module).read_text()
    bench = Bench(part.module, part.tests, trees)
    passes, output = bench.try_unmutated()
    if not passes:
        sys.stderr.write(f"{part.module}: its tests fail without any mutant\n{output[-3_000:]}\n")
        return None
    mutants, score, begun = mutants_of(source, only=part.only), Score(), time.monotonic()

    def tell(mutant: Mutant, fate: Fate) -> None:
        score.add(mutant, fate)
        if fate is Fate.SURVIVED:
            _say(f"survived in {mutant.where} ({mutant.what})\n{mutant.diff(source, part.module)}")
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{score.fates.total()} of {len(mutants)} ")

    _say(f"== {part.module}: {len(mutants)} mutants")
    bench.judge(source, mutants, tell)
    _say(f"== {part.module}: {score}, {time.monotonic() - begun:.0f} s")
    return score


def _summed_up(scores: dict[str, Score]) -> int:
    is_enough = True
    for name, parts in GROUPS.items():
        total = Score()
        for score in (scores[part.module] for part in parts if part.module in scores):
            total.fates.update(score.fates)
        if total.fates:
            _say(f"{name}: {total}")
            is_enough = is_enough and total.percentage >= _ENOUGH
    return 0 if is_enough else 1


def _is_chosen(part: Part, names: Sequence[str]) -> bool:
    return not names or any(part in GROUPS.get(name, ()) or name in part.module for name in names)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
