"""Terraform's own checks of the module and its examples: format, arguments, and their tests."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.terraform.runs import CHECKER, MODULE, need_tools

FOLDERS = (MODULE, MODULE / "examples" / "standard", MODULE / "examples" / "crema")


@pytest.fixture(autouse=True)
def _tools() -> None:
    need_tools()


def _check(folder: Path) -> subprocess.CompletedProcess[str]:
    command = ("bash", str(CHECKER / "tf-check.sh"), str(folder))
    environment = os.environ | {"PYTHON": sys.executable}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_module_and_examples_pass(folder: Path) -> None:
    """With 1, 8 and 64 shards, and with none and three providers: see terraform/tests."""
    done = _check(folder)

    assert done.returncode == 0, done.stdout + done.stderr
    assert ("0 failed" in done.stdout) == any(folder.rglob("*.tftest.hcl"))


def test_what_the_readme_shows_is_valid(tmp_path: Path) -> None:
    """With the module itself as its source, and a digest."""
    readme = (MODULE / "README.md").read_text()
    [block] = re.findall(r"```hcl\n(.*?)```", readme, re.DOTALL)
    block = re.sub(r'source = ".*"', f'source = "{MODULE}"', block).replace("sha256:…", "sha256:" + "0" * 64)
    (tmp_path / "main.tf").write_text(block)
    shutil.copy(MODULE / "examples" / "standard" / "variables.tf", tmp_path)

    done = _check(tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    [keys] = re.findall(r"TF_VAR_provider_keys='(.*)'", readme)
    assert {name: list(each) for name, each in json.loads(keys).items()} == {
        "sendgrid": ["api_key"],
        "mailgun": ["api_key"],
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('resource "google_pubsub_topic" "a" {\n  name = "a"\n  labelz = {}\n}\n', "labelz"),
        ('resource "google_pubsub_topic" "a" {\n      name = "a"\n}\n', "+  name"),
    ],
    ids=["argument", "format"],
)
def test_the_check_finds_what_is_wrong(text: str, complaint: str, tmp_path: Path) -> None:
    """An unknown argument, another format: else a pass would say nothing."""
    (tmp_path / "main.tf").write_text(text)

    done = _check(tmp_path)

    assert done.returncode != 0
    assert complaint in done.stdout + done.stderr


def test_checks_leave_nothing_behind() -> None:
    assert [path for path in MODULE.rglob(".terraform*") if path.name != ".terraform.lock.hcl"] == []
