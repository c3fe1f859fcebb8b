"""The mutation runner itself, on a planted tree of two files."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutation.judging import Bench, Fate, copies, start_afresh
from tests.mutation.mutants import Mutant, mutants_of

SOURCE = '''"""A planted module."""


def is_grown_up(age: int) -> bool:
    """Whether *age* is enough; 18 is."""
    return age >= 18


def price(age: int, *, full: float = 9.5) -> float:
    return full / 2 if age < 6 else full
'''
TEST = """from planted import is_grown_up

def test_child():
    assert not is_grown_up(17)

def test_man():
    assert is_grown_up(40)
"""


@pytest.fixture
def trees(tmp_path: Path) -> Iterator[list[Path]]:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "planted.py").write_text(SOURCE)
    (tree / "test_planted.py").write_text(TEST)
    (tree / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    with copies(tree, 2) as made:
        yield made
    assert (tree / "planted.py").read_text() == SOURCE


def test_planted_survivor_is_found_and_the_others_die(trees: list[Path]) -> None:
    """Nobody asks at the limit itself: the mutants that move it survive, the one that answers nothing does not."""
    fates = _fates(trees, only="is_grown_up")
    assert fates == {
        "age > 18": Fate.SURVIVED,
        "age >= 19": Fate.SURVIVED,
        "None": Fate.KILLED,
    }


def test_function_without_a_test_keeps_all_its_mutants(trees: list[Path]) -> None:
    """What nobody tries may be anything."""
    assert set(_fates(trees, only="price").values()) == {Fate.SURVIVED}


def test_failing_tests_are_told_from_good_ones(trees: list[Path]) -> None:
    """Tests that fail by themselves judge nobody."""
    bench = Bench("planted.py", ["test_planted.py"], trees, start=start_afresh)
    assert bench.try_unmutated()[0]
    (trees[0] / "planted.py").write_text("is_grown_up = bool\n")
    passes, output = bench.try_unmutated()
    assert not passes
    assert "test_child" in output


def test_mutant_that_does_not_end_is_ended(trees: list[Path]) -> None:
    """It counts as noticed: the suite would hang."""
    fates: list[Fate] = []
    endless = Mutant(
        SOURCE.index("return age"), SOURCE.index("return age"), "while True: pass\n    ", "loop", "is_grown_up"
    )
    bench = Bench("planted.py", ["test_planted.py"], trees, patience=5.0, start=start_afresh)
    bench.judge(SOURCE, [endless], lambda _, fate: fates.append(fate))
    assert fates == [Fate.TIMED_OUT]


def test_mutants_leave_docstrings_log_lines_and_annotations_alone() -> None:
    """Only what a test could notice is changed, and what is changed compiles."""
    source = '''__all__ = ["f"]
def f(x: "list[1]" = ()) -> "dict[2]":
    """At 3."""
    _LOG.info("said", count=4)
    raise ValueError(f"not {x} but {5}")
'''
    assert [(mutant.what, mutant.where) for mutant in mutants_of(source)] == [("statement", "f")]


def test_diff_shows_the_changed_line() -> None:
    """So that who reads of a survivor sees it."""
    [first, *_] = mutants_of("LIMIT = 3\n")
    assert first.diff("LIMIT = 3\n", "m.py").splitlines() == ["@@ -1 +1 @@", "-LIMIT = 3", "+LIMIT = 4"]


def _fates(trees: list[Path], *, only: str) -> dict[str, Fate]:
    """Return what became of each mutant of the function *only*, by its text."""
    fates: dict[str, Fate] = {}

    def tell(mutant: Mutant, fate: Fate) -> None:
        [changed] = set(mutant.applied_to(SOURCE).splitlines()) - set(SOURCE.splitlines())
        fates[changed.strip().removeprefix("return ")] = fate

    Bench("planted.py", ["test_planted.py"], trees, start=start_afresh).judge(
        SOURCE, mutants_of(SOURCE, only=[only]), tell
    )
    return fates
