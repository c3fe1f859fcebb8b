"""What a run of the tests says about what it did not do, and what it forbids."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TESTS = """
import os
import pytest

@pytest.mark.parametrize("number", [1, 2])
def test_skipped(number): pytest.skip("the moon\\n (too far)")

def test_settings_are_hidden(): assert "POSTMAN_QUEUE" not in os.environ

@pytest.mark.skip(reason="Redis (no server)")
def test_marked(): pass
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A project with our conftest and nothing else of ours."""
    tests = tmp_path / "tests"
    (tests / "unit").mkdir(parents=True)
    shutil.copy(ROOT / "tests/conftest.py", tests)
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\nmarkers = ["emulator: one"]\n')
    return tests


def _run(suite: Path) -> list[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "POSTMAN_QUEUE": "memory:", "COLUMNS": "80"}
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(suite))
    return subprocess.run(
        command, cwd=suite, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True
    ).stdout.splitlines()


def test_what_was_not_exercised_is_named_last(suite: Path) -> None:
    """One line for each reason, then pytest's own count."""
    (suite / "unit/test_it.py").write_text(TESTS)

    *_, first, second, count = _run(suite)

    assert first == "not exercised: Redis (no server) [1 skipped]"
    assert second == "not exercised: the moon (too far) [2 skipped]"
    assert count.startswith("1 passed, 3 skipped")


def test_a_unit_test_that_asks_for_emulators_stops_the_run(suite: Path) -> None:
    (suite / "unit/test_it.py").write_text("def test_slow(pubsub): pass\n")

    assert any("test_slow is a unit test and asks for emulators" in line for line in _run(suite))
