"""`postman providers` on a document in a store, and on a file."""

import json
from contextlib import closing
from sqlite3 import connect

import pytest

from tests.contract.cli.commands import Postman

SEED = {"provider": [{"name": "a", "kind": "sendgrid", "api_key": "env:NOT_HERE", "weight": 2, "rate": None}]}
STORE = {"POSTMAN_PROVIDERS": "sqlite:postman.db"}
FILE = '# ours\n[[provider]]\nname = "a"\nkind = "sendgrid"\napi_key = "env:SENDGRID_API_KEY"\n'


@pytest.fixture
def stored(postman: Postman) -> Postman:
    store = postman.with_settings(STORE)
    (store.folder / "first.toml").write_text(FILE)
    assert store("providers", "replace", "first.toml", "--why", "the first one").status == 0
    return store


def test_a_store_without_a_document_says_how_to_make_one(postman: Postman) -> None:
    store = postman.with_settings(STORE)
    for command in ("list", "show", "history"):
        ran = store("providers", command)
        assert (ran.status, ran.out) == (2, "")
        assert "replace" in ran.err


def test_changes_are_numbered_with_who_and_why(stored: Postman) -> None:
    steps = (
        ("add", "b", "--kind", "mailgun", "--api-key", "secret:b", "domain=mg.example.org", "rate=5"),
        ("weight", "b", "3", "--why", "cheaper"),
        ("set", "b", "timeout=4", "rate=", "concurrency=7"),
        ("disable", "a"),
        ("enable", "a"),
        ("reread",),
        ("remove", "a"),
    )
    for step in steps:
        ran = stored("providers", *step)
        assert ran.status == 0, ran.err
    [line] = stored("providers", "list", "--json").lines
    assert (line["name"], line["weight"], line["rate"], line["timeout"], line["concurrency"]) == ("b", 3, None, 4, 7)
    history = stored("providers", "history", "--json").lines
    assert [each["number"] for each in history] == list(range(1, 9))
    assert [each["what"] for each in history] == [
        "replace by first.toml: the first one",
        "add b",
        "weight 3 for b: cheaper",
        "set timeout, rate, concurrency of b",
        "disable a",
        "enable a",
        "read the keys anew",
        "remove a",
    ]
    assert all("@" in each["by"] for each in history)
    assert "# ours" in stored("providers", "show").out


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (("weight", "z", "1"), "there is no provider 'z'; the document has a"),
        (("set", "a", "weight=-1"), "line 6: provider a: weight"),
        (("set", "a", "timeout=soon"), "timeout: must be a number"),
        (("set", "a", "api_key=SG.pasted"), "line 5: provider a: api_key: must be a reference"),
        (("set", "a", "colour=red"), "unknown option colour"),
        (("set", "a", "kind=mailgun", "domain=mg.example.org"), "line 3: provider a: kind: is another account"),
        (("set", "a", "base_url=https://api.eu.sendgrid.com"), "base_url: is another account: mails that are in doubt"),
        (("set", "a", "kind=pigeon"), "provider a: kind: 'pigeon' is not known"),
        (("set", "a", "name=b"), "name: stays what it is"),
        (("set", "a", "weight=1", "SG.pasted"), "field 2: is not given as FIELD=VALUE"),
        (("set", "a", "=SG.pasted"), "field 1: is not given as FIELD=VALUE"),
        (("set", "a"), "there is nothing to change"),
        (("disable", "a"), "no provider is enabled"),
        (("remove", "a"), "names no provider"),
        (("add", "a", "--kind", "sendgrid", "--api-key", "env:A"), "provider a: is there already"),
        (("add", "b", "--kind", "mailgun", "--api-key", "env:A"), "option domain must be"),
        (("weight", "a", "2", "--why", "ask kim@example.org"), "--why: must have no address"),
        (("replace", "nowhere.toml"), "cannot read nowhere.toml: No such file"),
        (("replace", "broken.toml"), "broken.toml: line 4: provider b: rate"),
    ],
)
def test_what_is_wrong_is_named_and_changes_nothing(stored: Postman, step: tuple[str, ...], says: str) -> None:
    broken = '[[provider]]\nname = "b"\nkind = "sendgrid"\nrate = 0\napi_key = "env:B"'
    (stored.folder / "broken.toml").write_text(broken)
    ran = stored("providers", *step)
    assert (ran.status, ran.out) == (2, "")
    assert says in " ".join(ran.err.split())
    assert "SG.pasted" not in ran.err
    assert stored("providers", "show").out == FILE


def test_a_replacement_of_what_somebody_else_changed_meanwhile_is_refused(stored: Postman) -> None:
    """Who edits a copy of number 1 would undo number 2 without knowing it."""
    shown = stored("providers", "show")
    assert "this is number 1" in shown.err
    (stored.folder / "edited.toml").write_text(f"{shown.out}timeout = 5\n")
    assert stored("providers", "weight", "a", "3").status == 0
    late = stored("providers", "replace", "edited.toml", "--from", "1")
    assert (late.status, late.out) == (1, "")
    assert "--from 1: the document is number 2 by now" in late.err
    assert "weight = 3.0" in stored("providers", "show").out
    assert stored("providers", "replace", "edited.toml", "--from", "2").status == 0
    assert stored("providers", "show").out == f"{FILE}timeout = 5\n"


def test_the_number_told_is_that_of_the_change_whatever_comes_after_it(stored: Postman) -> None:
    """A change that was made is done, also where the store cannot be read a moment later."""
    with closing(connect(stored.folder / "postman.db")) as store, store:
        damage = "UPDATE documents SET document = x'7b'"
        store.execute(f"CREATE TRIGGER damage AFTER INSERT ON documents BEGIN {damage}; END")
    ran = stored("providers", "weight", "a", "3")
    assert (ran.status, ran.err) == (0, "")
    assert "it is number 2;" in ran.out
    assert stored("providers", "list").status == 1


def test_a_file_is_changed_in_its_place(postman: Postman) -> None:
    path = postman.folder / "providers.toml"
    path.write_text(FILE)
    assert postman("providers", "weight", "a", "2").status == 0
    assert path.read_text() == FILE + "weight = 2.0\n"
    number = postman("providers", "show").err.rpartition("--from ")[2].split("`")[0]
    (postman.folder / "edited.toml").write_text(FILE)
    assert postman("providers", "replace", "edited.toml", "--from", number).status == 0
    assert postman("providers", "replace", "edited.toml", "--from", number).status == 1
    assert path.read_text() == FILE
    assert postman("providers", "history", "--json").lines == []
    assert postman("providers", "reread").status == 2


def test_the_first_file_is_made_by_replace(postman: Postman) -> None:
    path = postman.folder / "providers.toml"
    assert postman("providers", "show").status == 2
    assert postman("providers", "weight", "a", "2").status == 2
    assert not path.exists()
    ran = postman("providers", "replace", "-", stdin=FILE.encode())
    assert ran.status == 0, ran.err
    assert ran.out.startswith("made the providers' document in ")
    assert path.read_text() == FILE


def test_a_document_that_cannot_be_used_is_mended_by_replace(postman: Postman) -> None:
    (postman.folder / "providers.toml").write_text("[[provider")
    assert postman("providers", "replace", "-", stdin=FILE.encode()).status == 0
    assert (postman.folder / "providers.toml").read_text() == FILE


def test_the_first_worker_puts_the_seed_into_the_store(postman: Postman) -> None:
    store = postman.with_settings(STORE)
    seeded = {**STORE, "POSTMAN_PROVIDERS_SEED": json.dumps(SEED), "NOT_HERE": "SG.key"}
    with postman.with_settings(seeded).start("worker") as worker:
        worker.wait_for("worker_started")
        [line] = store("providers", "list", "--json").lines
    assert (line["name"], line["weight"], line["api_key"]) == ("a", 2, "env:NOT_HERE")
    [change] = store("providers", "history", "--json").lines
    assert (change["number"], change["by"]) == (1, "POSTMAN_PROVIDERS_SEED")
    assert "SG.key" not in worker.err.read_text() + worker.out.read_text()


def test_whoever_knows_that_it_is_the_same_account_may_correct_its_address(stored: Postman) -> None:
    ran = stored("providers", "set", "a", "base_url=https://api.eu.sendgrid.com", "--same-account")
    assert ran.status == 0, ran.err
    assert stored("providers", "list", "--json").lines[0]["base_url"] == "https://api.eu.sendgrid.com"


def test_a_breaker_is_forced_and_left_to_itself_again(stored: Postman) -> None:
    forced = stored("providers", "breaker", "a", "open", "--why", "it bounces all")
    assert forced.status == 0
    assert "every enabled provider is forced open (a)" in " ".join(forced.err.split())
    assert stored("providers", "list", "--json").lines[0]["breaker"] == "open"
    assert "forced open" in stored("providers", "list").out
    ran = stored("providers", "breaker", "a", "auto", "--json")
    assert (ran.lines, ran.err) == ([{"number": 3, "what": "breaker auto for a", "warning": ""}], "")
    assert stored("providers", "show").out == FILE
    changes = [each["what"] for each in stored("providers", "history", "--json").lines]
    assert changes[1:] == ["breaker open for a: it bounces all", "breaker auto for a"]
    assert stored("providers", "breaker", "a", "ajar").status == 2
