"""Checkov's rules hold for the module, but for those that are skipped with a reason."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.terraform.runs import MODULE, ROOT

SCRIPT = MODULE / "checkov.sh"
PUBLIC_TOPIC = """
resource "google_pubsub_topic_iam_member" "planted" {
  topic  = "postman-mail-0"
  role   = "roles/pubsub.publisher"
  member = "allUsers"
}
"""
SKIPS = re.compile(r"^  - (CKV2?_[A-Z]+_[0-9]+)(  # .+)?$", re.MULTILINE)


def _checkov(module: Path) -> Mapping[str, Any]:
    own = ROOT / ".postman" / "checkov" / "bin" / "checkov"
    if not own.exists() and shutil.which("checkov") is None:
        pytest.skip("Checkov (terraform/checkov.sh --install)")
    program = str(own) if own.exists() else "checkov"
    command = (program, "--directory", str(module), "--config-file", str(MODULE / ".checkov.yaml"), "--output", "json")
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False, timeout=150)
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found


def test_only_a_mistake_that_is_planted_fails(tmp_path: Path) -> None:
    """One run for both: the rules are really asked, and the module keeps them."""
    module = tmp_path / "module"
    shutil.copytree(MODULE, module)
    (module / "planted.tf").write_text(PUBLIC_TOPIC)

    found = _checkov(module)

    failed = {(each["check_id"], each["resource"].rpartition(".")[2]) for each in found["results"]["failed_checks"]}
    assert failed == {("CKV_GCP_99", "planted")}
    assert found["summary"]["passed"] > 20
    assert found["summary"]["parsing_errors"] == 0


def test_what_is_skipped_has_a_reason() -> None:
    skips = dict(SKIPS.findall((MODULE / ".checkov.yaml").read_text()))

    assert skips
    assert [check for check, reason in skips.items() if not reason] == []
