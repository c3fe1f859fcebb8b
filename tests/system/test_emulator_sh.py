"""The script that starts everything, as far as it goes without installing anything."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A copy, so that nothing is left in the project."""
    directory = tmp_path / "a project"
    directory.mkdir()
    for name in ("pyproject.toml", "requirements.lock", "requirements-dev.lock"):
        shutil.copy(ROOT / name, directory)
    return Path(shutil.copy(ROOT / "emulator.sh", directory))


def _run(script: Path, *arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | variables
    return subprocess.run((script, *arguments), cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [(), ("help",), ("--help",)])
def test_help_names_every_verb(arguments: tuple[str, ...], script: Path, tmp_path: Path) -> None:
    done = _run(script, *arguments, cwd=tmp_path)

    assert done.returncode == 0
    verbs = ("demo", "test", "run", "bench", "up | down", "env", "lock", "help")
    assert all(f"\n  {verb} " in done.stdout for verb in verbs)


def test_an_unknown_verb_is_wrong_use(script: Path, tmp_path: Path) -> None:
    done = _run(script, "dance", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no verb dance" in done.stderr


def test_a_python_that_is_too_old_or_absent_is_named(script: Path, tmp_path: Path) -> None:
    """Before anything is made."""
    done = _run(script, "up", cwd=tmp_path, POSTMAN_PYTHON="/nowhere/python")

    assert done.returncode == 1
    assert "POSTMAN_PYTHON (/nowhere/python) is no Python 3.11 or newer" in done.stderr
    assert not (script.parent / ".venv").exists()


def test_no_python_at_all_is_a_clear_error(script: Path, tmp_path: Path) -> None:
    for tool in ("bash", "cat", "dirname", "mkdir", "seq"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)

    done = _run(script, "env", cwd=tmp_path, PATH=str(tmp_path))

    assert done.returncode == 1
    assert "no Python 3.11 or newer on PATH" in done.stderr


@pytest.mark.parametrize("name", ["emulator.sh", ".ci/run"])
def test_scripts_can_be_run_and_name_no_place(name: str) -> None:
    text = (ROOT / name).read_text()

    assert os.access(ROOT / name, os.X_OK)
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in text
    assert set(re.findall(r"(?<![\w.}])/[a-z]+", text)) <= {"/usr", "/dev"}
