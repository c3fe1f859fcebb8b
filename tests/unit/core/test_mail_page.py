"""The page about the mail says what the code does."""

from pathlib import Path

from postman.core.headers import denial
from postman.core.labels import RESERVED_METADATA
from postman.core.wire import parse

PAGE = (Path(__file__).parents[3] / "docs" / "mail.md").read_text(encoding="utf-8")


def test_its_example_is_a_mail() -> None:
    example = PAGE.split("```json\n", 1)[1].split("```", 1)[0]

    assert parse(example.encode()).attachments[0].content == b"%PDF-1.7\n"


def test_it_names_every_reserved_key() -> None:
    section = PAGE.split("## Metadata", 1)[1].split("##", 1)[0]

    assert {word.strip("`,.:\n") for word in section.split()} >= RESERVED_METADATA


def test_the_headers_that_it_names_are_denied_and_those_it_allows_are_not() -> None:
    table = [line.split("|")[1] for line in PAGE.split("| header | why |", 1)[1].splitlines()[2:8] if "|" in line]
    names = [name.strip().replace("…", "Anything") for row in table for name in row.split(",")]

    assert len(names) > 25
    assert [name for name in names if denial(name) is None] == []
    assert denial("List-Unsubscribe") is denial("X-Order") is denial("Message-ID") is None
