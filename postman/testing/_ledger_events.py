"""The ledger's contract: what providers tell, and mails that workers ended with."""

from dataclasses import replace
from typing import ClassVar

from postman.core.entry import Claimed, Poisonous, State
from postman.core.events import EventKind, MailEvent, address_tag
from postman.core.ids import new_mail_id
from postman.ports.clock import Clock
from postman.ports.ledger import Ledger
from postman.ports.provider import Receipt
from postman.testing._ledger_tools import LONG, RECEIPT, ask, entry_of, is_lost, take, take_over

__all__ = ["EventContract"]


def _event(mail_id: str, kind: EventKind = EventKind.DELIVERED) -> MailEvent:
    return MailEvent("alpha", kind, mail_id, 1_700_000_000.5, "m-1", "bob@example.org", detail="250 OK")


class EventContract:
    """*lease* is the one that tests wait out, in seconds."""

    lease: ClassVar[float] = 1.0

    async def test_an_event_is_kept_with_its_recipient_hidden(self, ledger: Ledger) -> None:
        claim = await take(ledger, new_mail_id(), provider="alpha")
        await ledger.record_sent(claim, RECEIPT)
        told = await ledger.record_event(claim.mail_id, _event(claim.mail_id))
        [event] = (await entry_of(ledger, claim.mail_id)).events
        assert told is not None
        assert told.events == (event,)
        assert (event.at, event.kind, event.provider) == (1_700_000_000.5, EventKind.DELIVERED, "alpha")
        assert (event.recipient, event.detail) == (address_tag("bob@example.org"), "250 OK")

    async def test_events_add_up_and_repetitions_do_not(self, ledger: Ledger) -> None:
        claim = await take(ledger, new_mail_id(), provider="alpha")
        for kind in (EventKind.BOUNCED, EventKind.DELIVERED, EventKind.BOUNCED, EventKind.COMPLAINED):
            await ledger.record_event(claim.mail_id, _event(claim.mail_id, kind))
        entry = await entry_of(ledger, claim.mail_id)
        assert [event.kind for event in entry.events] == [
            EventKind.BOUNCED,
            EventKind.DELIVERED,
            EventKind.COMPLAINED,
        ]

    async def test_an_event_before_the_mark_is_an_acceptance(self, ledger: Ledger) -> None:
        """The mark that follows is recognised as the same copy."""
        claim = await take(ledger, new_mail_id(), provider="alpha")
        await ledger.record_event(claim.mail_id, _event(claim.mail_id, EventKind.ACCEPTED))
        assert (await entry_of(ledger, claim.mail_id)).state is State.SENT
        await ledger.record_sent(claim, RECEIPT)
        history = [note.event for note in (await entry_of(ledger, claim.mail_id)).history]
        assert history == ["claimed", "sent"]

    async def test_an_event_settles_a_doubt(self, ledger: Ledger) -> None:
        claim = await take(ledger, new_mail_id(), provider="alpha")
        await ledger.record_doubt(claim, reason="time-out")
        await ledger.record_event(claim.mail_id, _event(claim.mail_id))
        entry = await entry_of(ledger, claim.mail_id)
        assert (entry.state, entry.message_id) == (State.SENT, "m-1")

    async def test_an_event_of_a_mail_that_is_not_known_makes_no_entry(self, ledger: Ledger) -> None:
        mail_id = new_mail_id()
        assert await ledger.record_event(mail_id, _event(mail_id)) is None
        assert await ledger.find(mail_id) is None

    async def test_an_event_of_a_provider_that_never_had_the_mail_changes_nothing(self, ledger: Ledger) -> None:
        claim = await take(ledger, new_mail_id(), provider="beta")
        assert await ledger.record_event(claim.mail_id, _event(claim.mail_id)) is None
        assert (await entry_of(ledger, claim.mail_id)).state is State.SENDING

    async def test_a_message_id_that_comes_later_is_adopted(self, ledger: Ledger) -> None:
        claim = await take(ledger, new_mail_id(), provider="alpha")
        await ledger.record_event(claim.mail_id, replace(_event(claim.mail_id), message_id=""))
        await ledger.record_sent(claim, Receipt("alpha", "m-9"))
        assert (await entry_of(ledger, claim.mail_id)).message_id == "m-9"

    async def test_a_key_is_repeated_under_a_claim_of_its_own(self, ledger: Ledger) -> None:
        """At the same provider, by one worker; asked again after a lost reply it is recognised."""
        first = await take(ledger, new_mail_id(), provider="alpha")
        await ledger.record_doubt(first, reason="time-out")
        again = await ledger.repeat(first.mail_id, token=first.token, claim_id="two", lease=LONG)
        assert (again.token, again.provider, again.attempts) == (first.token + 1, "alpha", 2)
        assert await ledger.repeat(first.mail_id, token=first.token, claim_id="two", lease=LONG) == again
        assert await is_lost(ledger.repeat(first.mail_id, token=first.token, claim_id="three", lease=LONG))
        assert await is_lost(ledger.record_doubt(first, reason="late"))
        await ledger.record_sent(again, RECEIPT)
        assert (await entry_of(ledger, first.mail_id)).state is State.SENT

    async def test_a_repetition_that_did_not_arrive_makes_no_doubt_younger(self, ledger: Ledger, clock: Clock) -> None:
        first = await take(ledger, new_mail_id(), provider="alpha")
        await ledger.record_doubt(first, reason="time-out")
        before = await entry_of(ledger, first.mail_id)
        await clock.sleep(0.3)
        again = await ledger.repeat(first.mail_id, token=first.token, claim_id="two", lease=LONG)
        await ledger.record_doubt(again, reason="down", since=before.since)
        after = await entry_of(ledger, first.mail_id)
        assert (after.state, after.token) == (State.IN_DOUBT, first.token + 1)
        assert abs(after.since - before.since) < 0.01

    async def test_a_worker_that_takes_over_from_itself_has_not_ended(self, ledger: Ledger, clock: Clock) -> None:
        """It could not record in time what became of the mail: that is not the mail's doing."""
        mail_id = new_mail_id()
        await take(ledger, mail_id, claim_id="w1.1", lease=self.lease)
        assert (await take_over(ledger, clock, mail_id, claim_id="w1.2")).entry.lapses == 0

    async def test_a_repetition_that_ends_its_worker_counts(self, ledger: Ledger, clock: Clock) -> None:
        """After the second end the key is not repeated any more."""
        mail_id = new_mail_id()
        await take(ledger, mail_id, provider="alpha", lease=self.lease)
        doubt = await take_over(ledger, clock, mail_id)
        await ledger.repeat(mail_id, token=doubt.entry.token, claim_id="two", lease=self.lease)
        doubt = await take_over(ledger, clock, mail_id)
        assert doubt.entry.lapses == 2
        assert await is_lost(ledger.repeat(mail_id, token=doubt.entry.token, claim_id="three", lease=LONG))

    async def test_a_mail_that_two_workers_ended_with_is_poisonous(self, ledger: Ledger, clock: Clock) -> None:
        """The second owner is told of the first end; nobody gets it after the second, until it is replayed."""
        mail_id = new_mail_id()
        await take(ledger, mail_id, lease=self.lease)
        for lapses in (1, 2):
            doubt = await take_over(ledger, clock, mail_id)
            assert doubt.entry.lapses == lapses
            await ledger.clear_doubt(mail_id, token=doubt.entry.token, reason="not there")
            answer = await ask(ledger, mail_id, lease=self.lease)
            if lapses == 1:
                assert isinstance(answer, Claimed)
                assert answer.claim.lapses == 1
        assert isinstance(answer, Poisonous)
        await ledger.refuse(mail_id, digest="digest", reason="poison")
        await ledger.reopen(mail_id, reason="mended")
        assert isinstance(await ask(ledger, mail_id), Claimed)
