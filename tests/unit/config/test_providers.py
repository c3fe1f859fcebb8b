"""The providers' document: right ones are read, one mistake refuses all of it and is named."""

import pytest
from pydantic import SecretStr

from postman.config import parse_providers
from postman.errors import ConfigError

GOOD = '[[provider]]\nname = "a"\nkind = "sendgrid"\napi_key = "env:KEY"\n'
SECRET = "SG.very-secret"


def test_a_document_is_read() -> None:
    text = GOOD + 'weight = 3\nrate = 50.0\nconcurrency = 20\ntimeout = 4.0\nlook_up_after = 0\ndomain = "d"\n'
    [entry] = parse_providers(text, "here")

    assert (entry.weight, entry.rate, entry.concurrency, entry.spec.timeout) == (3.0, 50.0, 20, 4.0)
    assert entry.spec.look_up_after == 0.0
    assert entry.spec.options == {"domain": "d"}
    assert entry.references == {"api_key": "env:KEY"}
    assert entry.place == "here: line 2: provider a"


def test_keys_come_into_their_fields() -> None:
    [entry] = parse_providers(GOOD + 'domain = "d"\nwebhook_key = "secret:hook"\n', "here")
    assert entry.references == {"api_key": "env:KEY", "webhook_key": "secret:hook"}

    keyed = entry.with_keys({"api_key": SecretStr(SECRET), "webhook_key": SecretStr("hook-value")})

    assert keyed.spec.api_key.get_secret_value() == SECRET
    assert keyed.spec.options == {"domain": "d", "webhook_key": "hook-value"}
    assert SECRET not in repr(keyed)
    assert "hook-value" not in repr(keyed)


@pytest.mark.parametrize("reference", ["env:KEY", "file:keys/a", "secret:a", "secret:projects/p/secrets/s/versions/3"])
def test_a_key_is_a_reference(reference: str) -> None:
    [entry] = parse_providers(GOOD.replace("env:KEY", reference), "here")
    assert entry.references["api_key"] == reference


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "here: names no provider"),
        ("provider = 3", "here: names no provider"),
        ("[[provider", "here: .*end of document"),
        (GOOD + "colour = \n", "here: .*line 5"),
        ("[smtp]\n" + GOOD, "here: smtp"),
        (GOOD.replace('"a"', '""'), "here: line 2: provider : name"),
        (GOOD.replace('"a"', '"a b"'), "here: line 2: provider a b: name"),
        (GOOD.replace("name", "nome"), "here: line 1: provider 1: name: Field required"),
        (GOOD.replace("env:KEY", SECRET), "here: line 4: provider a: api_key: must be a reference"),
        (GOOD.replace("env:KEY", "env:"), "here: line 4: provider a: api_key: must be a reference"),
        (GOOD.replace("env:KEY", f"sg:{SECRET}"), "here: line 4: provider a: api_key: must be a reference"),
        (GOOD.replace("env:KEY", "env:no-name"), "here: line 4: provider a: api_key: what follows env:"),
        (GOOD + f'webhook_key = "{SECRET}"', "here: line 5: provider a: webhook_key: must be a reference"),
        (GOOD + "weight = -1", "here: line 5: provider a: weight"),
        (GOOD + 'weight = "much"', "here: line 5: provider a: weight"),
        (GOOD + "timeout = 0", "here: line 5: provider a: timeout"),
        (GOOD + "timeout = 1000", "here: line 5: provider a: timeout"),
        (GOOD + "rate = 0", "here: line 5: provider a: rate"),
        (GOOD + "concurrency = 0", "here: line 5: provider a: concurrency"),
        (GOOD + "look_up_after = -1", "here: line 5: provider a: look_up_after"),
        (GOOD + 'enabled = "perhaps"', "here: line 5: provider a: enabled"),
        (GOOD + "domain = 7", "here: line 5: provider a: domain: must be a string"),
        (GOOD + "enabled = false", "here: no provider is enabled"),
        (GOOD + "\n# another\n" + GOOD, "here: line 8: provider a: the name stands twice"),
        (GOOD + GOOD.replace('"a"', '"b"') + "\n\nrate = 0", "here: line 11: provider b: rate"),
        ('provider = [{name = "a", kind = "k", api_key = "env:K", rate = 0}]', "here: provider a: rate"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_no_key_is_shown(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=f"^{says}") as error:
        parse_providers(text, "here")

    assert "very-secret" not in str(error.value)
