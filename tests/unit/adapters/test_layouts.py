"""The layout as text: what of another version, and of a damaged document, is made of it."""

from typing import Any

import orjson
import pytest

from postman.adapters import _layouts
from postman.adapters._layouts import dump_layout
from postman.core.layout import Layout
from postman.errors import LayoutError
from postman.testing.layouts_suite import full_layout

LEAST: dict[str, Any] = {"schema": 1, "epoch": 3, "publish": 4, "consume": 6}


def load_layout(text: bytes | str) -> Layout:
    return _layouts.load_layout(text, "row a")


def test_what_is_written_is_read_again() -> None:
    assert load_layout(dump_layout(full_layout())) == full_layout()


def test_fields_that_are_missing_have_their_defaults_and_unknown_ones_are_ignored() -> None:
    """An older postman wrote less, and a newer one of the same schema may write more."""
    text = orjson.dumps({**LEAST, "colour": "blue", "paused_by": {"2": "ann"}})

    assert load_layout(text) == Layout(publish=4, consume=6, epoch=3, top=6)


def test_whole_times_are_times() -> None:
    assert load_layout(orjson.dumps({**LEAST, "changed_at": 7})).changed_at == 7.0


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "7", '"layout"', b"\xff", orjson.dumps(LEAST)[:-1]], ids=str)
def test_what_is_no_object_is_damaged(text: bytes | str) -> None:
    with pytest.raises(LayoutError, match="the layout in row a is damaged"):
        load_layout(text)


@pytest.mark.parametrize("name", LEAST)
def test_what_every_layout_has_must_be_there(name: str) -> None:
    """To take a default for the number of shards would leave mails in shards that nobody reads."""
    text = orjson.dumps({key: value for key, value in LEAST.items() if key != name})
    with pytest.raises(LayoutError, match=f"is damaged: {name} is no whole number"):
        load_layout(text)


@pytest.mark.parametrize("name", ["schema", "epoch", "publish", "consume", "target", "top", "hand"])
@pytest.mark.parametrize("value", [-1, 4.0, True, None, "4", [4]])
def test_a_count_is_a_whole_number(name: str, value: object) -> None:
    with pytest.raises(LayoutError, match=f"is damaged: {name} is no whole number"):
        load_layout(orjson.dumps({**LEAST, name: value}))


@pytest.mark.parametrize("name", ["paused", "closed"])
@pytest.mark.parametrize("value", [3, "3", {"3": 1}, None, ["3"], [-1], [True], [1.0]])
def test_what_is_paused_or_closed_is_a_list_of_whole_numbers(name: str, value: object) -> None:
    with pytest.raises(LayoutError, match=f"is damaged: {name} is no "):
        load_layout(orjson.dumps({**LEAST, name: value}))


@pytest.mark.parametrize("name", ["changed_at", "published_at"])
@pytest.mark.parametrize("value", ["1e9", True, None])
def test_a_time_is_a_number(name: str, value: object) -> None:
    with pytest.raises(LayoutError, match=f"is damaged: {name} is no number"):
        load_layout(orjson.dumps({**LEAST, name: value}))


@pytest.mark.parametrize(
    "fields", [{"publish": 0}, {"publish": 7}, {"consume": 5_000}, {"paused": [6]}, {"closed": [0, 1, 2, 3]}], ids=str
)
def test_a_layout_that_would_lose_mails_is_damaged(fields: dict[str, object]) -> None:
    """Whoever wrote it, nobody goes by it."""
    with pytest.raises(LayoutError, match="is damaged"):
        load_layout(orjson.dumps({**LEAST, **fields}))


def test_a_newer_postmans_layout_is_told_apart_from_a_damaged_one() -> None:
    """Its fields may mean what this version cannot know, so that not one of them is looked at."""
    with pytest.raises(LayoutError, match=r"the layout in row a is a newer postman's \(schema 2\): update this one"):
        load_layout(orjson.dumps({"schema": 2, "publish": "all"}))
