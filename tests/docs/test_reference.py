"""The reference pages are as the code is."""

import re
from pathlib import Path
from typing import Final

import pytest

from postman.config import Settings
from postman.config.providers import _Table, parse_providers
from postman.errors import ConfigError
from tests.docs.configuration import GROUPS, kind
from tests.docs.decisions import FOLDER
from tests.docs.fields import MEANINGS
from tests.docs.hook import ROOT
from tests.docs.reference import main, outdated

_README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
_SETTINGS: Final = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


def test_the_pages_are_up_to_date() -> None:
    """If not: `python -m tests.docs.reference --write`."""
    assert outdated() == []


def test_the_program_names_what_is_outdated_and_writes_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out == ""


def test_each_setting_stands_there_once() -> None:
    names = [name for group in GROUPS.values() for name in group]

    assert sorted(names) == sorted(Settings.model_fields)


def test_the_readme_has_the_same_settings_with_the_same_defaults() -> None:
    assert _defaults(_README) == {
        **_defaults(_SETTINGS, column=3),
        "PROJECT": "GOOGLE_CLOUD_PROJECT",
        "ONLY_SHARDS": "all",
    }


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("health_window", ("0", "1", "300"), ("0.5", "301")),
        ("shards", ("1", "1024"), ("0", "1025")),
        ("grace", ("0.1",), ("0",)),
        ("shard_share", ("0.01", "1"), ("0", "1.1")),
    ],
)
def test_limits_are_those_that_hold(name: str, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    for value in good:
        Settings.from_env({f"POSTMAN_{name.upper()}": value})
    for value in bad:
        with pytest.raises(ConfigError):
            Settings.from_env({f"POSTMAN_{name.upper()}": value})
    [row] = re.findall(rf"^\| `POSTMAN_{name.upper()}` \| ([^|]+) \|", _SETTINGS, re.MULTILINE)
    assert all(f"{float(value):.15g}" in row for value in (good[0], good[-1]) if name not in {"grace", "shard_share"})


def test_each_field_of_the_document_is_explained() -> None:
    assert set(MEANINGS) == set(_Table.model_fields)
    assert kind(_Table, "breaker") == "`auto` or `open` or `closed`"
    assert kind(_Table, "weight") == "number, 0 to 1000000"


def test_a_name_of_63_characters_is_the_longest() -> None:
    document = '[[provider]]\nname = "{}"\nkind = "sendgrid"\napi_key = "env:K"\n'

    assert parse_providers(document.format("a" * 63), "here")
    with pytest.raises(ConfigError):
        parse_providers(document.format("a" * 64), "here")


def test_each_decision_has_a_date_and_a_title() -> None:
    pages = [path for path in FOLDER.glob("*.md") if path.name != "index.md"]

    assert len(pages) > 15
    assert all(_is_decision(path) for path in pages)


def _is_decision(path: Path) -> bool:
    return bool(re.match(r"\d{4}-\d\d-\d\d-", path.name)) and path.read_text(encoding="utf-8").startswith("# ")


def _defaults(page: str, column: int = 2) -> dict[str, str]:
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `POSTMAN_")]
    return {row[1].strip(" `").removeprefix("POSTMAN_"): row[column].strip(" `") for row in rows if len(row) > 4}
