"""The shards grow and shrink under load and kills; `python -m tests.chaos.reshard` does it for longer."""

from pathlib import Path

import pytest

from postman.testing.emulators import Emulators
from tests.chaos.reshard import Plan, play


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_no_mail_is_lost_or_doubled_while_shards_come_and_go(
    tmp_path: Path, pubsub: Emulators, firestore: Emulators
) -> None:
    plan = Plan(shards=(4, 6, 3), rate=10.0, kill_every=8.0, quiet=10.0, patience=3.0, looks_into_retired=False)
    figures = await play(plan, tmp_path, pubsub)

    assert not figures.breaches, str(figures)
    assert figures.accepted + figures.poison == figures.mails > 200
    assert 2 < figures.kills > figures.poison
    assert figures.broken_off == 2
    assert figures.published_twice > 0
