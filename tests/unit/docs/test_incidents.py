"""What is typed and read in the incidents must stand in the runbook, word by word."""

import ast
from pathlib import Path

import pytest

from tests.incidents import plays
from tests.incidents.runbook import RUNBOOK, Runbook

BOOK = Runbook(RUNBOOK.read_text(encoding="utf-8"))


def said(method: str) -> list[tuple[str, str]]:
    """Return the sections and words that the plays give to the operator's *method*."""
    tree = ast.parse(Path(plays.__file__).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    texts = [map(ast.literal_eval, call.args) for call in calls if ast.unparse(call.func) == f"operator.{method}"]
    return [(str(section), str(words)) for section, words in texts]


@pytest.mark.parametrize(("section", "words"), said("run"))
def test_every_command_of_the_incidents_stands_in_its_section(section: str, words: str) -> None:
    assert words in BOOK.commands(section)


@pytest.mark.parametrize(("section", "words"), said("reads"))
def test_every_sentence_that_is_acted_on_stands_in_its_section(section: str, words: str) -> None:
    assert BOOK.says(section, words)


def test_a_command_that_does_not_stand_there_is_found() -> None:
    assert "postman worker --now" not in BOOK.commands("dead_letters")
    assert not BOOK.says("dead_letters", "restart everything")
