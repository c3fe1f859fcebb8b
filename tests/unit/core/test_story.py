"""A mail's story is told in order, with its evidence."""

from postman.core.entry import Entry, Happening, Note, State
from postman.core.events import EventKind
from postman.core.story import Line, evidence_of, story_of

ENTRY = Entry(
    State.SENT,
    history=(
        Note(10.0, "claimed", "alpha"),
        Note(12.0, "in doubt", "alpha", "time-out"),
        Note(11.5, "sent", "alpha", "look-up"),
        Note(30.0, "accepted again", "beta", "m-2"),
    ),
    events=(
        Happening(40.0, EventKind.COMPLAINED, "alpha", "t1"),
        Happening(20.0, EventKind.DELIVERED, "alpha", "t1", "250 OK"),
        Happening(11.0, EventKind.DROPPED, "alpha", "t2"),
    ),
)


def test_notes_keep_their_order_and_events_stand_where_they_happened() -> None:
    """Also where the clock of the one who noted was behind."""
    assert [line.what for line in story_of(ENTRY)] == [
        "claimed",
        "dropped",
        "in doubt",
        "sent",
        "delivered",
        "accepted again",
        "complained",
    ]
    assert story_of(ENTRY)[4] == Line(20.0, "delivered", "alpha", "250 OK", "t1")


def test_evidence_is_what_first_proved_the_acceptance() -> None:
    assert evidence_of(ENTRY) == "look-up"
    assert evidence_of(Entry(State.IN_DOUBT, history=ENTRY.history)) == ""
    assert evidence_of(Entry(State.SENT)) == ""
