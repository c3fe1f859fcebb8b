"""The providers' document: right ones are read, one mistake refuses all of it and is named."""

from pathlib import Path

import pytest

from postman.config import read_providers
from postman.errors import ConfigError

GOOD = '[[provider]]\nname = "a"\nkind = "sendgrid"\napi_key = "env:KEY"\n'
KEYS = {"KEY": "SG.very-secret"}


def written(folder: Path, text: str) -> Path:
    path = folder / "providers.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_document_is_read(tmp_path: Path) -> None:
    text = GOOD + 'weight = 3\nrate = 50.0\nconcurrency = 20\ntimeout = 4.0\nlook_up_after = 0\ndomain = "d"\n'
    [entry] = read_providers(written(tmp_path, text), KEYS)

    assert entry.spec.api_key.get_secret_value() == "SG.very-secret"
    assert (entry.weight, entry.rate, entry.concurrency, entry.spec.timeout) == (3.0, 50.0, 20, 4.0)
    assert entry.spec.look_up_after == 0.0
    assert entry.spec.options == {"domain": "d"}


def test_a_key_is_read_from_a_file_beside_the_document(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("SG.from-file\n")
    [entry] = read_providers(written(tmp_path, GOOD.replace("env:KEY", "file:key")), {})

    assert entry.spec.api_key.get_secret_value() == "SG.from-file"


def test_the_key_of_a_provider_that_is_not_enabled_is_not_needed(tmp_path: Path) -> None:
    text = GOOD + GOOD.replace('"a"', '"b"').replace("env:KEY", "env:NONE") + "enabled = false\n"

    assert [entry.enabled for entry in read_providers(written(tmp_path, text), KEYS)] == [True, False]


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("", "names no provider"),
        ("provider = 3", "names no provider"),
        ("[[provider", "end of document"),
        (GOOD + "colour = \n", "line 5"),
        ("[smtp]\n" + GOOD, "smtp"),
        (GOOD.replace('"a"', '""'), "name"),
        (GOOD.replace('"a"', '"a b"'), "name"),
        (GOOD.replace("name", "nome"), "name: Field required"),
        (GOOD.replace("env:KEY", "SG.very-secret"), "must be a reference"),
        (GOOD.replace("env:KEY", "env:"), "must be a reference"),
        (GOOD.replace("env:KEY", "env:NONE"), "NONE is not set"),
        (GOOD.replace("env:KEY", "file:nowhere"), "cannot read the file nowhere"),
        (GOOD.replace("env:KEY", "secret:projects/p/secrets/s"), "Google Cloud"),
        (GOOD + "weight = -1", "weight"),
        (GOOD + 'weight = "much"', "weight"),
        (GOOD + "timeout = 0", "timeout"),
        (GOOD + "timeout = 1000", "timeout"),
        (GOOD + "rate = 0", "rate"),
        (GOOD + "concurrency = 0", "concurrency"),
        (GOOD + "look_up_after = -1", "look_up_after"),
        (GOOD + 'enabled = "perhaps"', "enabled"),
        (GOOD + "domain = 7", "domain"),
        (GOOD + "enabled = false", "no provider is enabled"),
        (GOOD + GOOD, "stands twice"),
    ],
)
def test_a_mistake_is_named_and_no_key_is_shown(tmp_path: Path, text: str, fragment: str) -> None:
    with pytest.raises(ConfigError, match=fragment) as error:
        read_providers(written(tmp_path, text), KEYS)

    assert "very-secret" not in str(error.value)


def test_a_document_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        read_providers(tmp_path / "nowhere.toml", {})


def test_no_key_stands_in_what_is_printed(tmp_path: Path) -> None:
    assert "very-secret" not in repr(read_providers(written(tmp_path, GOOD), KEYS))
