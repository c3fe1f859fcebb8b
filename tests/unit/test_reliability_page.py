"""The page on reliability names every fault of the catalogue once, and every test that it names exists."""

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
_FAULTS = 74
"""So many there were before this project found its own."""

_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
_SHORT = re.compile(r"^- \*([a-z ]+)\*: `([\w/]+\.py)::(\w+)`$", re.MULTILINE)
_CASES = re.compile(r"\*([a-z ]+)\* \(([^()]+)\)")
_EXCUSES = re.compile(r"not built yet|not injected: \w+")


@dataclass(frozen=True, slots=True)
class Row:
    """One fault."""

    number: int
    fault: str
    outcome: str
    tests: str


def _rows() -> list[Row]:
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in _PAGE.splitlines()
        if re.match(r"\| \d+ \|", line)
    ]
    assert all(len(row) == 4 for row in cells), [row for row in cells if len(row) != 4]
    return [Row(int(number), *others) for number, *others in cells]


_ROWS = _rows()
_SHORT_NAMES = {name: (path, test) for name, path, test in _SHORT.findall(_PAGE)}


@cache
def _functions(path: str) -> frozenset[str]:
    """Return the names of all functions and methods of a file."""
    tree = ast.parse((_ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _is_there(path: str, name: str) -> bool:
    return name.startswith("test_") and (_ROOT / path).is_file() and name in _functions(path)


@cache
def _texts(folder: Path) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))


def test_every_fault_stands_there_once() -> None:
    numbers = [row.number for row in _ROWS]

    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert len(numbers) > _FAULTS


def test_nothing_is_left_to_be_filled_in() -> None:
    assert "@@" not in _PAGE


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: str(row.number))
def test_every_fault_has_an_outcome_and_tests_that_exist_or_a_reason_why_not(row: Row) -> None:
    shorts = [name for name in _SHORT_NAMES if f"*{name}*" in row.tests]
    named = [*_TEST.findall(row.tests), *(_SHORT_NAMES[name] for name in shorts)]

    assert row.fault
    assert row.outcome
    assert [each for each in named if not _is_there(*each)] == []
    assert named or _EXCUSES.search(row.tests)
    assert row.tests.count("::") == len(_TEST.findall(row.tests)), "something is not named as `path::test`"


def test_every_short_name_stands_for_a_test_and_is_used() -> None:
    used = {name for row in _ROWS for name in re.findall(r"\*([a-z ]+)\*", row.tests)}

    assert used == set(_SHORT_NAMES)
    assert [each for each in _SHORT_NAMES.values() if not _is_there(*each)] == []


def test_every_case_in_brackets_stands_beside_its_test() -> None:
    cases = [
        (_ROOT / _SHORT_NAMES[name][0], case.strip())
        for row in _ROWS
        for name, text in _CASES.findall(row.tests)
        for case in text.split(";")
    ]

    assert len(cases) >= 15
    assert [case for path, case in cases if f'"{case}"' not in _texts(path.parent)] == []
