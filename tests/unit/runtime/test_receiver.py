"""What a post of events changes, and what it does not."""

import asyncio
from collections import Counter

import pytest
from structlog.testing import capture_logs

from postman.adapters.mailgun_events import MailgunEvents
from postman.adapters.memory import MemorySuppressions
from postman.adapters.sendgrid_events import SendGridEvents
from postman.core.entry import Claimed, Entry, State
from postman.core.events import EventKind, MailEvent, address_key, address_tag
from postman.core.ids import MailId
from postman.core.suppression import SuppressionReason
from postman.errors import ForgedEventError, LedgerUnavailableError
from postman.ports.provider import Receipt
from postman.runtime.receiver import Outcome, Receiver
from postman.testing.clock import FakeClock
from postman.testing.events import NOW, Signed, Told
from tests.contract.event_posts import MailgunSender, SendGridSender
from tests.unit.runtime.courier_scene import FlakyLedger

ADDRESS = Told(EventKind.DELIVERED).recipient
KEPT_FOR = 1_000.0


class SlowLedger(FlakyLedger):
    """Counts how many events it is told at once, and of which mails in which order."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.under_way = 0
        self.most = 0
        self.told: list[tuple[str, EventKind]] = []

    async def record_event(self, mail_id: MailId, event: MailEvent) -> Entry | None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.told.append((mail_id, event.kind))
        try:
            return await super().record_event(mail_id, event)
        finally:
            self.under_way -= 1


class Town:
    """A receiver of two providers' events, with a ledger and a list in memory."""

    def __init__(self) -> None:
        self.clock = FakeClock(wall=NOW)
        self.ledger = SlowLedger(self.clock)
        self.suppressions = MemorySuppressions(self.clock)
        self.sendgrid, self.mailgun = SendGridSender(), MailgunSender()
        self.receiver = Receiver(
            ledger=self.ledger,
            suppressions=self.suppressions,
            sources=[
                SendGridEvents("sendgrid", [self.sendgrid.public_key]),
                MailgunEvents("mailgun", [self.mailgun.key]),
            ],
            clock=self.clock,
            kept_for=KEPT_FOR,
        )

    async def sending(self, mail_id: str = "m-1", provider: str = "sendgrid") -> Claimed:
        answer = await self.ledger.claim(MailId(mail_id), claim_id=mail_id, digest="d", provider=provider, lease=60.0)
        assert isinstance(answer, Claimed)
        return answer

    async def tell(self, *told: Told) -> Outcome:
        """Let SendGrid tell it, in one post."""
        [post] = self.sendgrid.post(*told, at=self.clock.time())
        return await self.take("sendgrid", post)

    async def take(self, provider: str, post: Signed) -> Outcome:
        return await self.receiver.receive(provider, post.headers, post.body)

    async def entry(self, mail_id: str = "m-1") -> Entry:
        entry = await self.ledger.find(MailId(mail_id))
        assert entry is not None
        return entry

    def state(self) -> object:
        """Return all that a post could change."""
        return dict(self.ledger._entries), dict(self.suppressions._kept)


@pytest.fixture
def town() -> Town:
    return Town()


async def test_an_event_before_the_mark_is_noted_and_the_mark_is_no_second_copy(town: Town) -> None:
    """The provider may be quicker than its own answer."""
    claimed = await town.sending()

    assert await town.tell(Told(EventKind.DELIVERED)) == Outcome(noted=1)
    assert (await town.entry()).state is State.SENT
    await town.ledger.record_sent(claimed.claim, Receipt("sendgrid", "14c5d75ce93"))

    entry = await town.entry()
    assert (entry.state, entry.message_id) == (State.SENT, "14c5d75ce93")
    assert [note.event for note in entry.history] == ["claimed", "sent"]
    assert [event.kind for event in entry.events] == [EventKind.DELIVERED]


async def test_a_mailgun_event_agrees_with_its_receipt(town: Town) -> None:
    claimed = await town.sending(provider="mailgun")
    [post] = town.mailgun.post(Told(EventKind.ACCEPTED))

    await town.take("mailgun", post)
    await town.ledger.record_sent(claimed.claim, Receipt("mailgun", "<20260203192638.000be97f@mg.example.org>"))

    assert [note.event for note in (await town.entry()).history] == ["claimed", "sent"]


async def test_an_event_settles_a_doubt(town: Town) -> None:
    claimed = await town.sending()
    await town.ledger.record_doubt(claimed.claim, reason="no answer")

    await town.tell(Told(EventKind.ACCEPTED))

    assert (await town.entry()).state is State.SENT


async def test_events_of_strangers_are_counted_and_make_no_entry(town: Town) -> None:
    """Unknown ids, none at all, and mails that were never this provider's."""
    await town.sending("m-2", provider="mailgun")

    outcome = await town.tell(
        Told(EventKind.DELIVERED, mail_id="unknown"),
        Told(EventKind.DELIVERED, mail_id=""),
        Told(EventKind.DELIVERED, mail_id="m-2"),
    )

    assert outcome == Outcome(unknown=3)
    assert await town.ledger.find(MailId("unknown")) is None
    assert (await town.entry("m-2")).state is State.SENDING


@pytest.mark.parametrize(
    ("told", "reason", "lasts"),
    [
        (Told(EventKind.BOUNCED, is_permanent=True), SuppressionReason.BOUNCED, True),
        (Told(EventKind.COMPLAINED), SuppressionReason.COMPLAINED, False),
    ],
)
async def test_a_hard_bounce_and_a_complaint_suppress_the_address(
    town: Town, told: Told, reason: SuppressionReason, *, lasts: bool
) -> None:
    await town.sending()

    await town.tell(told)

    found = await town.suppressions.find(address_key(ADDRESS.upper()))
    assert found is not None
    assert (found.reason, found.mail_id, found.provider) == (reason, "m-1", "sendgrid")
    assert found.expires_at == (told.at + KEPT_FOR if lasts else None)


@pytest.mark.parametrize(
    "told",
    [
        Told(EventKind.BOUNCED),
        Told(EventKind.DROPPED),
        Told(EventKind.DELIVERED),
        Told(EventKind.BOUNCED, mail_id="unknown", is_permanent=True),
        Told(EventKind.COMPLAINED, mail_id="unknown"),
        Told(EventKind.COMPLAINED, mail_id=""),
        Told(EventKind.COMPLAINED, recipient=""),
    ],
)
async def test_nothing_else_suppresses_nor_what_becomes_of_others_mails(town: Town, told: Told) -> None:
    """A hard bounce of a mail that is not ours says nothing that we could undo or explain."""
    await town.sending()

    await town.tell(told)

    assert not (await town.suppressions.changes()).suppressions


async def test_without_a_list_the_events_are_noted_all_the_same(town: Town) -> None:
    town.receiver._suppressions = None
    await town.sending()

    assert await town.tell(Told(EventKind.COMPLAINED)) == Outcome(noted=1)


async def test_a_post_told_again_in_any_order_changes_nothing_more(town: Town) -> None:
    await town.sending()
    told = [Told(EventKind.BOUNCED, is_permanent=True), Told(EventKind.ACCEPTED), Told(EventKind.COMPLAINED)]
    await town.tell(*told)
    before = town.state()

    assert await town.tell(*reversed(told)) == Outcome(noted=3)

    assert town.state() == before


async def test_a_mailgun_post_told_again_is_not_even_asked_about(town: Town) -> None:
    await town.sending(provider="mailgun")
    [post] = town.mailgun.post(Told(EventKind.DELIVERED))
    await town.take("mailgun", post)

    assert await town.take("mailgun", post) == Outcome(repeated=1)
    assert len(town.ledger.told) == 1


async def test_an_address_that_was_lifted_stays_so_when_the_bounce_is_told_again(town: Town) -> None:
    await town.sending()
    told = Told(EventKind.BOUNCED, is_permanent=True)
    await town.tell(told)
    await town.clock.advance(10.0)
    await town.suppressions.lift(address_key(ADDRESS))
    await town.clock.advance(10.0)

    await town.tell(told)

    found = await town.suppressions.find(address_key(ADDRESS))
    assert found is not None
    assert found.is_lifted


async def test_events_of_one_mail_keep_their_order_and_mails_go_together(town: Town) -> None:
    mails = [f"m-{number}" for number in range(200)]
    for mail_id in mails:
        await town.sending(mail_id)
    kinds = [EventKind.ACCEPTED, EventKind.DEFERRED, EventKind.DELIVERED]
    told = [Told(kind, mail_id=mail_id) for kind in kinds for mail_id in mails]

    assert await town.tell(*told) == Outcome(noted=600)

    assert all([kind for mail, kind in town.ledger.told if mail == mail_id] == kinds for mail_id in mails)
    assert 10 < town.ledger.most <= 50


async def test_the_ledger_is_not_flooded_by_many_posts(town: Town) -> None:
    posts = [[Told(EventKind.DELIVERED, mail_id=f"{post}-{number}") for number in range(40)] for post in range(10)]

    await asyncio.gather(*(town.tell(*told) for told in posts))

    assert len(town.ledger.told) == 400
    assert town.ledger.most <= 50


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_ledger_that_is_away_leaves_the_post_to_be_told_again(town: Town, when: str) -> None:
    await town.sending(provider="mailgun")
    [post] = town.mailgun.post(Told(EventKind.DELIVERED))
    town.ledger.failures[when] = 1

    with pytest.raises(LedgerUnavailableError):
        await town.take("mailgun", post)

    assert await town.take("mailgun", post) == Outcome(noted=1)
    assert len((await town.entry()).events) == 1


async def test_a_ledger_that_is_away_is_not_asked_for_each_of_a_thousand_events(town: Town) -> None:
    town.ledger.failures["before"] = 10_000

    with pytest.raises(LedgerUnavailableError):
        await town.tell(*(Told(EventKind.DELIVERED, mail_id=f"m-{number}") for number in range(1_000)))

    assert len(town.ledger.told) <= 50


async def test_everything_is_counted(town: Town) -> None:
    await town.sending()
    [post] = town.mailgun.post(Told(EventKind.DELIVERED))
    await town.tell(Told(EventKind.DELIVERED), Told(EventKind.DELIVERED, mail_id="unknown"))
    for _ in range(2):
        await town.take("mailgun", post)
    await town.take("sendgrid", town.sendgrid.post_foreign())
    with pytest.raises(ForgedEventError):
        await town.take("mailgun", town.mailgun.with_other_key().post_foreign())

    assert town.receiver.counts == Counter(noted=1, unknown=2, unread=1, repeated=1, forged=1)


async def test_logs_name_mails_and_kinds_and_no_address(town: Town) -> None:
    await town.sending()

    with capture_logs() as logs:
        await town.tell(Told(EventKind.BOUNCED, is_permanent=True), Told(EventKind.BOUNCED, mail_id="unknown"))

    assert {line["event"] for line in logs} == {"event_noted", "event_unknown", "suppressed", "events_received"}
    assert any(line.get("mail_id") == "m-1" and line.get("kind") == "bounced" for line in logs)
    shown = repr(logs)
    assert "hidden" not in shown
    assert address_key(ADDRESS) not in shown
    assert address_tag(ADDRESS) not in shown


async def test_a_flood_of_forgeries_does_not_fill_the_log(town: Town) -> None:
    [forged] = town.sendgrid.with_other_key().post(Told(EventKind.DELIVERED))

    with capture_logs() as logs:
        for _ in range(20):
            with pytest.raises(ForgedEventError):
                await town.take("sendgrid", forged)
            await town.clock.advance(0.1)

    assert [line["so_far"] for line in logs] == [1, 11]


async def test_a_large_post_is_read_like_a_small_one(town: Town) -> None:
    mails = [f"m-{number}" for number in range(1_000)]
    for mail_id in mails:
        await town.sending(mail_id)

    assert await town.tell(*(Told(EventKind.DELIVERED, mail_id=mail_id) for mail_id in mails)) == Outcome(noted=1_000)
    [forged] = town.sendgrid.with_other_key().post(*(Told(EventKind.DELIVERED) for _ in range(1_000)))
    with pytest.raises(ForgedEventError):
        await town.take("sendgrid", forged)


def test_it_says_whose_events_it_can_verify(town: Town) -> None:
    assert town.receiver.providers == ["mailgun", "sendgrid"]
