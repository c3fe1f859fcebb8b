"""Every fault at once, for some seconds; `python -m tests.chaos` makes a long run of it, and prints its figures."""

from pathlib import Path

import pytest

from postman.testing.emulators import Service, is_installed
from tests.chaos.report import broken, document, table
from tests.chaos.run import Plan, play


@pytest.fixture
def _installed() -> None:
    """It freezes emulators, and so needs its own."""
    for service in Service:
        if not is_installed(service):
            pytest.skip(f"start of the {service.label} emulator (no java, or the component is not installed)")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("_installed")
async def test_nothing_is_lost_or_doubled_whatever_happens(tmp_path: Path) -> None:
    plan = Plan(mails=400, kills=3, stops=1, lost_replies=20, freezes=2, cuts=2, seed=400)
    run = await play(plan, tmp_path)
    figures = document(run)

    assert not broken(run), table(figures)
    assert not figures["doubled"]
    assert figures["mails"] == 400
    poisonous = {letter.mail_id for letter in run.evidence.letters if letter.reason == "poison"}
    assert all(run.evidence.entries[mail_id].lapses >= 2 for mail_id in poisonous), "two workers ended with each"
    assert len(poisonous) < plan.kills
    assert {reason: count for reason, count in figures["dead_lettered"].items() if reason != "poison"} == {
        "refused": 4,
        "expired": 2,
    }
    assert figures["sent"] == 394 - len(poisonous)
    assert figures["doubts"] > 0
