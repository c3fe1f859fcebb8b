"""The ledger's protocol, transition by transition."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from postman.core import protocol
from postman.core.ids import MailId
from postman.core.protocol import (
    MOVES,
    Answer,
    Claim,
    Claimed,
    Conflict,
    Doubtful,
    Entry,
    Held,
    Note,
    Poisonous,
    Settled,
    State,
    Step,
)
from postman.errors import ClaimLostError

MAIL = MailId("mail")
NOW = 1_000.0
OWN = Claim(MAIL, 3, "c3", "alpha")

FREE = Entry(State.FREE, token=3, digest="d", claim_id="c3", attempts=3)
SENDING = replace(FREE, state=State.SENDING, provider="alpha", since=990.0, lease_ends=1_010.0)
SENT = replace(FREE, state=State.SENT, provider="alpha", message_id="m-1")
REFUSED = replace(FREE, state=State.REFUSED, reason="bad")
IN_DOUBT = replace(FREE, state=State.IN_DOUBT, provider="alpha", since=940.0, reason="time-out")
UNBOUND = Entry(State.REFUSED, reason="not JSON")


def claim(entry: Entry | None, *, claim_id: str = "c4", digest: str = "d", now: float = NOW) -> Step[Answer]:
    return protocol.claim(entry, now, mail_id=MAIL, digest=digest, claim_id=claim_id, provider="beta", lease=30.0)


@pytest.mark.parametrize("entry", [None, FREE, UNBOUND], ids=["unknown", "free", "refused without content"])
def test_free_mail_is_claimed(entry: Entry | None) -> None:
    """The claim raises the token, counts the attempt, and names the provider and the end of the lease."""
    step = claim(entry)
    before = entry or Entry(State.FREE)
    assert isinstance(step.answer, Claimed)
    assert step.answer.claim == Claim(MAIL, before.token + 1, "c4", "beta", before.attempts + 1)
    assert step.entry == Entry(
        State.SENDING,
        token=before.token + 1,
        digest="d",
        claim_id="c4",
        provider="beta",
        since=NOW,
        lease_ends=NOW + 30.0,
        attempts=before.attempts + 1,
        history=(Note(NOW, "claimed", "beta"),),
    )


def test_claim_answers_by_state() -> None:
    """What is not free stays as it is, and says why."""
    assert claim(SENDING) == Step(SENDING, Held(10.0))
    assert claim(SENT) == Step(SENT, Settled(SENT))
    assert claim(REFUSED) == Step(REFUSED, Settled(REFUSED))
    assert claim(IN_DOUBT) == Step(IN_DOUBT, Doubtful(IN_DOUBT, 60.0))


@pytest.mark.parametrize("entry", [FREE, SENDING, SENT, REFUSED, IN_DOUBT, replace(SENDING, lease_ends=NOW)])
def test_other_content_is_a_conflict_in_every_state(entry: Entry) -> None:
    """Even a lapsed lease is not taken over by another content."""
    assert claim(entry, digest="other") == Step(entry, Conflict(entry))


def test_age_of_a_doubt_is_never_negative() -> None:
    """A clock of the server that stands a little back does no harm."""
    step = claim(IN_DOUBT, now=IN_DOUBT.since - 5)
    assert isinstance(step.answer, Doubtful)
    assert step.answer.age == 0.0


@pytest.mark.parametrize("now", [SENDING.lease_ends, SENDING.lease_ends + 60])
def test_lapsed_lease_is_taken_over_into_doubt(now: float) -> None:
    """At the very end of the lease and later; the provider stays, since it is the one to ask."""
    step = claim(SENDING, now=now)
    assert step.entry is not None
    assert isinstance(step.answer, Doubtful)
    assert step.answer == Doubtful(step.entry, 0.0)
    assert (step.entry.state, step.entry.token, step.entry.claim_id) == (State.IN_DOUBT, 4, "c4")
    assert (step.entry.provider, step.entry.attempts, step.entry.since) == ("alpha", 3, now)


def test_mail_that_two_workers_ended_with_is_not_claimed_again() -> None:
    """Each take-over counts; the claim's owner learns of the first one; an operator's replay forgets them."""
    once = claim(replace(SENDING, lease_ends=0.0)).entry
    assert once is not None
    assert once.lapses == 1
    answer = claim(replace(once, state=State.FREE), claim_id="c5").answer
    assert isinstance(answer, Claimed)
    assert answer.claim.lapses == 1
    twice = claim(replace(SENDING, lease_ends=0.0, lapses=1)).entry
    assert twice is not None
    freed = replace(twice, state=State.FREE)
    assert claim(freed, claim_id="c5").answer == Poisonous(freed)
    reopened = protocol.reopen(replace(twice, state=State.REFUSED), NOW, reason="mended").entry
    assert reopened is not None
    assert isinstance(claim(reopened, claim_id="c5").answer, Claimed)


def test_own_claim_is_recognised() -> None:
    """Also when another content is asked for by mistake, and without a change."""
    step = claim(SENDING, claim_id="c3")
    assert step.answer == Claimed(Claim(MAIL, 3, "c3", "alpha", 3))
    assert step.entry is not None
    assert (step.entry.token, step.entry.history) == (3, ())


def test_claim_that_arrives_after_it_was_given_back_is_not_granted_again() -> None:
    """Its second try was granted, and released: nobody would know of the right."""
    assert claim(FREE, claim_id="c3") == Step(FREE, Held(0.0))


def test_move_names_the_next_provider() -> None:
    """The lease stays: all attempts of one claim share it."""
    step = protocol.move(SENDING, NOW, claim=OWN, provider="beta")
    assert step.answer == replace(OWN, provider="beta")
    note = Note(NOW, "failed over", "beta", "from alpha")
    assert step.entry == replace(SENDING, provider="beta", history=(note,))
    again = protocol.move(step.entry, NOW + 1, claim=OWN, provider="beta")
    assert again == step


def test_move_that_arrives_after_a_later_one_is_outdated() -> None:
    """Else the entry would name a provider that the mail has left, and a doubt would ask the wrong one."""
    second = protocol.move(SENDING, NOW, claim=OWN, provider="beta")
    third = protocol.move(second.entry, NOW, claim=second.answer, provider="gamma")
    with pytest.raises(ClaimLostError):
        protocol.move(third.entry, NOW, claim=OWN, provider="beta")


def test_owner_records_what_became_of_the_mail() -> None:
    """Given back, refused or in doubt: the lease is over, and the reason is kept."""
    free = protocol.release(SENDING, NOW, claim=OWN, reason="none").entry
    refused = protocol.refuse(SENDING, NOW, claim=OWN, reason="bad").entry
    doubt = protocol.doubt(SENDING, NOW, claim=OWN, reason="time-out").entry
    assert free is not None
    assert refused is not None
    assert doubt is not None
    assert (free.state, free.provider, free.reason) == (State.FREE, "", "")
    assert (refused.state, refused.reason) == (State.REFUSED, "bad")
    assert (doubt.state, doubt.provider, doubt.reason) == (State.IN_DOUBT, "alpha", "time-out")
    for entry in (free, refused, doubt):
        assert (entry.token, entry.lease_ends, entry.since) == (3, 0.0, NOW)


RECORDS: dict[str, Callable[[Entry | None, Claim], Step[Any]]] = {
    "move": lambda entry, own: protocol.move(entry, NOW, claim=own, provider="beta"),
    "release": lambda entry, own: protocol.release(entry, NOW, claim=own, reason="r"),
    "refuse": lambda entry, own: protocol.refuse(entry, NOW, claim=own, reason="r"),
    "doubt": lambda entry, own: protocol.doubt(entry, NOW, claim=own, reason="r"),
}


@pytest.mark.parametrize("record", RECORDS)
@pytest.mark.parametrize("token", [2, 4])
def test_records_of_another_claim_are_lost(record: str, token: int) -> None:
    """Earlier or later, in every state."""
    for entry in (None, FREE, SENDING, SENT, REFUSED, IN_DOUBT):
        with pytest.raises(ClaimLostError):
            RECORDS[record](entry, replace(OWN, token=token))


@pytest.mark.parametrize(
    ("record", "fits"),
    [
        ("move", ()),
        ("release", (State.FREE,)),
        ("refuse", (State.REFUSED,)),
        ("doubt", (State.IN_DOUBT, State.SENT)),
    ],
)
def test_records_again_are_recognised_and_others_are_lost(record: str, fits: tuple[State, ...]) -> None:
    """The state that the record made, under its token, is its own work; every other is somebody else's."""
    for entry in (FREE, SENT, REFUSED, IN_DOUBT):
        if entry.state in fits:
            assert RECORDS[record](entry, OWN).entry is entry
        else:
            with pytest.raises(ClaimLostError):
                RECORDS[record](entry, OWN)


def test_doubt_is_as_old_as_it_was_where_nothing_can_have_arrived_since() -> None:
    """And never younger than now, whatever is said."""
    for since, expected in ((None, NOW), (940.0, 940.0), (NOW + 50.0, NOW)):
        entry = protocol.doubt(SENDING, NOW, claim=OWN, reason="down", since=since).entry
        assert entry is not None
        assert (entry.state, entry.since) == (State.IN_DOUBT, expected)


@pytest.mark.parametrize("entry", [None, FREE, SENDING, REFUSED, replace(IN_DOUBT, parked=True), UNBOUND])
def test_acceptance_counts_in_every_state(entry: Entry | None) -> None:
    """It clears the reason and the lease, and keeps token and content."""
    step = protocol.sent(entry, NOW, provider="beta", message_id="m-2", evidence="event")
    before = entry or Entry(State.FREE)
    assert step.entry == replace(
        before,
        state=State.SENT,
        provider="beta",
        message_id="m-2",
        since=NOW,
        lease_ends=0.0,
        reason="",
        parked=False,
        history=(Note(NOW, "sent", "beta", "event"),),
    )


def test_second_acceptance_is_noted_once_known() -> None:
    """The first receipt stays; the same one again changes nothing, nor does one without an id."""
    assert protocol.sent(SENT, NOW, provider="alpha", message_id="m-1", evidence="event").entry is SENT
    assert protocol.sent(SENT, NOW, provider="alpha", message_id="", evidence="event").entry is SENT
    second = protocol.sent(SENT, NOW, provider="beta", message_id="m-2", evidence="answer").entry
    assert second == replace(SENT, history=(Note(NOW, "accepted again", "beta", "m-2"),))


def test_doubt_is_cleared_by_its_token() -> None:
    """Absence frees the mail; clearing it again is recognised; what is no doubt is not cleared."""
    free = protocol.clear_doubt(IN_DOUBT, NOW, token=3, reason="not found").entry
    assert free is not None
    assert (free.state, free.provider, free.reason, free.token) == (State.FREE, "", "", 3)
    assert protocol.clear_doubt(free, NOW, token=3, reason="not found").entry is free
    for entry, token in ((IN_DOUBT, 2), (IN_DOUBT, 4), (None, 0), (SENDING, 3), (SENT, 3), (REFUSED, 3)):
        with pytest.raises(ClaimLostError):
            protocol.clear_doubt(entry, NOW, token=token, reason="late")


def test_unclaimed_mail_is_refused() -> None:
    """With its content the refusal is final; without, the id stays free for a valid mail."""
    bound = protocol.refuse_unclaimed(None, NOW, digest="d", reason="expired").entry
    unbound = protocol.refuse_unclaimed(None, NOW, digest="", reason="not JSON").entry
    assert bound is not None
    assert isinstance(claim(bound).answer, Settled)
    assert isinstance(claim(unbound).answer, Claimed)
    assert protocol.refuse_unclaimed(bound, NOW, digest="d", reason="again") == Step(bound, bound)
    free = protocol.refuse_unclaimed(FREE, NOW, digest="d", reason="expired").entry
    assert free is not None
    assert (free.state, free.reason) == (State.REFUSED, "expired")


@pytest.mark.parametrize("entry", [UNBOUND, replace(UNBOUND, parked=True)])
def test_valid_mail_takes_a_refused_id_over(entry: Entry) -> None:
    """When it has expired it is refused with its content, and needs its own dead letter; garbage again does not."""
    step = protocol.refuse_unclaimed(entry, NOW, digest="d", reason="expired")
    assert (step.answer.digest, step.answer.reason, step.answer.parked) == ("d", "expired", False)
    assert protocol.refuse_unclaimed(entry, NOW, digest="", reason="again") == Step(entry, entry)


@pytest.mark.parametrize("entry", [SENDING, SENT, REFUSED, IN_DOUBT])
def test_refusing_what_is_not_free_changes_nothing(entry: Entry) -> None:
    """The answer says how it is."""
    assert protocol.refuse_unclaimed(entry, NOW, digest="d", reason="expired") == Step(entry, entry)


@pytest.mark.parametrize("digest", ["", "other"])
def test_refusing_other_content_does_not_refuse_the_mail_that_waits(digest: str) -> None:
    """A mail given back is free; a message that only bears its id must not end it."""
    assert protocol.refuse_unclaimed(FREE, NOW, digest=digest, reason="not JSON") == Step(FREE, FREE)


def test_dead_letter_is_parked() -> None:
    """Once, and only of what is refused or in doubt."""
    for entry in (REFUSED, IN_DOUBT):
        parked = protocol.park(entry, NOW, token=entry.token).entry
        assert parked == replace(entry, parked=True, history=(Note(NOW, "dead-lettered"),))
        assert protocol.park(parked, NOW, token=parked.token).entry is parked
    for other in (None, FREE, SENDING, SENT):
        assert protocol.park(other, NOW, token=3).entry is other


def test_dead_letter_is_reopened() -> None:
    """With a higher token, so that nothing from before it counts; a doubt only when it was parked."""
    for entry in (REFUSED, replace(REFUSED, parked=True), replace(IN_DOUBT, parked=True), UNBOUND):
        step = protocol.reopen(entry, NOW, reason="fixed")
        assert step.entry is not None
        assert step.answer is step.entry
        assert (step.entry.state, step.entry.token, step.entry.parked) == (State.FREE, entry.token + 1, False)
    for other in (None, FREE, SENDING, SENT, IN_DOUBT):
        assert protocol.reopen(other, NOW, reason="fixed") == Step(other, other)


def test_history_is_bounded() -> None:
    """Of a long story the beginning and the end are kept."""
    entry: Entry | None = SENDING
    own = OWN
    for number in range(70):
        step = protocol.move(entry, float(number), claim=own, provider=f"p{number}")
        entry, own = step.entry, step.answer
        assert entry is not None
        told = list(range(number + 1))
        assert [note.at for note in entry.history] == (told if number < 50 else told[:5] + told[-45:])


def test_nothing_follows_sent() -> None:
    """The table of moves lets no state follow it, and has every state."""
    assert MOVES[State.SENT] == {State.SENT}
    assert set(MOVES) == {None, *State}
