"""A provider goes down under load and comes back, on real processes: nobody loses a mail, and all go home.

`python -m tests.benchmarks.failover` prints the same figures under more load.
"""

import sys
from pathlib import Path

import pytest

from postman.testing.emulators import Emulators
from tests.system.outage import REHOME_AFTER, WORKERS, Outage, play

OUTAGES = [Outage("down", seconds=3.0), Outage("hang", seconds=4.0, only_sends=True)]
TIMEOUT = 2.0
"""Of the providers; a hanging one is noticed no sooner."""
OPEN_PERIOD = 5.0
"""The first; the outages end before a second begins."""
THRESHOLD = 5
MARGIN = 8.0
"""For a slow machine."""
CONCURRENCY = 50


@pytest.mark.slow
async def test_an_outage_costs_a_few_attempts_no_mail_and_all_go_home_again(
    emulators: Emulators, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    played = await play(tmp_path, OUTAGES, per_second=100.0)
    with capsys.disabled():
        sys.stdout.writelines(f"\n{figures}" for figures in played.figures)

    assert (played.lost, played.doubled, played.surprises) == ([], [], False)
    for figures, outage in zip(played.figures, OUTAGES, strict=True):
        noticed = TIMEOUT if outage.fault == "hang" else 0.0
        assert figures.elsewhere_after < noticed + MARGIN / 2
        assert 1 <= figures.failed_attempts <= WORKERS * (CONCURRENCY + THRESHOLD + 2)
        assert figures.home_after < OPEN_PERIOD + 1.5 * REHOME_AFTER + MARGIN
        assert figures.after == pytest.approx(figures.before, abs=0.35)
    assert played.figures[0].went_on >= 1
    assert played.figures[0].during < 0.5 * played.figures[0].before
