"""A third party adds an adapter by installing a package: nothing here is told of it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.cli.commands import Process

_MODULE = """
from postman.adapters.memory import open_ledger, open_shards  # any adapter will do
from postman.testing import FakeProvider


def open_provider(spec):
    return FakeProvider(spec.name)
"""
_ENTRY_POINTS = """
[postman.queues]
pigeon = pigeons:open_shards
[postman.ledgers]
pigeon = pigeons:open_ledger
[postman.providers]
pigeon = pigeons:open_provider
"""
_PROVIDERS = '[[provider]]\nname = "loft"\nkind = "pigeon"\napi_key = "env:PIGEON_KEY"\n'


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment in which the package of a third party is installed."""
    (tmp_path / "pigeons.py").write_text(_MODULE)
    metadata = tmp_path / "pigeons-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeons\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(_ENTRY_POINTS)
    (tmp_path / "providers.toml").write_text(_PROVIDERS)
    return os.environ | {
        "PYTHONPATH": str(tmp_path),
        "POSTMAN_QUEUE": "pigeon:",
        "POSTMAN_LEDGER": "pigeon:",
        "POSTMAN_PROVIDERS": str(tmp_path / "providers.toml"),
        "PIGEON_KEY": "coo",
    }


@pytest.mark.parametrize("command", [["init"], ["providers", "list"], ["status"]])
def test_an_installed_adapter_is_found_by_its_name(environ: dict[str, str], command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "postman", *command], env=environ, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "pigeon" in done.stdout


def test_a_ledger_that_keeps_no_roster_is_no_obstacle(environ: dict[str, str], tmp_path: Path) -> None:
    """Its workers run without reports, and say so once; `status` says it too."""
    with Process(["worker"], folder=tmp_path, environ=environ, name="worker") as worker:
        worker.wait_for("not_reachable")  # its queues are not made
        worker.signal(signal.SIGTERM)
        assert worker.ended(within=8.0) == 0
    assert (len(worker.events("no_roster")), len(worker.events("no_suppressions"))) == (1, 1)
    done = subprocess.run(
        [sys.executable, "-m", "postman", "status"], env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "this kind of ledger (pigeon:) keeps no reports of workers" in done.stdout


def test_one_that_is_not_installed_is_named_with_those_that_are(environ: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "postman", "init"],
        env=environ | {"POSTMAN_QUEUE": "owl:"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "POSTMAN_QUEUE" in done.stderr
    assert "pigeon" in done.stderr
