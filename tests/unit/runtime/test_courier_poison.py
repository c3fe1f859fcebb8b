"""Mails that end workers, as the courier sees them: tasted before they are read, and sent alone after a first end."""

import asyncio
import math
from collections.abc import Callable

import pytest

from postman import Mail
from postman.core.ids import MailId
from postman.core.message import Message
from postman.core.protocol import Entry, State
from postman.core.verdict import Ack, DeadLetter, DeadReason, GiveBack, Verdict
from postman.core.wire import message_for
from postman.ports.queue import Delivery
from postman.runtime.suspects import Suspects
from postman.testing.clock import FakeClock
from postman.testing.provider import Answer
from postman.testing.waiting import wait_until
from tests.unit.runtime.courier_scene import LIMITS, LOOK_UP_AFTER, Scene, mail

HARM = "reading it ended the process: signal 9"
TWICE = "2 workers ended, or stood still, while they had it"


class FakeTaster:
    """Finds some mails harmful, and remembers all it was given."""

    def __init__(self, *harmful: str) -> None:
        self.harmful = harmful
        self.tasted: list[str] = []

    async def taste(self, message: Message) -> str:
        mail_id = message.attributes.get("mail_id", "")
        self.tasted.append(mail_id)
        return HARM if mail_id in self.harmful else ""

    async def aclose(self) -> None:
        """Nothing to let go."""


class Ward(Scene):
    """A scene whose couriers taste, and in which workers can end."""

    def __init__(self, *harmful: str) -> None:
        super().__init__()
        self.taster = FakeTaster(*harmful)
        self.courier._suspects = Suspects(self.ledger, self.taster)

    async def hand_out(self, message: Mail | Message, attempt: int) -> Verdict:
        message = message_for(message) if isinstance(message, Mail) else message
        return await self.courier.deal_with(Delivery(message, "r", attempt, self.clock.now() + 30.0, 0.0))

    def hang(self) -> None:
        """Let the next attempt never end, by no clock."""
        self.a.then(Answer(delay=math.inf))
        self.a._clock = FakeClock(auto=False)

    async def lapse(self, one: Mail) -> None:
        """Let a worker that claimed *one* end, and its lease with it."""
        await self.claim(one)
        self.clock._now += LIMITS.lease + 1.0

    async def make_suspect(self, one: Mail) -> None:
        """Let a worker end with *one*, and evidence free it again."""
        await self.lapse(one)
        await self.ledger.claim(one.id, claim_id="after", digest="", provider="a", lease=1.0)
        answer = await self.hand_out(one, 2)
        assert isinstance(answer, GiveBack)
        self.clock._now += LOOK_UP_AFTER + 1.0


async def entry_of(scene: Scene, mail_id: str) -> Entry:
    entry = await scene.ledger.find(MailId(mail_id))
    assert entry is not None
    return entry


async def test_what_is_handed_out_for_the_first_time_is_not_tasted() -> None:
    scene = Ward("m")
    assert await scene.hand_out(mail(id="m"), 1) == Ack()
    assert scene.taster.tasted == []


async def test_what_is_handed_out_again_is_tasted_before_it_is_read() -> None:
    scene = Ward()
    assert await scene.hand_out(mail(id="m"), 2) == Ack()
    assert scene.taster.tasted == ["m"]
    assert [one.id for one in scene.a.accepted] == ["m"]


async def test_a_message_that_cannot_be_read_without_harm_is_dead_lettered_unread() -> None:
    scene = Ward("bad")
    verdict = await scene.hand_out(Message(b"\x00 unreadable", {"mail_id": "bad"}), 2)

    assert verdict == DeadLetter(DeadReason.POISON, HARM)
    entry = await entry_of(scene, "bad")
    assert (entry.state, entry.digest, entry.reason) == (State.REFUSED, "", f"poison: {HARM}")
    assert scene.a.attempts == []


async def test_a_harmful_message_without_an_id_is_dead_lettered_too() -> None:
    scene = Ward("")
    assert await scene.hand_out(Message(b"?", {}), 5) == DeadLetter(DeadReason.POISON, HARM)


async def test_a_harmful_message_binds_no_content_to_its_id() -> None:
    """Somebody's poison must not keep the mail from going whose id it used."""
    scene = Ward("m")
    await scene.hand_out(Message(b"?", {"mail_id": "m"}), 2)
    scene.taster.harmful = ()

    assert await scene.hand_out(mail(id="m"), 1) == Ack()
    assert (await entry_of(scene, "m")).state is State.SENT


async def test_a_harmful_message_with_the_id_of_a_mail_that_was_sent_changes_nothing_of_it() -> None:
    scene = Ward("m")
    await scene.hand_out(mail(id="m"), 1)
    verdict = await scene.hand_out(Message(b"?", {"mail_id": "m"}), 2)

    assert isinstance(verdict, DeadLetter)
    assert (await entry_of(scene, "m")).state is State.SENT


async def test_a_replayed_poison_may_be_sent_once_it_can_be_read() -> None:
    scene = Ward("m")
    await scene.hand_out(mail(id="m"), 2)
    await scene.ledger.reopen(MailId("m"), reason="the reader was mended")
    scene.taster.harmful = ()

    assert await scene.hand_out(mail(id="m"), 2) == Ack()
    assert [one.id for one in scene.a.accepted] == ["m"]


async def test_what_is_merely_malformed_stays_so_when_it_is_handed_out_again() -> None:
    scene = Ward()
    verdict = await scene.hand_out(Message(b"{", {"mail_id": "m", "schema": "1"}), 3)
    assert isinstance(verdict, DeadLetter)
    assert verdict.reason is DeadReason.MALFORMED


async def test_a_mail_with_which_one_worker_ended_is_sent() -> None:
    scene = Ward()
    one = mail(id="m")
    await scene.make_suspect(one)

    assert await scene.hand_out(one, 3) == Ack()
    assert [each.id for each in scene.a.accepted] == ["m"]
    assert (await scene.entry(one)).lapses == 1


@pytest.mark.parametrize("attempt", [1, 3], ids=["attempts are not counted", "attempts are counted"])
async def test_a_suspect_that_waits_for_another_one_holds_no_claim(attempt: int) -> None:
    """Else the end of the worker would count against it as well, and two such ends would be its own."""
    scene = Ward()
    poison, innocent = mail(id="poison"), mail(id="innocent")
    for one in (poison, innocent):
        await scene.make_suspect(one)
    scene.hang()
    sending = asyncio.ensure_future(scene.hand_out(poison, attempt))
    await wait_until(lambda: [one.id for one in scene.a.attempts] == ["poison"], within=1.0)
    waiting = asyncio.ensure_future(scene.hand_out(innocent, attempt))
    await _settled(waiting.done)

    assert (await scene.entry(innocent)).state is not State.SENDING
    assert await waiting == GiveBack(1.0)
    assert [one.id for one in scene.a.attempts] == ["poison"]
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


async def _settled(is_over: Callable[[], bool]) -> None:
    """Let everybody do all that they can do at once."""
    for _ in range(200):
        if is_over():
            return
        await asyncio.sleep(0)


async def test_suspects_are_sent_one_after_the_other() -> None:
    scene = Ward()
    some = [mail(id=f"m-{number}") for number in range(5)]
    for one in some:
        await scene.make_suspect(one)
    most = 0

    async def watch() -> None:
        nonlocal most
        while len(scene.a.accepted) < len(some):
            entries = [await scene.entry(one) for one in some]
            most = max(most, sum(entry.state is State.SENDING for entry in entries))
            await asyncio.sleep(0)

    watching = asyncio.ensure_future(watch())
    assert await asyncio.gather(*(scene.hand_out(one, 3) for one in some)) == [Ack()] * 5
    await watching
    assert most == 1


async def test_others_do_not_wait_for_a_suspect() -> None:
    scene = Ward()
    suspect = mail(id="suspect")
    await scene.make_suspect(suspect)
    scene.hang()
    sending = asyncio.ensure_future(scene.hand_out(suspect, 3))
    await wait_until(lambda: len(scene.a.attempts) == 1, within=1.0)

    assert await asyncio.wait_for(scene.hand_out(mail(id="other"), 1), 1.0) == Ack()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


async def test_a_doubt_that_a_workers_end_left_is_cleared_and_the_mail_then_goes_alone() -> None:
    """The one that is alone now may end this worker, too: who learns meanwhile that it is a suspect claims nothing."""
    scene = Ward()
    first, second = mail(id="first"), mail(id="second", on_doubt="resend")
    await scene.make_suspect(first)
    await scene.lapse(second)
    scene.hang()
    sending = asyncio.ensure_future(scene.hand_out(first, 3))
    await wait_until(lambda: [one.id for one in scene.a.attempts] == ["first"], within=1.0)
    waiting = asyncio.ensure_future(scene.hand_out(second, 2))
    await _settled(waiting.done)

    entry = await scene.entry(second)
    assert (entry.state, entry.lapses) == (State.FREE, 1)
    assert [note.event for note in entry.history] == ["claimed", "in doubt", "doubt cleared"]
    for task in (sending, waiting):
        task.cancel()
    await asyncio.gather(sending, waiting, return_exceptions=True)


async def test_a_mail_with_which_two_workers_ended_is_dead_lettered_and_not_sent() -> None:
    scene = Ward()
    one = mail(id="m", on_doubt="resend")
    await scene.lapse(one)
    scene.hang()
    third = asyncio.ensure_future(scene.hand_out(one, 2))
    await wait_until(lambda: len(scene.a.attempts) == 1, within=1.0)
    await end_of_worker(scene, third)

    verdict = await scene.hand_out(one, 3)
    assert verdict == DeadLetter(DeadReason.POISON, f"poison: {TWICE}", (await scene.entry(one)).token)
    entry = await scene.entry(one)
    assert (entry.state, entry.lapses, entry.reason) == (State.REFUSED, 2, f"poison: {TWICE}")
    assert len(scene.a.attempts) == 1
    await scene.ledger.park(one.id, token=(await scene.entry(one)).token)
    assert await scene.hand_out(one, 4) == Ack()


async def end_of_worker(scene: Ward, dealing: "asyncio.Task[Verdict]") -> None:
    """End a worker as a power failure does: what it does meanwhile reaches nobody."""
    scene.ledger.failures["before"] = 1_000
    dealing.cancel()
    await asyncio.gather(dealing, return_exceptions=True)
    scene.ledger.failures.clear()
    scene.clock._now += LIMITS.lease + 1.0


async def test_a_parked_poison_that_is_replayed_is_sent_and_counts_from_the_start() -> None:
    scene = Ward()
    one = mail(id="m", on_doubt="resend")
    for _ in range(2):
        await scene.lapse(one)
        await scene.ledger.claim(one.id, claim_id="n", digest=(await scene.entry(one)).digest, provider="a", lease=1.0)
        await scene.ledger.clear_doubt(one.id, token=(await scene.entry(one)).token, reason="r")
    assert isinstance(await scene.hand_out(one, 3), DeadLetter)
    await scene.ledger.park(one.id, token=(await scene.entry(one)).token)
    await scene.ledger.reopen(one.id, reason="mended")

    assert await scene.hand_out(one, 1) == Ack()
    assert (await scene.entry(one)).lapses == 0
    assert [each.id for each in scene.a.accepted] == ["m"]
