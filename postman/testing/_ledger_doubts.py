"""The ledger's contract: lapsed leases, late workers, doubts, refusals and dead letters."""

import asyncio
from typing import ClassVar

from postman.core.ids import new_mail_id
from postman.core.protocol import Doubtful, Settled, State
from postman.ports.clock import Clock
from postman.ports.ledger import Ledger
from postman.ports.provider import Receipt
from postman.testing._ledger_tools import LONG, RECEIPT, ask, entry_of, is_lost, take, take_over

__all__ = ["DoubtContract"]


class DoubtContract:
    """*lease* is the one that tests wait out, in seconds."""

    lease: ClassVar[float] = 1.0

    async def test_doubtful_mail_tells_its_provider_and_age(self, ledger: Ledger, clock: Clock) -> None:
        """Whoever meets a doubt learns whom to ask, and how old it is."""
        mail_id = new_mail_id()
        await ledger.record_doubt(await take(ledger, mail_id, provider="alpha"), reason="time-out")
        await clock.sleep(0.2)
        answer = await ask(ledger, mail_id)
        assert isinstance(answer, Doubtful)
        assert (answer.entry.provider, answer.entry.reason) == ("alpha", "time-out")
        assert 0.15 < answer.age < LONG

    async def test_lapsed_claim_becomes_a_doubt(self, ledger: Ledger, clock: Clock) -> None:
        """Whoever finds a lapsed lease puts the mail in doubt with a higher token, and may not send it."""
        mail_id = new_mail_id()
        claim = await take(ledger, mail_id, provider="alpha", lease=self.lease)
        doubt = await take_over(ledger, clock, mail_id)
        assert (doubt.entry.state, doubt.entry.token) == (State.IN_DOUBT, claim.token + 1)
        assert doubt.entry.provider == "alpha"
        assert doubt.age < self.lease

    async def test_take_over_again_recognises_itself(self, ledger: Ledger, clock: Clock) -> None:
        """A take-over whose reply was lost is a doubt the second time too, with the same token."""
        mail_id = new_mail_id()
        await take(ledger, mail_id, lease=self.lease)
        first = await take_over(ledger, clock, mail_id, claim_id="two")
        again = await ask(ledger, mail_id, claim_id="two")
        assert isinstance(again, Doubtful)
        assert again.entry == first.entry

    async def test_late_refusal_never_frees_a_doubt(self, ledger: Ledger, clock: Clock) -> None:
        """A worker that was paused must not free or refuse a mail that another has put in doubt."""
        claim = await take(ledger, new_mail_id(), lease=self.lease)
        await take_over(ledger, clock, claim.mail_id)
        assert await is_lost(ledger.release(claim, reason="refused after all"))
        assert await is_lost(ledger.record_refused(claim, reason="bad"))
        assert await is_lost(ledger.record_doubt(claim, reason="time-out"))
        assert await is_lost(ledger.move(claim, "beta"))
        assert (await entry_of(ledger, claim.mail_id)).state is State.IN_DOUBT

    async def test_late_receipt_counts(self, ledger: Ledger, clock: Clock) -> None:
        """An acceptance is a fact, also when the claim was taken over meanwhile."""
        claim = await take(ledger, new_mail_id(), lease=self.lease)
        await take_over(ledger, clock, claim.mail_id)
        await ledger.record_sent(claim, RECEIPT)
        entry = await entry_of(ledger, claim.mail_id)
        assert (entry.state, entry.message_id) == (State.SENT, "m-1")

    async def test_receipt_of_an_earlier_token_counts(self, ledger: Ledger) -> None:
        """A late receipt settles the mail even while another worker has the claim; that one's receipt is noted too."""
        mail_id = new_mail_id()
        early = await take(ledger, mail_id)
        await ledger.release(early, reason="believed not sent")
        late = await take(ledger, mail_id, provider="beta")
        await ledger.record_sent(early, RECEIPT)
        await ledger.record_sent(late, Receipt("beta", "m-2"))
        entry = await entry_of(ledger, mail_id)
        assert (entry.state, entry.provider, entry.message_id) == (State.SENT, "alpha", "m-1")
        assert (entry.history[-1].provider, entry.history[-1].detail) == ("beta", "m-2")

    async def test_sent_is_never_taken_back(self, ledger: Ledger) -> None:
        """No call that may still come changes a mail that was sent."""
        claim = await take(ledger, new_mail_id())
        await ledger.record_sent(claim, RECEIPT)
        before = await entry_of(ledger, claim.mail_id)
        assert await is_lost(ledger.release(claim, reason="late"))
        assert await is_lost(ledger.record_refused(claim, reason="late"))
        assert await is_lost(ledger.clear_doubt(claim.mail_id, token=claim.token, reason="late"))
        await ledger.record_doubt(claim, reason="late")
        await ledger.park(claim.mail_id, token=claim.token)
        assert await ledger.reopen(claim.mail_id, reason="late") == before
        assert await ledger.refuse(claim.mail_id, digest="digest", reason="late") == before
        assert await entry_of(ledger, claim.mail_id) == before

    async def test_settling_an_unknown_mail_makes_an_entry(self, ledger: Ledger) -> None:
        """Evidence that comes before anything else is kept, and the mail is not sent again."""
        mail_id = new_mail_id()
        await ledger.settle(mail_id, RECEIPT, evidence="event")
        assert isinstance(await ask(ledger, mail_id), Settled)
        assert (await entry_of(ledger, mail_id)).history[-1].detail == "event"

    async def test_evidence_settles_a_doubt(self, ledger: Ledger) -> None:
        """A look-up or an event that shows the mail ends the doubt."""
        claim = await take(ledger, new_mail_id())
        await ledger.record_doubt(claim, reason="time-out")
        await ledger.settle(claim.mail_id, RECEIPT, evidence="look-up")
        assert (await entry_of(ledger, claim.mail_id)).state is State.SENT

    async def test_doubt_is_cleared_with_its_token_only(self, ledger: Ledger) -> None:
        """Only the doubt that was examined is cleared, not a later one; again is fine."""
        mail_id = new_mail_id()
        claim = await take(ledger, mail_id)
        assert await is_lost(ledger.clear_doubt(mail_id, token=claim.token, reason="still sending"))
        await ledger.record_doubt(claim, reason="time-out")
        assert await is_lost(ledger.clear_doubt(mail_id, token=claim.token + 1, reason="wrong"))
        assert await is_lost(ledger.clear_doubt(mail_id, token=claim.token - 1, reason="wrong"))
        for _ in range(2):
            await ledger.clear_doubt(mail_id, token=claim.token, reason="not found")
        assert (await entry_of(ledger, mail_id)).state is State.FREE
        assert (await take(ledger, mail_id)).token == claim.token + 1

    async def test_clearing_an_unknown_doubt_fails(self, ledger: Ledger) -> None:
        """There is no doubt about a mail that nobody knows, and none is made."""
        mail_id = new_mail_id()
        assert await is_lost(ledger.clear_doubt(mail_id, token=1, reason="not found"))
        assert await ledger.find(mail_id) is None

    async def test_refusing_without_content_blocks_no_valid_mail(self, ledger: Ledger) -> None:
        """A message that cannot be decoded does not take the id from the mail that has a right to it."""
        mail_id = new_mail_id()
        refused = await ledger.refuse(mail_id, digest="", reason="not JSON")
        assert (refused.state, refused.reason) == (State.REFUSED, "not JSON")
        claim = await take(ledger, mail_id)
        assert (await ledger.refuse(mail_id, digest="", reason="not JSON")).state is State.SENDING
        await ledger.record_sent(claim, RECEIPT)

    async def test_refusing_with_content_is_final(self, ledger: Ledger) -> None:
        """An expired mail is not sent when it comes again."""
        mail_id = new_mail_id()
        for _ in range(2):
            assert (await ledger.refuse(mail_id, digest="digest", reason="expired")).state is State.REFUSED
        assert isinstance(await ask(ledger, mail_id), Settled)

    async def test_released_mail_can_be_refused(self, ledger: Ledger) -> None:
        """A mail that expires while it waits is refused; the entry keeps its attempts."""
        claim = await take(ledger, new_mail_id())
        await ledger.release(claim, reason="none is free")
        entry = await ledger.refuse(claim.mail_id, digest="digest", reason="expired")
        assert (entry.state, entry.attempts, entry.reason) == (State.REFUSED, 1, "expired")

    async def test_dead_letter_is_parked_and_reopened_once(self, ledger: Ledger) -> None:
        """Of two operators who replay one dead letter, one reopens it; the mail can then be claimed."""
        claim = await take(ledger, new_mail_id())
        await ledger.record_refused(claim, reason="bad")
        for _ in range(2):
            await ledger.park(claim.mail_id, token=claim.token)
        assert (await entry_of(ledger, claim.mail_id)).parked

        first, second = await asyncio.gather(*(ledger.reopen(claim.mail_id, reason="fixed") for _ in range(2)))
        assert first is not None
        assert second is not None
        assert (first.state, first.token, first.parked) == (State.FREE, claim.token + 1, False)
        assert (second.state, second.token) == (State.FREE, claim.token + 1)
        assert (await take(ledger, claim.mail_id)).token == claim.token + 2

    async def test_doubt_is_reopened_only_when_parked(self, ledger: Ledger) -> None:
        """A doubt that still has its message in the queue is not an operator's to free."""
        claim = await take(ledger, new_mail_id())
        await ledger.record_doubt(claim, reason="time-out")
        untouched = await ledger.reopen(claim.mail_id, reason="hurry")
        await ledger.park(claim.mail_id, token=claim.token)
        reopened = await ledger.reopen(claim.mail_id, reason="hurry")
        assert untouched is not None
        assert untouched.state is State.IN_DOUBT
        assert reopened is not None
        assert reopened.state is State.FREE

    async def test_late_park_of_an_earlier_letter_changes_nothing(self, ledger: Ledger) -> None:
        """A worker stands still between its dead letter and the mark; the mail was reopened and refused meanwhile."""
        first = await take(ledger, new_mail_id())
        await ledger.record_refused(first, reason="bad")
        await ledger.reopen(first.mail_id, reason="fixed")
        second = await take(ledger, first.mail_id)
        await ledger.record_refused(second, reason="bad again")
        await ledger.park(first.mail_id, token=first.token)
        assert not (await entry_of(ledger, first.mail_id)).parked
        await ledger.park(first.mail_id, token=second.token)
        assert (await entry_of(ledger, first.mail_id)).parked

    async def test_unknown_mail_is_nothing(self, ledger: Ledger) -> None:
        """Asking, parking and reopening what is not there answers so, and makes nothing."""
        mail_id = new_mail_id()
        await ledger.park(mail_id, token=0)
        assert await ledger.reopen(mail_id, reason="fixed") is None
        assert await ledger.find(mail_id) is None
