"""`postman publish`, as a user meets it."""

import time
from pathlib import Path

import orjson
import pytest

from postman.core.shards import shard_for
from tests.contract.cli.commands import Postman, mail, write_lines

_EML = b"""\
From: shop@example.com
To: ann@example.org
Subject: Your receipt
Message-ID: <receipt-7@example.com>

Thank you.
"""


def test_prints_id_and_shard_of_each_mail_in_order_and_nothing_else(postman: Postman) -> None:
    ids = [f"order-{number}" for number in range(20)]

    ran = postman.anew("publish", write_lines(postman.folder / "mails.jsonl", map(mail, ids)))

    assert (ran.status, ran.err) == (0, "")
    assert ran.lines == [{"id": mail_id, "shard": shard_for(mail_id, 4)} for mail_id in ids]


def test_reads_json_lines_from_standard_input(postman: Postman) -> None:
    ran = postman.anew("publish", "--json", "-", stdin=orjson.dumps(mail("piped")))

    assert (ran.status, ran.lines) == (0, [{"id": "piped", "shard": shard_for("piped", 4)}])


def test_a_mail_without_an_id_gets_one_that_is_printed(postman: Postman) -> None:
    without_id = {name: value for name, value in mail("x").items() if name != "id"}

    [made] = postman("publish", "-", stdin=orjson.dumps(without_id)).lines

    assert len(made["id"]) == 36
    assert made["shard"] == shard_for(made["id"], 4)


def test_takes_one_mail_several_mails_and_an_eml_file_together(postman: Postman) -> None:
    (postman.folder / "one.json").write_bytes(orjson.dumps(mail("one"), option=orjson.OPT_INDENT_2))
    (postman.folder / "many.json").write_bytes(orjson.dumps([mail("two"), mail("three")], option=orjson.OPT_INDENT_2))
    (postman.folder / "letter.EML").write_bytes(_EML)

    ran = postman("publish", "one.json", "many.json", "letter.EML")

    assert (ran.status, ran.err) == (0, "")
    assert [line["id"] for line in ran.lines][:3] == ["one", "two", "three"]
    assert len(ran.lines) == 4


def test_two_files_of_which_one_is_wrong_publish_nothing(postman: Postman) -> None:
    good = write_lines(postman.folder / "good.jsonl", [mail("good")])
    bad = write_lines(postman.folder / "bad.jsonl", [mail("fine"), mail("x", text=None)])

    ran = postman("publish", good, bad)

    assert (ran.status, ran.out) == (2, "")
    assert ran.complaints[0].startswith("bad.jsonl:2: text: is empty")
    assert ran.complaints[-1] == "nothing was published"
    assert not _queued(postman)


def test_check_publishes_nothing_and_says_how_many_are_fine(postman: Postman) -> None:
    ran = postman("publish", "--check", write_lines(postman.folder / "m.jsonl", [mail("a"), mail("b")]))

    assert (ran.status, ran.out) == (0, "")
    assert "2 mails are fine" in ran.err
    assert not _queued(postman)


def test_blank_lines_windows_line_ends_and_a_missing_last_one_keep_the_numbers_right(postman: Postman) -> None:
    good = orjson.dumps(mail("a"))
    postman.folder.joinpath("m.jsonl").write_bytes(b"\r\n" + good + b"\r\n   \r\n\r\n" + b'{"id":"b"}')

    assert postman("publish", "m.jsonl").complaints[0].startswith("m.jsonl:5: from: is missing")


def test_good_lines_with_windows_line_ends_are_published(postman: Postman) -> None:
    data = b"\r\n".join([b"", orjson.dumps(mail("a")), b"", orjson.dumps(mail("b"))])

    assert [line["id"] for line in postman("publish", "-", stdin=data).lines] == ["a", "b"]


def test_a_byte_order_mark_is_named_with_its_line(postman: Postman) -> None:
    ran = postman("publish", "-", stdin=b"\xef\xbb\xbf" + orjson.dumps(mail("a")))

    assert ran.status == 2
    assert ran.complaints[0].startswith("-:1: begins with a byte order mark")


def test_bad_json_is_named_with_its_line(postman: Postman) -> None:
    ran = postman("publish", "-", stdin=orjson.dumps(mail("a")) + b"\n{broken\n" + orjson.dumps(mail("b")))

    assert ran.status == 2
    assert len(ran.complaints) == 2
    assert ran.complaints[0].startswith("-:2: is not JSON")


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        (b'{"id":"b"}', "from: is missing"),
        (b'{"id":"b","id":"c"}', "id: is there twice: duplicate key"),
        (b"7", "must be an object"),
        (b'{"a":' + b"[" * 500 + b"]" * 500 + b"}", "levels of lists and objects"),
    ],
    ids=["field", "key twice", "no object", "deep"],
)
def test_a_mail_in_a_list_is_named_by_its_number(postman: Postman, item: bytes, problem: str) -> None:
    good = orjson.dumps(mail("a"), option=orjson.OPT_INDENT_2)
    postman.folder.joinpath("m.json").write_bytes(b" [ " + good + b" ,\n\n " + item + b" , " + b"1 ]\n")

    ran = postman("publish", "m.json")

    assert (ran.status, ran.out) == (2, "")
    assert ran.complaints[0].startswith("m.json: mail 2: ")
    assert problem in ran.complaints[0]
    assert ran.complaints[1].startswith("m.json: mail 3: must be an object")


def test_a_broken_list_is_named_with_line_and_column(postman: Postman) -> None:
    postman.folder.joinpath("m.json").write_bytes(b"\n\n[" + orjson.dumps(mail("a")) + b"\n,]")

    [problem, _] = postman("publish", "m.json").complaints

    assert problem.startswith("m.json: is not JSON")
    assert "(line 4, column 1)" in problem


def test_a_broken_document_after_blank_lines_is_named_with_its_own_line(postman: Postman) -> None:
    postman.folder.joinpath("m.json").write_bytes(b'\n\n{"id":\n!}')

    assert "(line 4, column 1)" in postman("publish", "m.json").complaints[0]


def test_the_same_id_twice_in_one_call_is_named_with_both_places(postman: Postman) -> None:
    first = write_lines(postman.folder / "a.jsonl", [mail("x"), mail("y")])
    second = write_lines(postman.folder / "b.jsonl", [mail("z"), mail("x", text="other")])

    ran = postman("publish", first, second)

    assert (ran.status, ran.out) == (2, "")
    assert ran.complaints[0] == "b.jsonl:2: id: stands twice, first at a.jsonl:1 with another content"


def test_every_file_that_cannot_be_read_is_named(postman: Postman) -> None:
    postman.folder.joinpath("folder.jsonl").mkdir()
    postman.folder.joinpath("empty.jsonl").touch()
    postman.folder.joinpath("blank.jsonl").write_bytes(b"\n \r\n")
    postman.folder.joinpath("empty.json").touch()
    postman.folder.joinpath("none.json").write_bytes(b"[ ]")
    postman.folder.joinpath("empty.eml").touch()
    names = ["missing.jsonl", "folder.jsonl", "empty.jsonl", "blank.jsonl", "empty.json", "none.json", "empty.eml"]

    ran = postman("publish", *names, "m.csv", "-")

    assert (ran.status, ran.out) == (2, "")
    said = {problem.partition(":")[0]: problem for problem in ran.complaints}
    assert set(said) == {*names, "m.csv", "-", "nothing was published"}
    assert "No such file" in said["missing.jsonl"]
    assert "Is a directory" in said["folder.jsonl"]
    assert "must end in .jsonl, .json, .eml" in said["m.csv"]
    for name in ("empty.jsonl", "blank.jsonl", "empty.json", "none.json", "-"):
        assert "is empty" in said[name]


def test_a_line_longer_than_any_mail_is_refused_by_its_number(postman: Postman) -> None:
    data = orjson.dumps(mail("a")) + b'\n{"text":"' + b"x" * 20_000_000 + b'"}\n'

    ran = postman("publish", "-", stdin=data)

    assert (ran.status, ran.out) == (2, "")
    assert ran.complaints[0].startswith("-:2: the line is longer than")


def test_a_pipe_with_a_name_is_read_like_a_file(postman: Postman) -> None:
    """It can be read once only, and is read twice."""
    link = postman.folder / "piped.jsonl"
    link.symlink_to("/dev/stdin")

    ran = postman.anew("publish", "piped.jsonl", stdin=orjson.dumps(mail("a")))

    assert [line["id"] for line in ran.lines] == ["a"]


def test_two_thousand_mails_take_a_few_seconds(postman: Postman) -> None:
    name = write_lines(postman.folder / "many.jsonl", (mail(f"m-{number}") for number in range(2_000)))
    began = time.monotonic()

    ran = postman("publish", name)

    assert (ran.status, len(ran.lines)) == (0, 2_000)
    assert time.monotonic() - began < 10.0


def test_a_database_that_cannot_be_made_is_a_wrong_setting_said_once(postman: Postman) -> None:
    (postman.folder / "file").touch()
    name = write_lines(postman.folder / "m.jsonl", [mail(f"m-{number}") for number in range(50)])

    ran = postman("publish", name, POSTMAN_QUEUE=f"sqlite:{postman.folder / 'file' / 'postman.db'}")

    assert (ran.status, ran.out) == (2, "")
    assert len(ran.complaints) == 1
    assert "file/postman.db cannot be made: " in ran.err


def test_a_database_of_another_program_is_left_alone(postman: Postman) -> None:
    path = postman.folder / "notes.txt"
    path.write_text("Do not touch. " * 100)

    ran = postman("publish", "-", stdin=orjson.dumps(mail("a")), POSTMAN_QUEUE=f"sqlite:{path}")

    assert (ran.status, ran.out) == (2, "")
    assert "is not a SQLite database" in ran.err
    assert path.read_text() == "Do not touch. " * 100


def _queued(postman: Postman) -> bool:
    return Path(postman.folder / "postman.db").exists()
