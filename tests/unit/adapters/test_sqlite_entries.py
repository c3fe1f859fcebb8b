"""An entry as JSON, and back."""

import orjson
import pytest

from postman.adapters.sqlite._entries import UnknownStateError, dump, load
from postman.core.protocol import Entry, Note, State

_ENTRY = Entry(
    State.IN_DOUBT,
    token=3,
    digest="d",
    claim_id="c",
    provider="alpha",
    since=1_700_000_000.123456,
    attempts=2,
    reason="Zeitüberschreitung",
    parked=True,
    history=(Note(1.5, "claimed", "alpha"), Note(2.5, "in doubt", "alpha", "time-out")),
)


@pytest.mark.parametrize("entry", [_ENTRY, Entry(State.FREE)])
def test_an_entry_comes_back_as_it_was(entry: Entry) -> None:
    assert load(dump(entry, {})) == (entry, {})


def test_fields_that_are_not_ours_come_back_too() -> None:
    foreign = {"colour": "blue", "since_when": [1, {"a": None}]}

    assert load(dump(_ENTRY, foreign)) == (_ENTRY, foreign)


def test_a_field_that_an_older_postman_did_not_write_has_its_default() -> None:
    found = orjson.loads(dump(_ENTRY, {}))
    del found["parked"]

    assert not load(orjson.dumps(found))[0].parked


def test_a_note_of_a_newer_postman_can_be_read() -> None:
    found = orjson.loads(dump(_ENTRY, {}))
    found["history"][0]["mood"] = "good"

    assert load(orjson.dumps(found))[0] == _ENTRY


def test_a_state_that_is_not_ours_is_refused() -> None:
    found = orjson.loads(dump(_ENTRY, {})) | {"state": "pondering"}
    with pytest.raises(UnknownStateError, match="pondering"):
        load(orjson.dumps(found))
