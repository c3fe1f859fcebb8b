"""The judge of the chaos runs finds what it is there to find."""

from dataclasses import replace

import pytest

from postman.core.protocol import Entry, Note, State
from tests.chaos.checker import Accepted, Evidence, Letter, breaches

SENT = Entry(State.SENT, provider="alpha", message_id="m-1", history=(Note(1.0, "claimed"), Note(2.0, "sent")))
DOUBTED = replace(SENT, history=(Note(1.0, "claimed"), Note(2.0, "in doubt"), Note(3.0, "sent")))
REFUSED = Entry(State.REFUSED, parked=True, reason="bad")
ONCE = (Accepted("one", "alpha", "m-1"),)
TWICE = (*ONCE, Accepted("one", "alpha", "m-2"))
LETTER = (Letter("one", "refused", b"bytes"),)


def _found(
    entry: Entry | None, accepted: tuple[Accepted, ...], letters: tuple[Letter, ...] = (), *, may_double: bool = False
) -> list[str]:
    entries = {} if entry is None else {"one": entry}
    evidence = Evidence({"one": b"bytes"}, entries, accepted, letters)
    return [breach.problem.partition(":")[0] for breach in breaches(evidence, may_double=may_double)]


@pytest.mark.parametrize(
    ("entry", "accepted", "letters"),
    [(SENT, ONCE, ()), (DOUBTED, ONCE, ()), (REFUSED, (), LETTER), (REFUSED, (), LETTER * 2)],
)
def test_what_is_in_order_is_no_breach(
    entry: Entry, accepted: tuple[Accepted, ...], letters: tuple[Letter, ...]
) -> None:
    assert _found(entry, accepted, letters) == []


@pytest.mark.parametrize("entry", [None, Entry(State.SENDING), Entry(State.IN_DOUBT), Entry(State.REFUSED)])
def test_a_mail_without_an_end_is_lost(entry: Entry | None) -> None:
    assert _found(entry, ()) == ["lost"]


def test_a_dead_letter_that_is_not_there_or_has_other_bytes_is_a_breach() -> None:
    assert _found(REFUSED, ()) == ["lost"]
    assert _found(REFUSED, (), (Letter("one", "refused", b"other"),)) == ["its dead letter has other bytes"]


def test_a_record_that_no_provider_bears_out_is_a_breach() -> None:
    assert _found(SENT, ()) == ["recorded as sent, and no provider has it"]
    assert _found(SENT, (Accepted("one", "beta", "m-1"),)) == ["recorded as sent with a receipt that no provider gave"]
    assert _found(REFUSED, ONCE, LETTER) == ["recorded as refused, and a provider has it"]
    assert _found(None, ONCE) == ["accepted, and not recorded"]


def test_a_second_copy_must_be_allowed_and_have_a_doubt() -> None:
    assert _found(DOUBTED, TWICE) == ["doubled"]
    assert _found(SENT, TWICE, may_double=True) == ["doubled without a doubt in its history"]
    assert _found(DOUBTED, TWICE, may_double=True) == []


def test_a_mail_that_nobody_published_is_a_breach() -> None:
    stranger = Accepted("two", "alpha", "m-3")
    assert _found(SENT, (*ONCE, stranger)) == ["a provider has a mail that nobody published"]
