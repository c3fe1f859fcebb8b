"""A worker that ends, or stands still, at any step of a mail's way: what the catalogue of faults promises comes true.

`python -m tests.chaos.matrix` plays the same cases and prints what came of them.
"""

import pytest

from postman.testing.emulators import Emulators
from tests.chaos.cases import CASES, Case
from tests.chaos.matrix import AT_ONCE, Outcome, play, problems
from tests.chaos.together import Together, chosen


@pytest.fixture(scope="module")
def matrix(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Together[Case, Outcome]:
    return Together(chosen(request, CASES), play, tmp_path_factory.mktemp("matrix"), at_once=AT_ONCE)


@pytest.mark.slow
@pytest.mark.timeout(800)
@pytest.mark.parametrize("name", CASES)
def test_a_worker_stopped_at_any_step_loses_nothing_and_doubles_nothing_but_what_its_owner_chose(
    pubsub: Emulators, firestore: Emulators, matrix: Together[Case, Outcome], name: str
) -> None:
    outcome = matrix.outcome(name)

    assert outcome.sprung > 0
    assert not problems(CASES[name], outcome)
