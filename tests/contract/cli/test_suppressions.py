"""`postman suppressions`, alone and with a worker."""

import sqlite3
import time

import pytest

from postman.core.events import address_key
from postman.testing.waiting import wait_until_blocking
from tests.contract.cli.commands import Postman, SandboxProcess, mail, write_lines

ANN = address_key("ann@example.org")
BOB = address_key("bob@example.org")
DAY = 86_400.0


def test_who_was_added_is_listed_by_a_key_and_nowhere_is_the_address(postman: Postman) -> None:
    before = time.time()
    added = postman("suppressions", "add", "Ann@Example.ORG", "--why", "she asked us on the phone")
    listed, lines = postman("suppressions", "list"), postman("suppressions", "list", "--json")

    assert (added.status, listed.status, lines.status) == (0, 0, 0)
    [line] = lines.lines
    assert before <= line.pop("since") <= time.time()
    assert line == {
        "key": ANN,
        "reason": "added",
        "provider": "",
        "expires_at": None,
        "mail_id": "",
        "detail": "she asked us on the phone",
    }
    assert ANN[:12] in listed.out
    assert "1 addresses" in listed.out
    said = "".join(ran.out + ran.err for ran in (added, listed, lines)).lower()
    assert "ann@example.org" not in said
    assert b"ann@example.org" not in (postman.folder / "postman.db").read_bytes().lower()


def test_an_empty_list_is_no_error(postman: Postman) -> None:
    assert postman("suppressions", "list", "--json").lines == []
    assert "0 addresses" in postman("suppressions", "list").out


def test_the_list_is_in_order_and_can_be_narrowed(postman: Postman) -> None:
    for address, days in (("ann@example.org", "2"), ("bob@example.org", "0.5")):
        assert postman("suppressions", "add", address, "--for", days).status == 0

    lines = postman("suppressions", "list", "--json", "--reason", "added", "--since", "2020-01-01").lines

    assert [line["key"] for line in lines] == [ANN, BOB]
    assert [round((line["expires_at"] - line["since"]) / DAY, 3) for line in lines] == [2.0, 0.5]
    assert postman("suppressions", "list", "--json", "--reason", "bounced").lines == []
    assert postman("suppressions", "list", "--json", "--since", "2099-12-31T23:59:59").lines == []


def test_who_is_there_for_longer_already_stays_as_it_is(postman: Postman) -> None:
    postman("suppressions", "add", "ann@example.org", "--for", "30", "--why", "first")
    again = postman("suppressions", "add", "ann@example.org", "--for", "3", "--why", "second")

    assert again.status == 0
    assert "is there already" in again.out
    assert [line["detail"] for line in postman("suppressions", "list", "--json").lines] == ["first"]


def test_shows_one_and_says_by_its_status_whether_it_gets_mail(postman: Postman) -> None:
    unknown = postman("suppressions", "show", "ann@example.org")
    postman("suppressions", "add", "ann@example.org")
    by_address, by_key = postman("suppressions", "show", "ann@example.org"), postman("suppressions", "show", ANN)
    as_json = postman("suppressions", "show", ANN[:12], "--json")
    postman("suppressions", "lift", "ann@example.org")
    lifted, lifted_json = postman("suppressions", "show", ANN), postman("suppressions", "show", ANN, "--json")

    assert (unknown.status, unknown.complaints) == (1, [f"{ANN[:12]} is not on the list"])
    assert (by_address.status, by_key.status, as_json.status) == (0, 0, 0)
    assert by_address.out == by_key.out
    assert "gets no mail" in by_key.out
    assert (as_json.lines[0]["key"], as_json.lines[0]["suppressed"]) == (ANN, True)
    assert (lifted.status, lifted_json.status) == (1, 1)
    assert "it was lifted" in lifted.out
    assert (lifted_json.lines[0]["suppressed"], lifted_json.lines[0]["lifted"]) == (False, True)


def test_lifts_by_address_by_key_and_by_the_shown_beginning_of_a_key(postman: Postman) -> None:
    for named in ("ann@example.org", ANN, ANN[:12]):
        assert postman("suppressions", "add", "ann@example.org").status == 0
        lifted = postman("suppressions", "lift", named)
        assert lifted.status == 0
        assert "gets mail again" in lifted.out
        assert postman("suppressions", "list", "--json").lines == []

    twice, nobody = postman("suppressions", "lift", "ann@example.org"), postman("suppressions", "lift", "ab" * 6)
    assert (twice.status, nobody.status) == (1, 1)
    assert nobody.complaints == ["abababababab is not on the list"]


def test_what_expired_is_neither_listed_nor_lifted(postman: Postman) -> None:
    postman("suppressions", "add", "ann@example.org", "--for", "0.00001")
    wait_until_blocking(
        lambda: postman("suppressions", "list", "--json").lines == [], within=10.0, what="the suppression's end"
    )

    shown = postman("suppressions", "show", "ann@example.org")
    assert shown.status == 1
    assert "it expired" in shown.out
    assert postman("suppressions", "lift", "ann@example.org").status == 1


def test_reads_many_from_stdin_so_that_no_history_keeps_them(postman: Postman) -> None:
    added = postman("suppressions", "add", "-", "--json", stdin=b"ann@example.org\r\n\n  bob@example.org \n")
    assert [line["key"] for line in added.lines] == [ANN, BOB]

    lifted = postman("suppressions", "lift", "-", stdin=f"{ANN}\nbob@example.org\ncarl@example.org".encode())
    assert lifted.status == 1
    assert [line.partition(" gets")[0] for line in lifted.out.splitlines()] == [
        f"line 1: {ANN[:12]}",
        f"line 2: {BOB[:12]}",
    ]
    assert lifted.complaints == [f"line 3: {address_key('carl@example.org')[:12]} is not on the list"]

    shown = postman("suppressions", "show", "-", "--json", stdin=b"ann@example.org\ncarl@example.org\n")
    assert shown.status == 1
    assert [line["suppressed"] for line in shown.lines] == [False, False]


@pytest.mark.parametrize(
    ("arguments", "stdin", "problem"),
    [
        (["add", "ann@"], "", "ADDRESS: is no address"),
        (["add", ANN], "", "ADDRESS: is no address"),
        (["show", "abcdef"], "", "ADDRESS: is no address"),
        (["lift", "Ann <ann@example.org>"], "", "ADDRESS: is no address"),
        (["add", "-"], "ann@example.org\nbob@\n", "line 2: is no address"),
        (["add", "-"], "\xff\xfe@example.org", "line 1: "),
        (["add", "-"], " \n\n", "ADDRESS: nothing was read from stdin"),
        (["add", "ann@example.org", "--for", "0"], "", "--for: must be more than 0"),
        (["add", "ann@example.org", "--for", "-1"], "", "--for: must be more than 0"),
        (["add", "ann@example.org", "--for", "nan"], "", "--for: must be more than 0"),
        (["add", "ann@example.org", "--why", "told by bob@example.org"], "", "--why: must have no address"),
        (["add", "ann@example.org", "--why", "a\nb"], "", "--why: must not have line breaks"),
        (["add", "ann@example.org", "--why", "x" * 201], "", "--why: must have no address in it, and at most 200"),
    ],
)
def test_what_is_wrong_is_named_without_the_address_and_nothing_is_done(
    postman: Postman, arguments: list[str], stdin: str, problem: str
) -> None:
    ran = postman("suppressions", *arguments, stdin=stdin.encode("latin-1"))

    assert ran.status == 2
    [complaint] = ran.complaints
    assert complaint.startswith(problem)
    assert "ann" not in complaint
    assert "bob" not in complaint
    assert postman("suppressions", "list", "--json").lines == []


def test_a_key_that_begins_two_is_not_guessed(postman: Postman) -> None:
    """Twelve digits are enough among many; here the list has two keys whose first twelve are the same."""
    postman("suppressions", "add", "ann@example.org")
    with sqlite3.connect(postman.folder / "postman.db") as connection:
        columns = "prefix, reason, since, provider, mail_id, detail, is_lifted"
        twin = f"{ANN[:20]}{'0' * 44}"
        connection.execute(f"INSERT INTO suppressions (key, {columns}) SELECT ?, {columns} FROM suppressions", (twin,))
    connection.close()

    ran = postman("suppressions", "lift", ANN[:12])

    assert ran.status == 2
    assert ran.complaints == [f"{ANN[:12]} begins 2 keys of the list: give more of it"]
    assert postman("suppressions", "lift", ANN[:21]).status == 0


def test_a_ledger_out_of_reach_is_a_failure(postman: Postman) -> None:
    settings = {"POSTMAN_LEDGER": "firestore:", "POSTMAN_PROJECT": "p", "FIRESTORE_EMULATOR_HOST": "127.0.0.1:1"}
    away = postman.with_settings(settings)
    for command in (["list"], ["show", "ann@example.org"], ["add", "ann@example.org"], ["lift", ANN]):
        ran = away("suppressions", *command)
        assert ran.status == 1
        assert ran.out == ""
        assert ran.complaints == ["Firestore database (default) of project p cannot be reached"]


def test_wrong_settings_are_named(postman: Postman) -> None:
    folder = postman("suppressions", "list", POSTMAN_LEDGER="sqlite:/")
    unknown = postman("suppressions", "list", POSTMAN_LEDGER="owl:")
    negative = postman("suppressions", "list", POSTMAN_SUPPRESS_FOR="-1")

    assert (folder.status, unknown.status, negative.status) == (2, 2, 2)
    assert unknown.complaints == ["POSTMAN_LEDGER: this kind of ledger keeps no suppression list"]
    assert "POSTMAN_SUPPRESS_FOR" in negative.err


def test_init_makes_the_list(postman: Postman) -> None:
    assert postman("init").status == 0
    with sqlite3.connect(postman.folder / "postman.db") as connection:
        assert connection.execute("SELECT count(*) FROM suppressions").fetchone() == (0,)
    connection.close()


def _replayed(postman: Postman, sandbox: SandboxProcess) -> bool:
    """Send the dead letters back; until the worker has heard of the lifting they are dead letters again."""
    postman("dead", "replay", "--reason", "suppressed", "--yes")
    return {"to-ann", "to-several"} <= set(sandbox.accepted())


def test_a_suppressed_mail_is_refused_with_its_reason_and_sent_after_the_lifting(
    postman: Postman, sandbox: SandboxProcess
) -> None:
    """From end to end; a mail to several is refused as a whole, and one to others is sent meanwhile."""
    postman.use(sandbox)
    postman("suppressions", "add", "ann@example.org", "--why", "she asked us")
    several = [{"email": "carl@example.org"}, {"email": "Ann@example.org"}]
    mails = [mail("to-ann"), mail("to-several", to=several), mail("to-carl", to=[{"email": "carl@example.org"}])]
    assert postman("publish", write_lines(postman.folder / "m.jsonl", mails)).status == 0
    with postman.working() as worker:
        wait_until_blocking(lambda: len(worker.events("dead_lettered")) == 2, within=20.0, what="two dead letters")
        sandbox.wait_for(["to-carl"], within=10.0)
        letters = {letter["id"]: letter for letter in postman.dead()}
        shown = postman("show", "to-several")
        assert postman("suppressions", "lift", ANN[:12]).status == 0
        wait_until_blocking(lambda: _replayed(postman, sandbox), within=20.0, every=0.5, what="both mails sent")
        postman.wait_until_sent(["to-ann", "to-several", "to-carl"], within=10.0)
        assert b"ann@example.org" not in worker.err.read_bytes().lower()

    assert {letter["reason"] for letter in letters.values()} == {"suppressed"}
    assert letters["to-ann"]["detail"].startswith("suppressed: to[0]: added by a person on 20")
    assert letters["to-several"]["detail"].startswith("suppressed: to[1]: added by a person on 20")
    assert shown.status == 0
    assert "see postman suppressions" in shown.out
    assert postman.dead() == []
