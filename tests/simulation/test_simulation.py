"""The whole cluster in one process, under every fault, in virtual time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.branches import missing
from tests.simulation.campaign import run_campaign
from tests.simulation.regressions import REGRESSIONS

_ROOT = Path(__file__).parents[2]
_SEEDS = 600
_SECONDS = 60.0


def _trace(seed: int, hash_seed: str) -> str:
    command = [sys.executable, "-m", "tests.simulation", "--seed", str(seed), "--trace"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        command, cwd=_ROOT, env=environment, check=False, capture_output=True, text=True, timeout=60
    ).stdout


@pytest.mark.slow
def test_no_mail_is_lost_or_sent_twice_whatever_befalls_the_cluster() -> None:
    """On a busy machine fewer seeds are run."""
    campaign = run_campaign(range(_SEEDS), jobs=2, seconds=_SECONDS)

    shown = [f"python -m tests.simulation --seed {one.seed} --trace: {one.wrongs[0]}" for one in campaign.failures]
    assert not shown
    assert campaign.seeds > 0
    assert not missing(campaign.marks, campaign.seeds)


def test_seeds_that_once_found_a_mistake_find_none() -> None:
    campaign = run_campaign([one.seed for one in REGRESSIONS], jobs=2)

    assert not campaign.failures


def test_a_seed_takes_the_same_course_each_time() -> None:
    """In two processes, whose hashes of texts and addresses in memory differ."""
    first, second = _trace(3, "1"), _trace(3, "2")

    assert len(first.splitlines()) > 50
    assert first == second
