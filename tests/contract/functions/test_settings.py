"""What the functions need to know before they start: nobody is let in by default."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from postman.entrypoints.functions.settings import _OWN, FunctionSettings
from postman.errors import ConfigError
from postman.ports.tokens import Standing
from postman.wiring.pushing import Pushers, open_token_judge
from tests.contract.cli.commands import CLEAN, COMMAND
from tests.contract.functions.servers import OWN_FILE

PAGE = (Path(__file__).parents[3] / "docs/functions.md").read_text()
ACCOUNT = "pusher@demo.iam.gserviceaccount.com"
PUSH = {"POSTMAN_PUSH_ACCOUNT": ACCOUNT, "POSTMAN_PUSH_AUDIENCE": "https://a.example.org"}
ENOUGH = {**PUSH, "POSTMAN_PROVIDERS": "providers.toml"}


def test_with_all_that_it_needs_deliver_starts() -> None:
    settings = FunctionSettings.from_env(ENOUGH, "deliver")

    assert settings.pushers == Pushers("https://a.example.org", ACCOUNT)
    assert settings.chosen.providers == "providers.toml"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"POSTMAN_PUSH_ACCOUNT": ""}, "POSTMAN_PUSH_ACCOUNT"),
        ({"POSTMAN_PUSH_AUDIENCE": " "}, "POSTMAN_PUSH_AUDIENCE"),
        ({"POSTMAN_PUSH_ACCOUNT": "none"}, "POSTMAN_PUSH_ACCOUNT: none"),
        ({"POSTMAN_PUSH_ISSUER": "https://i.example.org"}, "POSTMAN_PUSH_KEYS"),
        ({"POSTMAN_PUSH_KEYS": "https://i.example.org/keys"}, "POSTMAN_PUSH_ISSUER"),
        ({"POSTMAN_PROVIDERS": ""}, "POSTMAN_PROVIDERS"),
        ({"POSTMAN_QUEUE": "memory:"}, "POSTMAN_QUEUE"),
        ({"POSTMAN_LEDGER": "memory:"}, "POSTMAN_LEDGER"),
        ({"POSTMAN_SHARDS": "many"}, "POSTMAN_SHARDS"),
        ({"POSTMAN_PUSH_ACOUNT": "typo"}, "POSTMAN_PUSH_ACOUNT"),
    ],
)
def test_what_is_missing_or_wrong_is_named(changed: Mapping[str, str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        FunctionSettings.from_env({**ENOUGH, **changed}, "deliver")


@pytest.mark.parametrize(
    ("keys", "is_taken"),
    [
        ("https://i.example.org/keys", True),
        ("http://127.0.0.1:8000/keys", True),
        ("http://[::1]:8000/keys", True),
        ("http://localhost/keys", True),
        ("http://i.example.org/keys", False),
        ("http://127.0.0.1.example.org/keys", False),
        ("http://localhost@i.example.org/keys", False),
        ("file:///tmp/keys", False),
        ("https://", False),
        ("http://[::1/keys", False),
    ],
)
def test_keys_come_by_a_way_on_which_nobody_can_change_them(keys: str, *, is_taken: bool) -> None:
    environ = {**PUSH, "POSTMAN_PUSH_ISSUER": "https://i.example.org", "POSTMAN_PUSH_KEYS": keys}
    if is_taken:
        assert Pushers.from_env(environ).keys == keys
    else:
        with pytest.raises(ConfigError, match="POSTMAN_PUSH_KEYS: must be an https URL"):
            Pushers.from_env(environ)


async def test_at_the_emulator_everybody_may_push_and_it_is_said_aloud() -> None:
    environ = {"POSTMAN_PUSH_ACCOUNT": "none", "PUBSUB_EMULATOR_HOST": "127.0.0.1:8085"}
    with capture_logs() as logs:
        judge = open_token_judge(Pushers.from_env(environ))

    assert await judge.judge("") is Standing.PROVEN
    assert [(line["event"], line["log_level"]) for line in logs] == [("pushes_not_verified", "warning")]


async def test_with_an_account_a_token_is_asked_for() -> None:
    judge = open_token_judge(Pushers.from_env(PUSH))

    assert await judge.judge("") is Standing.FORGED
    await judge.aclose()


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"POSTMAN_INGRESS_KEYS": "the-key-itself"}, "POSTMAN_INGRESS_KEYS: must be a reference"),
        ({"POSTMAN_INGRESS_KEYS": "env:MISSING"}, "POSTMAN_INGRESS_KEYS: what env: refers to"),
        ({"POSTMAN_TRUST_CALLERS": "perhaps"}, "POSTMAN_TRUST_CALLERS"),
    ],
)
def test_what_is_wrong_with_who_may_publish_is_named_but_never_shown(environ: Mapping[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        FunctionSettings.from_env(environ, "ingress")

    assert "the-key-itself" not in str(caught.value)


def test_keys_may_be_several_while_one_is_changed() -> None:
    environ = {"POSTMAN_INGRESS_KEYS": "env:OLD, env:NEW", "OLD": "a-key-of-sixteen", "NEW": "another-key-of-16"}

    assert len(FunctionSettings.from_env(environ, "ingress").access.keys) == 2


@pytest.mark.parametrize(("value", "trusts"), [("", False), ("false", False), ("TRUE", True), ("1", True)])
def test_callers_are_trusted_only_where_that_is_said(value: str, *, trusts: bool) -> None:
    access = FunctionSettings.from_env({"POSTMAN_TRUST_CALLERS": value}, "ingress").access

    assert access.lets_all_in is trusts


@pytest.mark.parametrize("name", sorted(_OWN))
def test_every_setting_stands_in_the_document(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_the_file_that_the_document_shows_is_the_one_that_these_tests_use() -> None:
    assert f"```python\n{OWN_FILE}```" in PAGE


@pytest.mark.parametrize(
    "command",
    [
        (sys.executable, "-m", "functions_framework", "--source", "main.py", "--target", "deliver"),
        (*COMMAND, "functions", "deliver"),
    ],
)
def test_without_its_settings_it_does_not_start(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "main.py").write_text(OWN_FILE)
    environ = {**CLEAN, "HOME": str(tmp_path), "POSTMAN_PROVIDERS": "providers.toml"}

    ended = subprocess.run(
        [*command, "--port", "8099"], cwd=tmp_path, env=environ, capture_output=True, timeout=20, check=False
    )

    assert ended.returncode in (1, 2)
    assert b"POSTMAN_PUSH_ACCOUNT: is not set" in ended.stderr
