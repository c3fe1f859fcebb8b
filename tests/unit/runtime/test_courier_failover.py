"""One delivery whose first provider leaves a doubt: where the mail goes, and what the ledger tells of it."""

import pytest

from postman import OnDoubt
from postman.core.protocol import State
from postman.core.verdict import Ack, GiveBack
from postman.errors import OutcomeUnknownError
from postman.testing.provider import Answer
from tests.unit.runtime.courier_scene import Scene, mail, unknown


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_mail_whose_owner_chose_speed_goes_to_the_other_provider_in_the_same_delivery(scene: Scene) -> None:
    one = mail(on_doubt=OnDoubt.RESEND)
    scene.a.then(unknown(takes=True))

    assert await scene.deliver(one) == Ack()
    assert (len(scene.a.attempts), len(scene.b.accepted)) == (1, 1)
    entry = await scene.entry(one)
    assert (entry.state, entry.provider) == (State.SENT, "b")


async def test_the_ledger_tells_of_the_doubt_at_which_provider_and_then_of_the_other(scene: Scene) -> None:
    one = mail(on_doubt=OnDoubt.RESEND)
    scene.a.then(unknown(takes=False))
    await scene.deliver(one)

    told = [(note.event, note.provider) for note in (await scene.entry(one)).history]
    assert told.index(("in doubt", "a")) < len(told) - 1
    assert told[-1][1] == "b"


async def test_a_doubt_at_both_gives_the_mail_back_after_one_attempt_at_each(scene: Scene) -> None:
    one = mail(on_doubt=OnDoubt.RESEND)
    scene.a.then(unknown(takes=False))
    scene.b.then(Answer(OutcomeUnknownError("x", provider="b"), takes=False))

    assert isinstance(await scene.deliver(one), GiveBack)
    assert (len(scene.a.attempts), len(scene.b.attempts)) == (1, 1)
    assert (await scene.entry(one)).state is State.IN_DOUBT


async def test_the_provider_that_left_the_doubt_is_better_than_none(scene: Scene) -> None:
    one = mail(on_doubt=OnDoubt.RESEND)
    scene.breakers["b"].lock_out(100.0)
    scene.a.then(unknown(takes=False))

    assert await scene.deliver(one) == Ack()
    assert (len(scene.a.attempts), len(scene.b.attempts)) == (2, 0)


@pytest.mark.parametrize("choice", [OnDoubt.ASK, OnDoubt.HOLD])
async def test_whoever_did_not_choose_speed_is_never_sent_elsewhere(scene: Scene, choice: OnDoubt) -> None:
    one = mail(on_doubt=choice)
    scene.a.then(unknown(takes=False))
    for _ in range(5):
        await scene.deliver(one)

    assert (len(scene.a.attempts), len(scene.b.attempts)) == (1, 0)
    assert (await scene.entry(one)).state is State.IN_DOUBT


async def test_places_are_free_again_after_each_of_these(scene: Scene) -> None:
    for choice in OnDoubt:
        scene.a.then(unknown(takes=False))
        await scene.deliver(mail(on_doubt=choice))

    assert [standing.in_flight for standing in scene.failover.standings().values()] == [0, 0]
