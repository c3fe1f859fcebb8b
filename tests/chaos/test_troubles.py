"""Calls that fail on a mail's way, before or after they were done: sent once all the same, or dead-lettered."""

import pytest

from postman.testing.emulators import Emulators
from tests.chaos.checker import breaches
from tests.chaos.together import Together, chosen
from tests.chaos.troubles import AT_ONCE, GOOD, TROUBLES, Result, Trouble, play


@pytest.fixture(scope="module")
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Together[Trouble, Result]:
    return Together(chosen(request, TROUBLES), play, tmp_path_factory.mktemp("troubles"), at_once=AT_ONCE)


@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.parametrize("name", TROUBLES)
def test_each_good_mail_is_sent_once_and_the_refused_one_dead_lettered(
    pubsub: Emulators, firestore: Emulators, played: Together[Trouble, Result], name: str
) -> None:
    result = played.outcome(name)
    evidence = result.evidence

    assert result.troubled > 0
    assert not breaches(evidence, may_double=False)
    assert evidence.copies == {f"mail-{number}": 1 for number in range(GOOD)}
    assert {letter.mail_id for letter in evidence.letters} == {f"mail-{GOOD}"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["no ledger", "a ledger whose quota is used up", "a ledger that denies"])
def test_without_a_ledger_no_mail_leaves_and_the_worker_does_not_spin(
    pubsub: Emulators, firestore: Emulators, played: Together[Trouble, Result], name: str
) -> None:
    result = played.outcome(name)

    assert result.sent_during == 0
    assert sum(result.calls.values()) < 150
