"""The page about the breaker says what the code does, and its examples run."""

import ast
import inspect
import re
from dataclasses import MISSING, fields
from itertools import pairwise
from pathlib import Path

import pytest

from postman.breaker import EventKind, Fault, Recovery, Trip, rules, verdicts
from postman.breaker.states import diagram
from tests.benchmarks.pages import part

_ROOT = Path(__file__).parents[3]
_PAGE = (_ROOT / "docs" / "breaker.md").read_text(encoding="utf-8")
_EXAMPLES = re.findall(r"^```python\n(.*?)^```$", _PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("example", _EXAMPLES)
def test_an_example_runs_by_itself(example: str) -> None:
    exec(compile(example, "docs/breaker.md", "exec"), {"__name__": "example"})


@pytest.mark.parametrize("example", _EXAMPLES)
def test_an_example_asserts_something(example: str) -> None:
    assert any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(example)))


def test_there_are_examples() -> None:
    assert len(_EXAMPLES) > 10


def test_the_diagram_is_the_one_of_the_code() -> None:
    assert part(_PAGE, "states") == f"```mermaid\n{diagram()}\n```"


def test_the_rules_are_those_of_the_code() -> None:
    """Names, defaults and meanings; where this fails, what belongs there is the left side."""
    assert _rules_table() == part(_PAGE, "rules")


def test_every_fault_is_explained() -> None:
    section = _PAGE.split("## What counts as a failure", 1)[1].split("##", 1)[0]

    assert set(re.findall(r"^\| `([A-Z]+)` \|", section, re.MULTILINE)) == {fault.name for fault in Fault}
    assert verdicts.by_type({}, otherwise=Fault.CALL)(ValueError()).fault is Fault.CALL


def test_events_that_the_page_names_exist() -> None:
    named = re.findall(r"event\s+`([a-z ]+)`", _PAGE)

    assert set(named) == {EventKind.CLASSIFIER_FAILED, EventKind.POLICY_FAILED}


def test_each_of_the_sixteen_points_names_tests_that_exist() -> None:
    rows = re.findall(r"^\| (\d+) \|.*`test_(\d+)_(\w+?)_\*`", part(_PAGE, "points"), re.MULTILINE)
    files = Path(__file__).parent.glob("test_checklist*.py")
    tests = re.findall(r"def (test_\w+)", "".join(path.read_text(encoding="utf-8") for path in files))

    assert [int(number) for number, _, _ in rows] == list(range(1, 17))
    for number, named, word in rows:
        assert int(named) == int(number)
        assert any(test.startswith(f"test_{named}_{word}_") for test in tests), f"no test of point {number}: {word}"


def test_what_programs_write_is_there() -> None:
    """The tables of `./emulator.sh bench breaker_behaviour --write` and `breaker_speed --write`."""
    assert "| postman |" in part(_PAGE, "behaviour")
    assert re.search(r"Measured on \d{4}-\d\d-\d\d, .*CPython", part(_PAGE, "speed"))


def test_links_within_the_page_lead_somewhere() -> None:
    headings = re.findall(r"^## (.+)$", _PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(#([^)]+)\)", _PAGE)

    assert links
    assert [link for link in links if link not in anchors] == []


def _rules_table() -> str:
    tables = []
    for rule in (Trip, Recovery):
        meanings = _meanings(rule)
        assert all(field.default is not MISSING for field in fields(rule))
        rows = [f"| `{field.name}` | {field.default} | {meanings[field.name]} |" for field in fields(rule)]
        tables.append("\n".join([f"| `{rule.__name__}` | default | |", "|---|---:|---|", *rows]))
    return "\n\n".join(tables)


def _meanings(rule: type[Trip | Recovery]) -> dict[str, str]:
    """Return what stands below each field, in one line."""
    [body] = [
        node.body
        for node in ast.parse(inspect.getsource(rules)).body
        if isinstance(node, ast.ClassDef) and node.name == rule.__name__
    ]
    return {
        field.target.id: " ".join(words.value.value.split())
        for field, words in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(words, ast.Expr)
        and isinstance(words.value, ast.Constant)
        and isinstance(words.value.value, str)
    }
