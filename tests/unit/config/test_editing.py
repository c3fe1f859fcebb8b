"""Changes of the document's text: what was not changed stays as its owner wrote it."""

import tomllib

import pytest

from postman.config import parse_providers
from postman.config.editing import add_provider, change_provider, remove_provider, text_of_seed
from postman.config.lines import line_of
from postman.errors import ConfigError

TEXT = """\
# Ours; ask Kim before you change it.

[[provider]]
name = "a"            # the cheap one
kind = "sendgrid"
api_key = "env:A"
weight = 3

[[provider]]
name = 'b'
kind = "mailgun"
domain = "mg.example.org"
api_key = "env:B"
"""


def test_a_field_is_changed_in_its_place_and_comments_stay() -> None:
    changed = change_provider(TEXT, "a", {"weight": 1.5})
    assert changed == TEXT.replace("weight = 3", "weight = 1.5")


def test_a_new_field_comes_to_its_own_provider_and_none_takes_one_out() -> None:
    changed = change_provider(TEXT, "a", {"enabled": False, "weight": None})
    first, second = tomllib.loads(changed)["provider"]
    assert first == {"name": "a", "kind": "sendgrid", "api_key": "env:A", "enabled": False}
    assert second == tomllib.loads(TEXT)["provider"][1]
    assert "ask Kim" in changed
    assert "the cheap one" in changed


def test_a_provider_is_added_at_the_end_and_taken_out_again() -> None:
    added = add_provider(TEXT, {"name": "c", "kind": "sendgrid", "api_key": "secret:c"})
    assert added.startswith(TEXT)
    assert [entry.spec.name for entry in parse_providers(added, "x")] == ["a", "b", "c"]
    assert tomllib.loads(remove_provider(added, "c")) == tomllib.loads(TEXT)
    assert [entry.spec.name for entry in parse_providers(remove_provider(added, "a"), "x")] == ["b", "c"]


def test_the_first_provider_of_an_empty_document_can_be_added() -> None:
    text = add_provider("", {"name": "c", "kind": "sendgrid", "api_key": "secret:c"})
    assert [entry.spec.name for entry in parse_providers(text, "x")] == ["c"]


def test_who_is_not_there_is_told_with_who_is() -> None:
    with pytest.raises(ConfigError, match="there is no provider 'z'; the document has a, b"):
        change_provider(TEXT, "z", {"weight": 1})
    with pytest.raises(ConfigError, match="the document has none"):
        remove_provider("", "z")
    with pytest.raises(ConfigError, match="provider a: is there already"):
        add_provider(TEXT, {"name": "a"})
    with pytest.raises(ConfigError, match="cannot be read"):
        change_provider("[[provider", "a", {})


def test_a_seed_is_what_terraform_writes() -> None:
    seed = '{"provider":[{"name":"a","kind":"sendgrid","api_key":"secret:a","weight":2,"rate":null,"enabled":true}]}'
    [entry] = parse_providers(text_of_seed(seed, "SEED"), "SEED")
    assert (entry.spec.name, entry.weight, entry.rate, entry.enabled) == ("a", 2.0, None, True)


@pytest.mark.parametrize("seed", ["", "[]", "{}", '{"provider": []}', '{"provider": ["a"]}', '{"provider": 3}', "{"])
def test_a_wrong_seed_is_named(seed: str) -> None:
    with pytest.raises(ConfigError, match=r"^SEED: "):
        parse_providers(text_of_seed(seed, "SEED"), "SEED")


@pytest.mark.parametrize(
    ("number", "field", "line"),
    [(0, "name", 4), (0, "weight", 7), (1, "weight", 9), (1, "domain", 12), (2, "name", 0), (0, "domain", 3)],
)
def test_a_field_is_found_in_its_own_table(number: int, field: str, line: int) -> None:
    assert line_of(TEXT, number, field) == line
