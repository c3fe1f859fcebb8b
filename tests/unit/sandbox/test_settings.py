import pytest

from postman.sandbox.settings import SandboxSettings, SettingError, Tunables, changed


def test_what_is_not_named_stays_as_it_was() -> None:
    before = Tunables(lookup_delay=3, webhook_url="http://localhost/hook")

    assert changed(before, {"event_delay": 2}) == Tunables(3, "http://localhost/hook", 2)


@pytest.mark.parametrize(
    ("document", "setting"),
    [
        ({"lookup_delay": -1}, "lookup_delay"),
        ({"lookup_delay": "1"}, "lookup_delay"),
        ({"lookup_delay": True}, "lookup_delay"),
        ({"event_delay": float("nan")}, "event_delay"),
        ({"webhook_url": "ftp://x"}, "webhook_url"),
        ({"webhook_url": 7}, "webhook_url"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(document: dict[str, object], setting: str) -> None:
    with pytest.raises(SettingError) as caught:
        changed(Tunables(), document)

    assert caught.value.setting == setting


def test_keys_do_not_show_in_the_settings_repr() -> None:
    shown = repr(SandboxSettings(sendgrid_key="SG.secret", mailgun_key="key-secret", mailgun_signing_key="sign-secret"))

    assert "secret" not in shown
