"""A worker that stood still, for whatever reason, starts no request that could outlast its claim."""

from typing import Any

import pytest

from postman.core.ids import MailId
from postman.core.protocol import State
from postman.core.verdict import Ack, GiveBack
from postman.testing.clock import FakeClock
from tests.unit.runtime.courier_scene import LIMITS, FlakyLedger, Scene, down, mail

_TIMEOUT = 10.0
"""Of the scene's providers."""


class StandingStill(FlakyLedger):
    """A ledger; the whole process stands still for *seconds* when it has done what is noted as *event*."""

    def __init__(self, clock: FakeClock, event: str, seconds: float) -> None:
        super().__init__(clock)
        self._time = clock
        self._event = event
        self._seconds = seconds

    async def _apply(self, mail_id: MailId, transition: Any) -> Any:
        answer = await super()._apply(mail_id, transition)
        if self._entries[mail_id].history[-1].event == self._event:
            self._event = ""
            self._time._now += self._seconds
        return answer


def standing_still(event: str, seconds: float) -> Scene:
    scene = Scene()
    scene.ledger = scene.courier._ledger = StandingStill(scene.clock, event, seconds)
    return scene


@pytest.mark.parametrize("seconds", [LIMITS.budget - _TIMEOUT + 0.1, LIMITS.lease + 60.0])
async def test_a_mail_whose_claim_has_too_little_time_left_is_released_and_sent_under_a_new_one(
    seconds: float,
) -> None:
    scene = standing_still("claimed", seconds)
    one = mail()

    assert await scene.deliver(one) == Ack()
    history = (await scene.entry(one)).history
    assert [note.event for note in history] == ["claimed", "released", "claimed", "sent"]
    assert history[1].detail == "no time is left for another attempt"
    assert len(scene.a.attempts) == 1


async def test_a_mail_whose_claim_has_just_enough_time_left_is_sent_under_it() -> None:
    scene = standing_still("claimed", LIMITS.budget - _TIMEOUT)
    one = mail()

    assert await scene.deliver(one) == Ack()
    assert [note.event for note in (await scene.entry(one)).history] == ["claimed", "sent"]


async def test_a_mail_taken_over_meanwhile_is_left_alone() -> None:
    """It stood still for so long that another worker has put the mail in doubt: nothing is sent or recorded."""
    scene = standing_still("claimed", LIMITS.lease + 1.0)
    one = mail()
    claim = scene.ledger.claim

    async def claimed_by_two(mail_id: MailId, **fields: Any) -> Any:
        answer = await claim(mail_id, **fields)
        await claim(mail_id, **{**fields, "claim_id": "another's"})
        return answer

    scene.ledger.claim = claimed_by_two  # type: ignore[method-assign]  # a fake of a fake
    assert isinstance(await scene.deliver(one), GiveBack)
    assert scene.a.attempts == []
    assert (await scene.entry(one)).state is State.IN_DOUBT


async def test_a_mail_goes_to_no_second_provider_once_too_little_time_is_left() -> None:
    """The move is recorded before the request leaves, and that may be where the worker stood still."""
    scene = standing_still("failed over", LIMITS.budget)
    scene.a.then(down("a"))
    one = mail()

    assert await scene.deliver(one) == Ack()
    assert scene.b.attempts == []
    history = (await scene.entry(one)).history
    assert [note.event for note in history] == ["claimed", "failed over", "released", "claimed", "sent"]
