"""Changes of the document's text: what was not changed stays as its owner wrote it."""

import tomllib

import pytest

from postman.config import parse_providers
from postman.config.editing import add_provider, change_provider, check_accounts, remove_provider, text_of_seed
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


NEW = 'name = "c"\nkind = "sendgrid"\napi_key = "env:C"\n'


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


@pytest.mark.parametrize(
    "text",
    [
        'provider = [{name = "a", kind = "sendgrid", api_key = "env:A"}]\n',
        '[provider]\nname = "a"\nkind = "sendgrid"\napi_key = "env:A"\n',
    ],
)
def test_providers_that_are_not_written_as_tables_are_refused_and_not_dropped(text: str) -> None:
    says = r"not written as \[\[provider\]\] tables; write them so"
    with pytest.raises(ConfigError, match=says):
        add_provider(text, {"name": "c", "kind": "sendgrid", "api_key": "secret:c"})
    with pytest.raises(ConfigError, match=says):
        change_provider(text, "a", {"weight": 1})
    with pytest.raises(ConfigError, match=says):
        remove_provider(text, "a")


def test_a_provider_is_added_after_a_last_line_without_an_end() -> None:
    added = add_provider(TEXT.rstrip("\n"), {"name": "c", "kind": "sendgrid", "api_key": "secret:c"})
    assert added.startswith(TEXT)
    assert [entry.spec.name for entry in parse_providers(added, "x")] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("api_key key-3ax6", "line 15, column 16"),
        ("domain = 'key-3ax6", "line 15"),
        ("'key-3ax6' = 1\n" * 2, "no TOML"),
    ],
)
def test_what_cannot_be_read_is_told_by_its_place_alone(wrong: str, says: str) -> None:
    with pytest.raises(ConfigError, match=rf"^the providers' document cannot be read: .*{says}") as told:
        change_provider(f"{TEXT}\n{wrong}\n", "a", {"weight": 1})
    assert "3ax6" not in str(told.value)


ACCOUNT = 'name = "b"\nkind = "mailgun"\ndomain = "mg.example.org"\napi_key = "env:B"\n'


@pytest.mark.parametrize(
    ("field", "account"),
    [
        ("kind", ACCOUNT.replace("mailgun", "sendgrid")),
        ("domain", ACCOUNT.replace("mg.", "mh.")),
        ("domain", ACCOUNT.replace('domain = "mg.example.org"\n', "")),
        ("base_url", f'{ACCOUNT}base_url = "https://api.eu.mailgun.net"\n'),
        ("region", f'{ACCOUNT}region = "eu"\n'),
    ],
)
def test_a_name_never_comes_to_mean_another_account(field: str, account: str) -> None:
    before, after = parse_providers(TEXT, "x"), parse_providers(f"[[provider]]\n{account}", "x")
    says = f"^x: line 2: provider b: {field}: is another account: mails that are in doubt would be asked for there"
    with pytest.raises(ConfigError, match=says):
        check_accounts(before, after)
    check_accounts([entry for entry in before if entry.spec.name != "b"], after)


def test_an_account_may_be_used_in_another_way_and_with_other_keys() -> None:
    used = "weight = 2\nenabled = false\ntimeout = 5\nrate = 1\nconcurrency = 3\nlook_up_after = 60\n"
    used += 'webhook_key = "env:W"\n'
    other = f"[[provider]]\n{ACCOUNT.replace('env:B', 'env:C')}{used}"
    check_accounts(parse_providers(TEXT, "x"), parse_providers(f"{other}\n[[provider]]\n{NEW}", "x"))


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


@pytest.mark.parametrize("field", ['"options": [null]', '"options": {"a": [{"b": null}]}'])
def test_a_seed_with_null_where_toml_has_nothing_for_it_is_named(field: str) -> None:
    provider = '{"name": "a", "kind": "sendgrid", "api_key": "secret:a"'
    for seed in (f'{{"provider": [{provider}, {field}}}]}}', f'{{"provider": [{provider}}}], "other": null}}'):
        with pytest.raises(ConfigError, match=r"^SEED: null may stand only"):
            text_of_seed(seed, "SEED")


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


def test_a_line_ends_only_where_one_ends_in_toml() -> None:
    """Editors and `postman` count the same lines, whatever signs a comment has."""
    assert line_of("# one\u2028still one\x85\x0b\x0c\n" + TEXT, 0, "weight") == 8
    assert line_of(TEXT.replace("\n", "\r\n"), 0, "weight") == 7
