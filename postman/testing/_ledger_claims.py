"""The ledger's contract: claims, and what their owners record."""

from collections.abc import Awaitable, Callable

from postman.core.ids import new_mail_id
from postman.core.protocol import Claim, Conflict, Held, Settled, State
from postman.ports.clock import Clock
from postman.ports.ledger import Ledger
from postman.ports.provider import Receipt
from postman.testing._ledger_tools import LONG, RECEIPT, ask, entry_of, is_lost, take

__all__ = ["ClaimContract"]


class ClaimContract:
    """One worker after the other, none of them late."""

    async def test_claimed_mail_names_its_provider(self, ledger: Ledger) -> None:
        """The entry names who may hold the mail before the request leaves."""
        mail_id = new_mail_id()
        claim = await take(ledger, mail_id, provider="alpha")

        entry = await entry_of(ledger, mail_id)
        assert (claim.mail_id, claim.token, claim.provider, claim.attempts) == (mail_id, 1, "alpha", 1)
        assert (entry.state, entry.token, entry.provider) == (State.SENDING, 1, "alpha")
        assert entry.claim_id == claim.claim_id
        assert entry.lease_ends > entry.since > 0

    async def test_claimed_mail_is_held_until_its_lease_ends(self, ledger: Ledger) -> None:
        """Another worker is told how long to stay away."""
        mail_id = new_mail_id()
        await take(ledger, mail_id, lease=LONG)
        answer = await ask(ledger, mail_id)
        assert isinstance(answer, Held)
        assert 0 < answer.seconds <= LONG

    async def test_same_claim_again_recognises_itself(self, ledger: Ledger) -> None:
        """A claim whose reply was lost is made again, and is the same claim."""
        mail_id = new_mail_id()
        first = await take(ledger, mail_id, claim_id="one")
        again = await take(ledger, mail_id, claim_id="one")
        assert again == first
        assert [note.event for note in (await entry_of(ledger, mail_id)).history] == ["claimed"]

    async def test_same_claim_again_can_be_recorded(self, ledger: Ledger) -> None:
        """A recognised claim is as good as one whose reply came."""
        mail_id = new_mail_id()
        await take(ledger, mail_id, claim_id="one")
        again = await take(ledger, mail_id, claim_id="one")
        await ledger.record_sent(again, RECEIPT)
        assert (await entry_of(ledger, mail_id)).state is State.SENT

    async def test_sent_mail_is_settled(self, ledger: Ledger) -> None:
        """A mail recorded as sent is never claimed again; its entry keeps the receipt."""
        mail_id = new_mail_id()
        await ledger.record_sent(await take(ledger, mail_id), RECEIPT)
        answer = await ask(ledger, mail_id)
        assert isinstance(answer, Settled)
        assert answer.entry.state is State.SENT
        assert (answer.entry.provider, answer.entry.message_id) == ("alpha", "m-1")

    async def test_refused_mail_is_settled(self, ledger: Ledger) -> None:
        """A mail refused for its own fault is not sent again; its entry says why."""
        mail_id = new_mail_id()
        await ledger.record_refused(await take(ledger, mail_id), reason="bad address")
        answer = await ask(ledger, mail_id)
        assert isinstance(answer, Settled)
        assert (answer.entry.state, answer.entry.reason) == (State.REFUSED, "bad address")
        assert not answer.entry.parked

    async def test_other_content_is_a_conflict(self, ledger: Ledger) -> None:
        """An id stands for one content, whatever became of it; the entry stays as it is."""
        mail_id = new_mail_id()
        claim = await take(ledger, mail_id, digest="one")
        assert isinstance(await ask(ledger, mail_id, digest="two"), Conflict)
        await ledger.release(claim, reason="none is free")
        assert isinstance(await ask(ledger, mail_id, digest="two"), Conflict)
        await ledger.record_sent(await take(ledger, mail_id, digest="one"), RECEIPT)
        assert isinstance(await ask(ledger, mail_id, digest="two"), Conflict)
        assert (await entry_of(ledger, mail_id)).digest == "one"

    async def test_released_mail_is_claimed_with_a_higher_token(self, ledger: Ledger) -> None:
        """Each claim raises the token and counts as an attempt."""
        mail_id = new_mail_id()
        claims = []
        for _ in range(3):
            claims.append(await take(ledger, mail_id))
            await ledger.release(claims[-1], reason="none is free")
        assert [claim.token for claim in claims] == [1, 2, 3]
        assert [claim.attempts for claim in claims] == [1, 2, 3]
        assert (await entry_of(ledger, mail_id)).attempts == 3

    async def test_moved_mail_names_the_next_provider(self, ledger: Ledger) -> None:
        """A failover changes who may hold the mail, and nothing else; the claim returned goes on."""
        mail_id = new_mail_id()
        claim = await take(ledger, mail_id, provider="alpha")
        second = await ledger.move(claim, "beta")
        third = await ledger.move(second, "gamma")

        entry = await entry_of(ledger, mail_id)
        assert (third.token, third.provider, third.attempts) == (claim.token, "gamma", 1)
        assert (entry.state, entry.provider, entry.token) == (State.SENDING, "gamma", claim.token)
        await ledger.record_sent(third, Receipt("gamma", "m-3"))
        assert (await entry_of(ledger, mail_id)).provider == "gamma"

    async def test_records_again_change_nothing(self, ledger: Ledger) -> None:
        """Every record may be made again after its reply was lost."""
        records: dict[State, Callable[[Claim], Awaitable[None]]] = {
            State.FREE: lambda claim: ledger.release(claim, reason="none is free"),
            State.SENT: lambda claim: ledger.record_sent(claim, RECEIPT),
            State.REFUSED: lambda claim: ledger.record_refused(claim, reason="bad"),
            State.IN_DOUBT: lambda claim: ledger.record_doubt(claim, reason="time-out"),
        }
        for state, record in records.items():
            claim = await take(ledger, new_mail_id())
            await record(claim)
            first = await entry_of(ledger, claim.mail_id)
            await record(claim)
            assert await entry_of(ledger, claim.mail_id) == first
            assert first.state is state

    async def test_move_again_changes_nothing(self, ledger: Ledger) -> None:
        """A failover whose reply was lost is made again with the claim from before."""
        claim = await take(ledger, new_mail_id())
        moved = await ledger.move(claim, "beta")
        assert await ledger.move(claim, "beta") == moved
        assert len((await entry_of(ledger, claim.mail_id)).history) == 2
        await ledger.record_sent(moved, Receipt("beta", "m-2"))

    async def test_records_about_an_unknown_mail_are_lost(self, ledger: Ledger) -> None:
        """A claim that the ledger does not know gives no right, and a receipt is kept all the same."""
        claim = Claim(new_mail_id(), token=1, claim_id="none", provider="alpha")
        assert await is_lost(ledger.release(claim, reason="late"))
        assert await is_lost(ledger.move(claim, "beta"))
        assert await ledger.find(claim.mail_id) is None
        await ledger.record_sent(claim, RECEIPT)
        assert (await entry_of(ledger, claim.mail_id)).state is State.SENT

    async def test_history_tells_the_story_in_order(self, ledger: Ledger, clock: Clock) -> None:
        """The history is what an operator reads: each step, its provider and its reason."""
        mail_id = new_mail_id()
        await ledger.release(await take(ledger, mail_id), reason="none is free")
        moved = await ledger.move(await take(ledger, mail_id), "beta")
        await clock.sleep(0.01)
        await ledger.record_doubt(moved, reason="time-out")
        await ledger.settle(mail_id, Receipt("beta", "m-2"), evidence="look-up")

        notes = (await entry_of(ledger, mail_id)).history
        events = ["claimed", "released", "claimed", "failed over", "in doubt", "sent"]
        assert [note.event for note in notes] == events
        assert [note.provider for note in notes] == ["alpha", "alpha", "alpha", "beta", "beta", "beta"]
        assert [notes[1].detail, notes[4].detail, notes[5].detail] == ["none is free", "time-out", "look-up"]
        assert [note.at for note in notes] == sorted(note.at for note in notes)
