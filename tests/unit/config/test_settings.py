"""Settings from the environment: right ones are read, wrong ones are named."""

import pytest

from postman.config import Settings
from postman.errors import ConfigError


def test_without_any_setting_it_is_a_durable_queue_on_this_machine() -> None:
    settings = Settings.from_env({})

    assert (settings.queue, settings.ledger, settings.shards) == ("sqlite:", "sqlite:", 8)


def test_all_settings_are_read() -> None:
    settings = Settings.from_env(
        {
            "POSTMAN_PROJECT": "p",
            "POSTMAN_QUEUE": "pubsub:",
            "POSTMAN_LEDGER": "firestore:",
            "POSTMAN_PREFIX": "mail-eu",
            "POSTMAN_SHARDS": "16",
            "POSTMAN_PROVIDERS": "providers.toml",
            "POSTMAN_CONCURRENCY": "20",
            "POSTMAN_ACK_DEADLINE": "20",
            "POSTMAN_GRACE": "5.5",
            "POSTMAN_DOUBT_WINDOW": "0",
            "POSTMAN_LOG_LEVEL": "DEBUG",
            "GOOGLE_CLOUD_PROJECT": "other",
        }
    )

    assert (settings.project, settings.shards, settings.grace) == ("p", 16, 5.5)


def test_the_project_is_the_clouds_where_ours_is_not_set() -> None:
    assert Settings.from_env({"GOOGLE_CLOUD_PROJECT": "g", "POSTMAN_PROJECT": ""}).project == "g"


@pytest.mark.parametrize(
    ("name", "value", "fragment"),
    [
        ("SHARDS", "0", "greater than or equal to 1"),
        ("SHARDS", "many", "integer"),
        ("SHARDS", "8.5", "integer"),
        ("CONCURRENCY", "-1", "greater than"),
        ("ACK_DEADLINE", "5", "greater than or equal to 10"),
        ("ACK_DEADLINE", "nan", "600"),
        ("GRACE", "0", "greater than 0"),
        ("GRACE", "inf", "finite"),
        ("DOUBT_WINDOW", "-1", "greater than or equal to 0"),
        ("QUEUE", "pubsub", "scheme"),
        ("LEDGER", "/var/lib/ledger.db", "scheme"),
        ("PREFIX", "Postman", "lower-case"),
        ("PREFIX", "a_b", "lower-case"),
        ("LOG_LEVEL", "loud", "debug, info"),
        ("SHARD", "8", "did you mean POSTMAN_SHARDS"),
        ("COLOUR", "red", "no such setting"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, fragment: str) -> None:
    with pytest.raises(ConfigError, match=fragment) as error:
        Settings.from_env({f"POSTMAN_{name}": value})

    assert str(error.value).startswith(f"POSTMAN_{name}: ")


def test_what_kubernetes_says_of_a_service_called_postman_console_is_not_ours() -> None:
    """It gives each pod of the namespace the Service's address, under the name of a setting."""
    environ = {
        "POSTMAN_CONSOLE_PORT": "tcp://10.0.0.7:8030",
        "POSTMAN_CONSOLE_PORT_8030_TCP_ADDR": "10.0.0.7",
        "POSTMAN_CONSOLE_SERVICE_HOST": "10.0.0.7",
        "POSTMAN_CONSOLE_SERVICE_PORT": "8030",
    }

    assert Settings.from_env(environ).console_port == 8030
    assert Settings.from_env({"POSTMAN_CONSOLE_PORT": "9000"}).console_port == 9000
    with pytest.raises(ConfigError, match="POSTMAN_CONSOLE_PORT"):
        Settings.from_env({"POSTMAN_CONSOLE_PORT": "http"})


def test_who_may_act_is_in_no_representation() -> None:
    shown = repr(Settings(console_keys="ana=env:ANA", console_operators="ana@example.org"))

    assert "ana" not in shown
