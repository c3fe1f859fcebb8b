import io
from pathlib import Path

import orjson
import pytest

from postman.core.mail import Mail
from postman.entrypoints.mailfiles import MailFile, check, open_files
from postman.errors import InvalidMailError
from tests.contract.bad_mails import good_with

_NOW = 1_800_000_000.0


def _read(kind: str, data: bytes) -> list[tuple[str, str]]:
    """Return where each mail stands, and its id or what is wrong with it."""
    file = MailFile("m", kind, io.BytesIO(data))
    first, second = (
        [(where, found.id if isinstance(found, Mail) else str(found)) for where, found in file.read()] for _ in range(2)
    )
    assert first == second
    return first


def test_lines_are_counted_with_the_blank_ones() -> None:
    data = b"\n\r\n" + orjson.dumps(good_with(id="a")) + b"\r\n \t\n" + orjson.dumps(good_with(id="b"))

    assert _read(".jsonl", data) == [("m:3", "a"), ("m:5", "b")]


def test_mails_of_a_list_are_counted_from_one_and_read_as_they_stand() -> None:
    twice = b'{"id":"c","id":"d"}'
    data = b"[" + orjson.dumps(good_with(id="a", subject='},]{[ \\" ü')) + b"\n,\t" + twice + b", 1e400 ,[] ]"

    found = _read(".json", data.replace(b"1e400", b"12345678901234567890123"))

    assert [where for where, _ in found] == ["m: mail 1", "m: mail 2", "m: mail 3", "m: mail 4"]
    assert found[0][1] == "a"
    assert "duplicate key" in found[1][1]
    assert {problem for _, problem in found[2:]} == {"must be an object, with fields like from and to"}


@pytest.mark.parametrize("depth", [17, 500, 990, 1_010])
def test_a_list_with_a_deep_mail_is_refused_and_never_breaks_the_reader(depth: int) -> None:
    data = b'[{"id":"a","x":' + b"[" * depth + b"]" * depth + b"}]"

    [(where, problem)] = _read(".json", data)

    assert where == "m: mail 1"
    assert "levels of lists and objects" in problem


def test_a_list_deeper_than_json_may_be_is_refused() -> None:
    [(where, problem)] = _read(".json", b"[" * 100_000)

    assert where == "m"
    assert "is not JSON" in problem


def test_an_empty_list_has_no_mail() -> None:
    assert _read(".json", b" [ \n] ") == []


def test_the_error_of_a_list_holds_nothing_of_its_text() -> None:
    file = MailFile("m", ".json", io.BytesIO(b'[{"text":"secret"'))

    [(_, error)] = file.read()

    assert isinstance(error, InvalidMailError)
    assert "secret" not in repr(error)
    assert error.__cause__ is None


def test_problems_are_gathered_up_to_a_limit_and_all_mails_counted() -> None:
    file = MailFile("m", ".jsonl", io.BytesIO(b"{}\n" * 50))

    checked = check([file], now=_NOW, most=3)

    assert (checked.mails, len(checked.problems)) == (50, 3)


def test_the_same_id_is_a_problem_across_files_and_says_whether_the_mail_is_the_same() -> None:
    first = MailFile("a", ".jsonl", io.BytesIO(orjson.dumps(good_with(id="x"))))
    same = MailFile("b", ".jsonl", io.BytesIO(orjson.dumps(good_with(id="x"))))
    other = MailFile("c", ".json", io.BytesIO(orjson.dumps([good_with(id="x", text="other")])))

    assert [str(problem) for problem in check([first, same, other], now=_NOW).problems] == [
        "b:1: id: stands twice, first at a:1 with the same mail",
        "c: mail 1: id: stands twice, first at a:1 with another content",
    ]


def test_a_mail_too_far_ahead_is_a_problem() -> None:
    file = MailFile("m", ".jsonl", io.BytesIO(orjson.dumps(good_with(send_at="2099-01-01T00:00:00Z"))))

    assert str(check([file], now=_NOW).problems[0]).startswith("m:1: send_at: is more than 7 days ahead")


def test_what_cannot_be_opened_is_a_problem_and_the_rest_is_opened(tmp_path: Path) -> None:
    good = tmp_path / "good.JSONL"
    good.touch()

    files, problems = open_files([str(tmp_path), str(good), str(tmp_path / "no.eml"), "-"], io.BytesIO(b"{}"))

    with files[0], files[1]:
        assert [file.name for file in files] == [str(good), "-"]
    assert [problem.where for problem in problems] == [str(tmp_path), str(tmp_path / "no.eml")]
