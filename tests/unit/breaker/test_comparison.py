"""The programs that compare breakers run, and what the page shows of them is of these programs."""

import json
import re
from pathlib import Path

import pytest

from tests.benchmarks import breaker_behaviour, breaker_speed
from tests.benchmarks.breaker_questions import QUESTIONS, Question, answer
from tests.benchmarks.breaker_rivals import RIVALS
from tests.benchmarks.pages import part, replace_part

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # aiobreaker asks for utcnow()

_OURS, *_OTHERS = RIVALS
_PAGE = (Path(__file__).parents[3] / "docs" / "breaker.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.title)
def test_ours_gives_the_good_answer(question: Question) -> None:
    assert answer(question, _OURS) == question.good


def test_the_others_give_their_answers() -> None:
    assert all(rival.is_installed for rival in _OTHERS)
    assert all(answer(question, rival) for question in QUESTIONS for rival in _OTHERS)


def test_the_page_shows_the_questions_that_are_asked() -> None:
    table = part(_PAGE, "behaviour")
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in table.splitlines() if line.startswith("| ")]

    assert rows[2:] == [[f"{number}. {one.title}", one.good] for number, one in enumerate(QUESTIONS, start=1)]
    assert table.splitlines()[-len(QUESTIONS) :] == [f"{number}. {one.done}" for number, one in enumerate(QUESTIONS, 1)]


def test_behaviour_is_printed_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert breaker_behaviour.main([]) == 0

    printed = capsys.readouterr()
    assert printed.out.startswith("| | postman |")
    assert printed.err == ""


def test_speed_is_printed_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever it is: a unit test times nothing."""
    assert breaker_speed.main(["--json", "--rounds", "1", "--calls", "20", "--memory-calls", "20"]) == 0

    found = json.loads(capsys.readouterr().out)
    ways = {(cost["kind"], cost["way"]) for cost in found["costs"] if cost["library"] == "postman"}
    assert ways >= {("successful call", "decorator"), ("successful await", "decorator"), ("rejected call", "decorator")}
    assert all(cost["minimum"] > 0 for cost in found["costs"])
    assert found["memory"][0]["library"] == "postman"


def test_speed_is_printed_as_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert breaker_speed.main(["--rounds", "1", "--calls", "20", "--memory-calls", "20"]) == 0

    printed = capsys.readouterr().out
    assert "| postman | `acall` |" in printed
    assert re.search(r"Measured on \d{4}-\d\d-\d\d, 1 interleaved rounds of 20 calls, CPython 3", printed)


def test_a_part_of_a_page_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n")

    replace_part(page, "x", r"new \1")

    assert page.read_text() == "a\n<!-- begin x -->\nnew \\1\n<!-- end x -->\nb\n"
    with pytest.raises(ValueError, match="has no part y"):
        replace_part(page, "y", "anything")
