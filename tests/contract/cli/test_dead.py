"""`postman dead` and `postman show`, with workers and a sandbox around them."""

import shutil
from pathlib import Path

import pytest

from postman.core.shards import shard_for
from postman.testing.waiting import wait_until_blocking
from tests.contract.cli.commands import Postman, Process, SandboxProcess, mail, write_lines
from tests.contract.cli.forks import Forks


@pytest.fixture
def postman(postman: Postman, sandbox: SandboxProcess) -> Postman:
    postman.use(sandbox)
    return postman


def _wait_for_dead(worker: Process, count: int) -> None:
    wait_until_blocking(lambda: len(worker.events("dead_lettered")) >= count, within=20.0, what=f"{count} dead letters")


def _publish(postman: Postman, *ids: str, **changes: object) -> None:
    ran = postman("publish", write_lines(postman.folder / "m.jsonl", [mail(i, **changes) for i in ids]))
    assert ran.status == 0, ran.err


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory, forks: Forks, running: SandboxProcess) -> Path:
    """Where a worker refused three mails and two others for reasons of ours, and sent two."""
    postman = Postman(tmp_path_factory.mktemp("worked"), forks)
    postman.use(running)
    running.forget()
    running.fail("status", status=400, only="send")
    _publish(postman, "a", "b", "c")
    with postman.working() as worker:
        _wait_for_dead(worker, 3)
        running.recover()
        _publish(postman, "twice")
        _publish(postman, "twice", text="Something else.")
        _publish(postman, "late", expires_at="2026-01-01T00:00:00Z")
        _publish(postman, "good")
        _wait_for_dead(worker, 5)
        running.wait_for(["twice", "good"], within=10.0)
        postman.wait_until_sent(["twice", "good"], within=5.0)
    assert sorted(running.accepted()) == ["good", "twice"]
    return postman.folder / "postman.db"


@pytest.fixture
def worked(postman: Postman, database: Path) -> Postman:
    shutil.copy(database, postman.folder / "postman.db")
    return postman


@pytest.fixture
def refused(worked: Postman) -> Postman:
    """Three mails that were refused are the only dead letters, and the providers are well again."""
    assert worked("dead", "drop", "twice", "late", "--yes").status == 0
    return worked


def test_lists_dead_letters_with_shard_reason_and_detail(refused: Postman) -> None:
    letters = refused.dead()

    assert {letter["id"] for letter in letters} == {"a", "b", "c"}
    assert {letter["reason"] for letter in letters} == {"refused"}
    assert {letter["id"]: letter["shard"] for letter in letters} == {i: shard_for(i, 4) for i in ("a", "b", "c")}
    assert all("400" in letter["detail"] or "refused" in letter["detail"] for letter in letters)
    assert [letter["dead_at"] for letter in letters] == sorted(letter["dead_at"] for letter in letters)
    assert "3 dead letters" in refused("dead", "list").out
    assert "0 dead letters" in refused("dead", "list", "--reason", "expired").out
    shard = shard_for("a", 4)
    assert all(letter["shard"] == shard for letter in refused("dead", "list", "--json", "--shard", str(shard)).lines)


def test_looking_at_dead_letters_leaves_them_for_the_next_who_looks(refused: Postman) -> None:
    assert [len(refused.dead()) for _ in range(3)] == [3, 3, 3]


def test_shows_one_dead_letter_and_its_content_only_on_request(refused: Postman) -> None:
    without, with_content = refused("dead", "show", "a"), refused("dead", "show", "a", "--content")

    assert (without.status, with_content.status) == (0, 0)
    assert "refused" in without.out
    assert "ann@example.org" not in without.out + without.err
    assert "ann@example.org" in with_content.out
    assert "ann@example.org" in refused("dead", "show", "a", "--content", "--json").lines[0]["content"]
    assert "content" not in refused("dead", "show", "a", "--json").lines[0]


def test_a_dead_letter_that_is_not_there_is_a_failure(postman: Postman) -> None:
    for command in (("show", "x"), ("replay", "x", "--yes"), ("drop", "x", "--yes")):
        ran = postman("dead", *command)
        assert ran.status == 1, command
        assert "no dead letter has" in ran.err


def test_replay_delivers_what_was_refused_by_a_fault_that_is_gone(refused: Postman, sandbox: SandboxProcess) -> None:
    [before] = refused("show", "a", "--json").lines
    assert (before["state"], before["dead_lettered"]) == ("refused", True)

    ran = refused("dead", "replay", "a", "b", "--yes", "--json", "--because", "key was wrong")

    assert (ran.status, ran.lines) == (0, [{"published": 2, "already_sent": 0, "held": 0}])
    with refused.working():
        sandbox.wait_for(["a", "b"], within=10.0)
        refused.wait_until_sent(["a", "b"], within=5.0)
    assert sorted(sandbox.accepted()) == ["a", "b"]
    assert [letter["id"] for letter in refused.dead()] == ["c"]
    assert "key was wrong" in str(refused("show", "a", "--json").lines[0]["history"])


def test_replay_of_a_mail_that_was_sent_meanwhile_sends_nothing(refused: Postman, sandbox: SandboxProcess) -> None:
    """A late receipt, or a second letter of the same mail."""
    copies = shutil.copy(refused.folder / "postman.db", refused.folder / "copies.db")
    assert refused("dead", "replay", "a", "--yes").status == 0
    with refused.working():
        refused.wait_until_sent(["a"], within=10.0)

    ran = refused("dead", "replay", "a", "--yes", "--json", POSTMAN_QUEUE=f"sqlite:{copies}")

    assert (ran.status, ran.lines) == (0, [{"published": 0, "already_sent": 1, "held": 0}])
    assert refused("dead", "show", "a", POSTMAN_QUEUE=f"sqlite:{copies}").status == 1


def test_drop_removes_for_good_and_the_ledger_remembers(refused: Postman) -> None:
    ran = refused("dead", "drop", "--reason", "refused", "--yes", "--json")

    assert (ran.status, ran.lines) == (0, [{"dropped": 3}])
    assert refused.dead() == []
    assert refused("show", "a", "--json").lines[0]["state"] == "refused"


def test_some_of_the_named_letters_missing_is_a_failure_that_says_how_many(refused: Postman) -> None:
    ran = refused("dead", "drop", "a", "x", "y", "--yes")

    assert (ran.status, ran.out) == (1, "1 removed\n")
    assert "2 of these ids have no dead letter" in ran.err


def test_nothing_chosen_is_wrong_use_and_touches_nothing(refused: Postman) -> None:
    for command in ("replay", "drop"):
        ran = refused("dead", command, "--yes")
        assert (ran.status, ran.out) == (2, "")
        assert "ids, --reason, --shard, or --all" in ran.err
    assert len(refused.dead()) == 3


def test_without_a_terminal_and_without_yes_nothing_is_done(refused: Postman) -> None:
    for command in ("replay", "drop"):
        for answer in (b"", b"n\n"):
            assert refused("dead", command, "--all", stdin=answer).status == 1
    assert "--yes" in refused("dead", "drop", "--all").err
    assert len(refused.dead()) == 3
    assert refused("dead", "drop", "--all", stdin=b"y\n").status == 0
    assert refused.dead() == []


def test_a_shard_that_does_not_exist_is_wrong_use(postman: Postman) -> None:
    ran = postman("dead", "list", "--shard", "4")

    assert (ran.status, ran.out) == (2, "")
    assert "--shard: there are 4 shards, numbered from 0" in ran.err


def test_shows_what_became_of_a_mail(worked: Postman) -> None:
    [shown] = worked("show", "good", "--json").lines
    read = worked("show", "good")

    assert shown["state"] == "sent"
    assert shown["provider"] in ("sendgrid", "mailgun")
    assert shown["message_id"]
    assert [note["event"] for note in shown["history"]][-1] == "sent"
    assert read.out.startswith("good is sent since ")
    assert shown["provider"] in read.out
    assert "ann@example.org" not in read.out


def test_a_mail_that_is_not_known_is_a_failure(postman: Postman) -> None:
    ran = postman("show", "nobody")

    assert (ran.status, ran.out) == (1, "")
    assert "nobody: the ledger does not know this mail" in ran.err


@pytest.mark.parametrize(("mail_id", "reason"), [("twice", "conflict"), ("late", "expired")])
def test_a_mail_that_must_not_be_sent_is_a_dead_letter_with_its_reason(
    worked: Postman, mail_id: str, reason: str
) -> None:
    """*twice* was published again with another content, *late* after its time."""
    [letter] = worked("dead", "list", "--json", "--reason", reason).lines

    assert (letter["id"], letter["shard"], letter["copies"]) == (mail_id, shard_for(mail_id, 4), 1)
