"""What providers tell of a mail, as a transition of its entry."""

from dataclasses import replace

import pytest

from postman.core import protocol
from postman.core.entry import Claim, Entry, Happening, Note, State
from postman.core.events import EventKind, MailEvent, address_key, address_tag
from postman.core.ids import MailId

NOW = 1_000.0
CLAIMED = (Note(900.0, "claimed", "alpha"),)
SENDING = Entry(State.SENDING, token=1, digest="d", provider="alpha", lease_ends=1_010.0, history=CLAIMED)
SENT = replace(SENDING, state=State.SENT, lease_ends=0.0, message_id="m-1")
DELIVERED = MailEvent("alpha", EventKind.DELIVERED, "mail", 950.0, "m-1", "bob@example.org")


def told(entry: Entry | None, event: MailEvent = DELIVERED) -> Entry | None:
    step = protocol.happened(entry, NOW, event=event)
    assert step.answer is None or step.answer == step.entry
    return step.answer


@pytest.mark.parametrize("state", [state for state in State if state is not State.SENT])
@pytest.mark.parametrize("kind", list(EventKind))
def test_any_event_proves_that_the_provider_took_the_mail(state: State, kind: EventKind) -> None:
    """Also before the mark, after a release, and of a mail that was put in doubt or refused."""
    entry = told(replace(SENDING, state=state), replace(DELIVERED, kind=kind))
    assert entry is not None
    assert (entry.state, entry.provider, entry.message_id) == (State.SENT, "alpha", "m-1")
    assert entry.history[-1] == Note(NOW, "sent", "alpha", f"its event: {kind}")


@pytest.mark.parametrize("entry", [None, replace(SENDING, provider="beta", history=())])
def test_a_mail_that_is_unknown_or_was_never_that_providers_stays_as_it_is(entry: Entry | None) -> None:
    step = protocol.happened(entry, NOW, event=DELIVERED)
    assert (step.entry, step.answer) == (entry, None)


def test_a_mail_that_moved_on_was_taken_by_the_first_provider_after_all() -> None:
    moved = protocol.move(SENDING, NOW, claim=Claim(MailId("mail"), 1, "", "alpha"), provider="beta").entry
    assert moved is not None
    entry = told(moved)
    assert entry is not None
    assert (entry.state, entry.provider) == (State.SENT, "alpha")
    again = protocol.sent(entry, NOW, provider="beta", message_id="b-1", evidence="answer").entry
    assert again is not None
    assert again.history[-1] == Note(NOW, "accepted again", "beta", "b-1")


def test_an_event_told_again_changes_nothing_in_any_order() -> None:
    bounced = replace(DELIVERED, kind=EventKind.BOUNCED, at=940.0, detail="no such user")
    once = told(told(SENT), bounced)
    assert once is not None
    assert told(told(once, bounced), replace(DELIVERED, at=960.0)) == once
    assert [(event.kind, event.recipient) for event in once.events] == [
        (EventKind.DELIVERED, address_tag("bob@example.org")),
        (EventKind.BOUNCED, address_tag("bob@example.org")),
    ]


def test_each_recipients_copy_is_kept() -> None:
    entry = told(told(SENT), replace(DELIVERED, recipient="eve@example.org"))
    assert entry is not None
    assert len(entry.events) == 2


@pytest.mark.parametrize("kind", [EventKind.ACCEPTED, EventKind.DEFERRED])
def test_what_tells_no_end_is_proof_only(kind: EventKind) -> None:
    assert told(SENT, replace(DELIVERED, kind=kind)) == SENT


def test_the_message_id_is_adopted_by_an_acceptance_that_had_none() -> None:
    """It comes with the event before the mark, or with the mark after an event without it: no second copy."""
    entry = told(SENDING, replace(DELIVERED, message_id=""))
    assert entry is not None
    marked = protocol.sent(entry, NOW, provider="alpha", message_id="m-1", evidence="answer").entry
    assert marked is not None
    assert (marked.message_id, marked.history) == ("m-1", entry.history)


def test_another_message_id_is_a_second_copy() -> None:
    entry = told(SENT, replace(DELIVERED, message_id="m-2"))
    assert entry is not None
    assert entry.history[-1] == Note(NOW, "accepted again", "alpha", "m-2")


def test_events_are_bounded_and_deliveries_go_first() -> None:
    entry: Entry | None = SENT
    for number in range(200):
        entry = told(entry, replace(DELIVERED, recipient=f"r{number}@example.org"))
    bounced = told(entry, replace(DELIVERED, kind=EventKind.BOUNCED, recipient="last@example.org"))
    assert bounced is not None
    assert [event.kind for event in bounced.events] == [EventKind.BOUNCED]
    assert told(entry, replace(DELIVERED, recipient="last@example.org")) == entry
    for number in range(250):
        bounced = told(bounced, replace(DELIVERED, kind=EventKind.DROPPED, recipient=f"r{number}@example.org"))
    assert bounced is not None
    assert len(bounced.events) == 200


def test_an_address_is_not_readable_in_an_entry_and_its_case_is_no_difference() -> None:
    assert address_key("Bob@Example.ORG ") == address_key("bob@example.org") != address_key("bob@example.com")
    assert len(address_key("bob@example.org")) == 64
    assert (address_tag(""), address_tag("bob@example.org")) == ("", address_key("bob@example.org")[:12])
    event = Happening(1.0, EventKind.DELIVERED, "alpha", address_tag("bob@example.org"))
    assert "bob" not in repr(event) + repr(DELIVERED)
