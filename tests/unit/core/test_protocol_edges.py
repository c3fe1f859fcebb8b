"""The ledger's transitions to the last field: what each changes, what it leaves, and at which edge it stops."""

from dataclasses import replace

import pytest

from postman.core import protocol
from postman.core.events import EventKind, MailEvent
from postman.core.ids import MailId
from postman.core.protocol import (
    Claim,
    Claimed,
    Doubtful,
    Entry,
    Happening,
    Note,
    Poisonous,
    State,
)
from postman.errors import ClaimLostError

MAIL, NOW = MailId("mail"), 1_000.0
OLD = Note(1.0, "claimed", "alpha")
OWN = Claim(MAIL, 7, "w1.c7", "alpha")

FULL = Entry(
    State.SENDING,
    token=7,
    digest="d",
    claim_id="w1.c7",
    provider="alpha",
    since=900.0,
    lease_ends=1_010.0,
    attempts=4,
    lapses=1,
    message_id="",
    reason="time-out",
    parked=True,
    history=(OLD,),
)
"""No field is as it would be by default, so that whatever is left or lost shows."""
IN_DOUBT = replace(FULL, state=State.IN_DOUBT)
REFUSED = replace(FULL, state=State.REFUSED)
FREE = replace(FULL, state=State.FREE)


def test_claim_takes_every_field_that_is_the_claims() -> None:
    step = protocol.claim(FREE, NOW, mail_id=MAIL, digest="d", claim_id="w2.c8", provider="beta", lease=30.0)
    assert step.entry == replace(
        FREE,
        state=State.SENDING,
        token=8,
        claim_id="w2.c8",
        provider="beta",
        since=NOW,
        lease_ends=NOW + 30.0,
        attempts=5,
        reason="",
        parked=False,
        history=(OLD, Note(NOW, "claimed", "beta")),
    )
    assert step.answer == Claimed(Claim(MAIL, 8, "w2.c8", "beta", 5, 1))


def test_claim_binds_its_content_to_an_id_that_had_none() -> None:
    unbound = replace(REFUSED, digest="")
    step = protocol.claim(unbound, NOW, mail_id=MAIL, digest="new", claim_id="w2.c8", provider="beta", lease=30.0)
    assert step.entry is not None
    assert (step.entry.state, step.entry.digest) == (State.SENDING, "new")


def test_take_over_changes_what_the_next_worker_must_know() -> None:
    lapsed = replace(FULL, lease_ends=NOW)
    step = protocol.claim(lapsed, NOW, mail_id=MAIL, digest="d", claim_id="w2.c8", provider="beta", lease=30.0)
    taken = replace(
        lapsed,
        state=State.IN_DOUBT,
        token=8,
        claim_id="w2.c8",
        since=NOW,
        lease_ends=0.0,
        lapses=2,
        reason="its worker's lease ran out",
        parked=False,
        history=(OLD, Note(NOW, "in doubt", "alpha", "its worker's lease ran out")),
    )
    assert (step.entry, step.answer) == (taken, Doubtful(taken, 0.0))


def test_poison_begins_at_the_second_lapse() -> None:
    def answer(lapses: int) -> object:
        entry = replace(FREE, lapses=lapses)
        return protocol.claim(entry, NOW, mail_id=MAIL, digest="d", claim_id="w2.c8", provider="beta", lease=1.0).answer

    assert isinstance(answer(1), Claimed)
    assert isinstance(answer(2), Poisonous)
    assert isinstance(answer(3), Poisonous)


def test_move_names_the_next_provider_and_nothing_else() -> None:
    step = protocol.move(FULL, NOW, claim=OWN, provider="beta")
    assert step.entry == replace(FULL, provider="beta", history=(OLD, Note(NOW, "failed over", "beta", "from alpha")))
    assert step.answer == replace(OWN, provider="beta")


def test_release_leaves_no_trace_of_a_claim() -> None:
    step = protocol.release(FULL, NOW, claim=OWN, reason="all down")
    assert step.entry == replace(
        FULL,
        state=State.FREE,
        provider="",
        since=NOW,
        lease_ends=0.0,
        history=(OLD, Note(NOW, "released", "alpha", "all down")),
    )


def test_refusal_and_doubt_say_why_and_are_not_parked_yet() -> None:
    refused = protocol.refuse(FULL, NOW, claim=OWN, reason="bad").entry
    doubted = protocol.doubt(FULL, NOW, claim=OWN, reason="no answer").entry
    changed = replace(FULL, since=NOW, lease_ends=0.0, parked=False)
    assert refused == replace(
        changed, state=State.REFUSED, reason="bad", history=(OLD, Note(NOW, "refused", "alpha", "bad"))
    )
    assert doubted == replace(
        changed, state=State.IN_DOUBT, reason="no answer", history=(OLD, Note(NOW, "in doubt", "alpha", "no answer"))
    )


@pytest.mark.parametrize("state", [State.FREE, State.SENDING, State.REFUSED, State.IN_DOUBT])
def test_acceptance_settles_every_field_from_every_state(state: State) -> None:
    step = protocol.sent(replace(FULL, state=state), NOW, provider="beta", message_id="m", evidence="look-up")
    assert step.entry == replace(
        FULL,
        state=State.SENT,
        provider="beta",
        since=NOW,
        lease_ends=0.0,
        message_id="m",
        reason="",
        parked=False,
        history=(OLD, Note(NOW, "sent", "beta", "look-up")),
    )


def test_acceptance_of_an_unknown_mail_is_recorded() -> None:
    step = protocol.sent(None, NOW, provider="beta", message_id="m", evidence="")
    assert step.entry == Entry(
        State.SENT, provider="beta", since=NOW, message_id="m", history=(Note(NOW, "sent", "beta", ""),)
    )


def test_cleared_doubt_leaves_no_trace_of_it() -> None:
    step = protocol.clear_doubt(IN_DOUBT, NOW, token=7, reason="absent")
    assert step.entry == replace(
        IN_DOUBT,
        state=State.FREE,
        provider="",
        since=NOW,
        reason="",
        parked=False,
        history=(OLD, Note(NOW, "doubt cleared", "alpha", "absent")),
    )


class TestRepeat:
    def test_it_is_a_claim_at_the_same_provider(self) -> None:
        step = protocol.repeat(IN_DOUBT, NOW, mail_id=MAIL, token=7, claim_id="w2.c8", lease=30.0)
        assert step.entry == replace(
            IN_DOUBT,
            state=State.SENDING,
            token=8,
            claim_id="w2.c8",
            since=NOW,
            lease_ends=NOW + 30.0,
            attempts=5,
            reason="",
            parked=False,
            history=(OLD, Note(NOW, "key repeated", "alpha")),
        )
        assert step.answer == Claim(MAIL, 8, "w2.c8", "alpha", 5, 1)

    def test_asked_again_it_answers_the_same(self) -> None:
        once = protocol.repeat(IN_DOUBT, NOW, mail_id=MAIL, token=7, claim_id="w2.c8", lease=30.0)
        assert protocol.repeat(once.entry, NOW + 1, mail_id=MAIL, token=7, claim_id="w2.c8", lease=30.0) == once

    @pytest.mark.parametrize(
        ("entry", "token"),
        [
            (None, 7),
            (FULL, 7),
            (FREE, 7),
            (REFUSED, 7),
            (replace(FULL, state=State.SENT), 7),
            (IN_DOUBT, 6),
            (IN_DOUBT, 8),
            (replace(IN_DOUBT, lapses=2), 7),
            (replace(IN_DOUBT, lapses=3), 7),
            (replace(IN_DOUBT, claim_id="w2.c8"), 6),
        ],
    )
    def test_only_the_doubt_that_was_looked_into_is_repeated(self, entry: Entry | None, token: int) -> None:
        """Not another one, and not with a mail that two workers ended with."""
        with pytest.raises(ClaimLostError):
            protocol.repeat(entry, NOW, mail_id=MAIL, token=token, claim_id="w2.c8", lease=30.0)


class TestUnclaimed:
    def test_unknown_mail_is_refused_with_its_content(self) -> None:
        step = protocol.refuse_unclaimed(None, NOW, digest="d", reason="expired")
        assert step.entry == step.answer
        assert step.entry == Entry(
            State.REFUSED, digest="d", since=NOW, reason="expired", history=(Note(NOW, "refused", "", "expired"),)
        )

    def test_free_mail_is_refused_and_not_parked_yet(self) -> None:
        step = protocol.refuse_unclaimed(FREE, NOW, digest="d", reason="expired")
        note = Note(NOW, "refused", "", "expired")
        assert step.entry == replace(
            FREE, state=State.REFUSED, since=NOW, reason="expired", parked=False, history=(OLD, note)
        )

    def test_undecodable_message_leaves_the_id_to_whoever_has_content(self) -> None:
        """Neither does it refuse a mail of that id that waits, nor one that was refused for its own sake."""
        unbound = protocol.refuse_unclaimed(None, NOW, digest="", reason="not JSON").entry
        assert unbound is not None
        assert (unbound.state, unbound.digest) == (State.REFUSED, "")
        assert protocol.refuse_unclaimed(unbound, NOW, digest="", reason="again").entry == unbound
        assert protocol.refuse_unclaimed(FREE, NOW, digest="", reason="not JSON").entry == FREE
        bound = protocol.refuse_unclaimed(unbound, NOW, digest="d", reason="expired").entry
        assert bound is not None
        assert (bound.state, bound.digest, bound.reason) == (State.REFUSED, "d", "expired")

    @pytest.mark.parametrize("entry", [FULL, IN_DOUBT, REFUSED, replace(FULL, state=State.SENT)])
    def test_mail_that_somebody_dealt_with_stays(self, entry: Entry) -> None:
        step = protocol.refuse_unclaimed(entry, NOW, digest="d", reason="expired")
        assert (step.entry, step.answer) == (entry, entry)


class TestParking:
    @pytest.mark.parametrize("state", [State.REFUSED, State.IN_DOUBT])
    def test_dead_letter_is_noted_once(self, state: State) -> None:
        entry = replace(FULL, state=state, parked=False)
        parked = protocol.park(entry, NOW, token=7).entry
        assert parked == replace(entry, parked=True, history=(OLD, Note(NOW, "dead-lettered")))
        assert protocol.park(parked, NOW + 1, token=7).entry is parked

    @pytest.mark.parametrize("state", [State.FREE, State.SENDING, State.SENT])
    def test_what_has_no_dead_letter_is_not_parked(self, state: State) -> None:
        entry = replace(FULL, state=state, parked=False)
        assert protocol.park(entry, NOW, token=7).entry is entry

    @pytest.mark.parametrize("token", [6, 8])
    def test_dead_letter_of_another_time_counts_for_nothing(self, token: int) -> None:
        """Between, the mail was reopened: a worker that stood still must not hide that its new end has no letter."""
        entry = replace(FULL, state=State.REFUSED, parked=False)
        assert protocol.park(entry, NOW, token=token).entry is entry

    @pytest.mark.parametrize("entry", [REFUSED, IN_DOUBT, replace(REFUSED, parked=False)])
    def test_replay_begins_anew(self, entry: Entry) -> None:
        step = protocol.reopen(entry, NOW, reason="mended")
        assert step.answer == step.entry
        assert step.entry == replace(
            entry,
            state=State.FREE,
            token=8,
            provider="",
            since=NOW,
            lapses=0,
            reason="",
            parked=False,
            history=(OLD, Note(NOW, "reopened", "", "mended")),
        )

    @pytest.mark.parametrize(
        "entry", [None, FREE, FULL, replace(IN_DOUBT, parked=False), replace(FULL, state=State.SENT)]
    )
    def test_only_a_dead_letter_is_replayed(self, entry: Entry | None) -> None:
        step = protocol.reopen(entry, NOW, reason="hurry")
        assert (step.entry, step.answer) == (entry, entry)


class TestSecondReceipts:
    SENT = replace(FULL, state=State.SENT, message_id="m", history=(OLD,))

    def _again(self, entry: Entry, provider: str, message_id: str) -> Entry | None:
        return protocol.sent(entry, NOW, provider=provider, message_id=message_id, evidence="").entry

    def test_same_receipt_and_one_that_says_less_change_nothing(self) -> None:
        assert self._again(self.SENT, "alpha", "m") == self.SENT
        assert self._again(self.SENT, "alpha", "") == self.SENT

    def test_id_that_was_missing_is_adopted_from_its_own_provider_only(self) -> None:
        nameless = replace(self.SENT, message_id="")
        assert self._again(nameless, "alpha", "m2") == replace(nameless, message_id="m2")
        assert self._again(nameless, "alpha", "") == nameless
        other = self._again(nameless, "beta", "m2")
        assert other is not None
        assert (other.provider, other.message_id) == ("alpha", "")
        assert other.history == (OLD, Note(NOW, "accepted again", "beta", "m2"))

    @pytest.mark.parametrize(("provider", "message_id"), [("alpha", "n"), ("beta", "m"), ("beta", "")])
    def test_second_copy_is_noted_once(self, provider: str, message_id: str) -> None:
        once = self._again(self.SENT, provider, message_id)
        assert once == replace(self.SENT, history=(OLD, Note(NOW, "accepted again", provider, message_id)))
        assert once is not None
        assert protocol.sent(once, NOW + 9, provider=provider, message_id=message_id, evidence="").entry == once


class TestEvents:
    def _event(self, kind: EventKind, recipient: str = "a@example.org", at: float = 5.0) -> MailEvent:
        return MailEvent(
            mail_id=MAIL, at=at, kind=kind, provider="alpha", recipient=recipient, message_id="m", detail="why"
        )

    def test_event_is_proof_and_is_kept(self) -> None:
        step = protocol.happened(FULL, NOW, event=self._event(EventKind.BOUNCED))
        assert step.answer == step.entry
        assert step.entry is not None
        assert (step.entry.state, step.entry.message_id, step.entry.provider) == (State.SENT, "m", "alpha")
        [kept] = step.entry.events
        assert (kept.at, kept.kind, kept.provider, kept.detail) == (5.0, EventKind.BOUNCED, "alpha", "why")
        assert kept.recipient not in ("", "a@example.org")

    def test_mail_that_left_its_provider_is_still_its_mail(self) -> None:
        """The history says that it was there, also where the entry names another one by now."""
        elsewhere = replace(FULL, provider="beta")
        assert protocol.happened(elsewhere, NOW, event=self._event(EventKind.DELIVERED)).answer is not None
        never_there = replace(elsewhere, history=(Note(1.0, "claimed", "beta"),))
        step = protocol.happened(never_there, NOW, event=self._event(EventKind.DELIVERED))
        assert (step.entry, step.answer) == (never_there, None)

    def test_where_there_is_no_room_deliveries_go_first(self) -> None:
        """Of two hundred, the bad news stay; of bad news alone, the first ones."""

        def filled(kind: EventKind, count: int) -> tuple[Happening, ...]:
            return tuple(Happening(1.0, kind, "alpha", f"{kind}{number}") for number in range(count))

        sent = replace(FULL, state=State.SENT, message_id="m")
        bad, good = filled(EventKind.BOUNCED, 150), filled(EventKind.DELIVERED, 50)

        def events(entry: Entry, kind: EventKind) -> tuple[Happening, ...]:
            after = protocol.happened(entry, NOW, event=self._event(kind, "new@example.org")).answer
            assert after is not None
            return after.events

        full = replace(sent, events=(*bad, *good))
        assert events(full, EventKind.DELIVERED) == full.events
        assert [each.kind for each in events(full, EventKind.BOUNCED)] == [EventKind.BOUNCED] * 151
        only_bad = replace(sent, events=filled(EventKind.BOUNCED, 200))
        assert events(only_bad, EventKind.COMPLAINED) == only_bad.events
        almost = replace(sent, events=(*bad, *good[:-1]))
        assert len(events(almost, EventKind.DELIVERED)) == 200
        assert len(events(replace(sent, events=(*filled(EventKind.BOUNCED, 199), good[0])), EventKind.DROPPED)) == 200


def test_history_keeps_its_beginning_and_its_end() -> None:
    """Fifty lines: the first five and the last ones."""
    entry = replace(FULL, history=tuple(Note(float(number), "claimed", "alpha") for number in range(49)))
    own = OWN
    for turn in range(3):
        step = protocol.move(entry, 100.0 + turn, claim=own, provider=f"p{turn}")
        assert step.entry is not None
        entry, own = step.entry, step.answer
    assert [note.at for note in entry.history] == [*range(5), *range(7, 49), 100.0, 101.0, 102.0]
