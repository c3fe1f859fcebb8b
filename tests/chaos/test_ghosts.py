"""A worker that ends leaves no pull behind that takes a mail along; `python -m tests.chaos.ghosts` tries it longer."""

from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest

from postman.testing.emulators import Emulators
from tests.chaos.ghosts import play, told

TRIALS = 5
KILLS = 1


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(170)
async def test_a_mail_published_while_a_worker_stops_is_sent_by_the_other_at_once_and_none_is_lost_when_one_is_killed(
    pubsub: Emulators, firestore: Emulators, tmp_path: Path
) -> None:
    trials = await play(tmp_path, [*[SIGTERM] * TRIALS, *[SIGKILL] * KILLS])
    stopped, killed = trials[:TRIALS], trials[TRIALS:]
    print(told(stopped), told(killed), sep="\n")  # noqa: T201 — figures

    assert [trial for trial in stopped if not trial.is_at_once] == []
    assert all(trial.by_other for trial in stopped)
