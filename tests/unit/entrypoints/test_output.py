import io
import os
import sys

import orjson
import pytest
from rich.console import Console
from rich.table import Table

from postman.entrypoints.cli.output import complain, fitting, moment, plain, print_json, print_table, without_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:", "sqlite:"),
        ("sqlite:/var/lib/a@b.db", "sqlite:/var/lib/a@b.db"),
        ("redis://10.0.0.7:6379/0", "redis://10.0.0.7:6379/0"),
        ("redis://:hunter2@10.0.0.7/0", "redis://***@10.0.0.7/0"),
        ("postgresql://me:hunter/2#@db/mails", "postgresql://***@db/mails"),
        ("postgresql://me:hunter@2@db/mails", "postgresql://***@db/mails"),
        ("postgresql://db/mails?password=hunter2", "postgresql://db/mails?***"),
        ("https://api.example.org", "https://api.example.org"),
    ],
)
def test_the_url_of_a_backend_is_shown_without_what_is_secret(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_foreign_text_is_shown_without_control_characters_and_without_markup() -> None:
    assert plain("a\x1b[31mb\x9bc\u202ed\ne\tf") == "a\N{REPLACEMENT CHARACTER}[31mb" + "".join(
        f"\N{REPLACEMENT CHARACTER}{char}" for char in "cdef"
    )
    assert plain("[bold]x[/]") == r"\[bold]x\[/]"
    assert plain("grün 日本") == "grün 日本"


def test_only_content_may_have_several_lines() -> None:
    assert plain("a\nb", lines=True) == "a\nb"
    assert "\n" not in plain("a\nb")


def test_json_escapes_what_a_terminal_would_obey_and_stays_the_same_document(
    capfd: pytest.CaptureFixture[str],
) -> None:
    document = {"id": "a\x1b[2J\x7f\x9b\u202e\u2028\U000e0041 grün 😀"}

    print_json(document)

    [line] = capfd.readouterr().out.splitlines()
    assert line.isprintable()
    assert orjson.loads(line) == document
    assert "grün 😀" in line


def test_a_closed_pipe_swallows_the_rest_of_the_output(capfd: pytest.CaptureFixture[str]) -> None:
    """In a process of its own, since it loses its standard output for good."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.dup2(writing, 1)
        sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False))
        for _ in range(3):
            print_json({"x": "y" * 100_000})
        os._exit(0)
    os.close(writing)
    os.close(reading)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_tables_in_a_pipe_keep_every_cell_on_its_line(capfd: pytest.CaptureFixture[str]) -> None:
    table = Table("id", "detail", box=None)
    table.add_row("x" * 128, "y" * 1_000)

    print_table(table)

    assert [len(line.split()) for line in capfd.readouterr().out.splitlines()] == [2, 2]


def test_complaints_stand_on_stderr_only(capfd: pytest.CaptureFixture[str]) -> None:
    complain("it is [red] and\nbroken")

    assert capfd.readouterr() == ("", "postman: it is [red] and\N{REPLACEMENT CHARACTER}broken\n")


def test_moments_are_read_in_utc() -> None:
    assert moment(1_800_000_000.5) == "2027-01-15 08:00:00"


def _wide(columns: int) -> str:
    table = Table("id", "state", "detail", box=None)
    table.add_row("x" * 20, "", "y" * 90)
    told = io.StringIO()
    console = Console(file=told, width=columns)
    console.print(fitting(table, console))
    return told.getvalue()


def test_a_table_that_is_too_wide_by_more_than_its_last_column_is_shown_row_below_row() -> None:
    folded, stacked = _wide(70), _wide(40)

    assert folded.splitlines()[0].split() == ["id", "state", "detail"]
    assert stacked.splitlines()[0].rstrip() == "x" * 20
    assert "detail  yyy" in stacked
    assert "state" not in stacked
    for text in (folded, stacked):
        assert text.count("y") == 90
