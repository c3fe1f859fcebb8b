"""How breakers behave where it matters: every question asked of every library, and the answers as a table.

`./emulator.sh bench breaker_behaviour --write` puts the table into `docs/breaker.md`. Exit status 1 where ours does
not give the good answer.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.benchmarks.breaker_questions import NEVER_ARISES, QUESTIONS, Question, answer
from tests.benchmarks.breaker_rivals import RIVALS, Rival
from tests.benchmarks.pages import replace_part

__all__ = ["main", "table"]

_PAGE: Final = Path(__file__).parents[2] / "docs" / "breaker.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(prog="breaker_behaviour", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into docs/breaker.md")
    wants = parser.parse_args(arguments)
    rivals = [rival for rival in RIVALS if rival.is_installed]
    missing = [rival.header for rival in RIVALS if not rival.is_installed]
    if wants.write and missing:
        parser.error(f"not installed: {', '.join(missing)}")
    answers = [[answer(question, rival) for rival in rivals] for question in QUESTIONS]
    content = table(rivals, answers)
    sys.stdout.write(f"{content}\n")
    if wants.write:
        replace_part(_PAGE, "behaviour", content)
    bad = [question.title for question, row in zip(QUESTIONS, answers, strict=True) if row[0] != question.good]
    sys.stderr.writelines(f"postman gives a wrong answer: {title}\n" for title in bad)
    return int(bool(bad))


def table(rivals: Sequence[Rival], answers: Sequence[Sequence[str]]) -> str:
    """Return the answers as Markdown; what differs from the good answer is bold."""
    lines = [_line(["", *(rival.header for rival in rivals)]), _line(["---"] * (len(rivals) + 1))]
    for number, (question, row) in enumerate(zip(QUESTIONS, answers, strict=True), start=1):
        cells = [one if _is_good(one, question) else f"**{one}**" for one in row]
        lines.append(_line([f"{number}. {question.title}", *cells]))
    lines += ["", f"Bold: not what a breaker should do. {_versions(rivals)} What was done in each row:", ""]
    lines += [f"{number}. {question.done}" for number, question in enumerate(QUESTIONS, start=1)]
    return "\n".join(lines)


def _is_good(cell: str, question: Question) -> bool:
    """Whether it is the good answer, or the question cannot arise."""
    return cell.partition(" (")[0] in (question.good, NEVER_ARISES)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def _versions(rivals: Sequence[Rival]) -> str:
    packages = sorted({rival.package for rival in rivals} - {"postman"})
    return ", ".join(f"{package} {version(package)}" for package in packages) + "."


if __name__ == "__main__":
    sys.exit(main())
