"""A provider's settings are checked before the first connection."""

import pytest
from pydantic import SecretStr

from postman.adapters import mailgun, sendgrid
from postman.adapters._account import Account, check_account
from postman.errors import ConfigError
from postman.ports.opening import ProviderSpec


def _check(base_url: str = "https://api.example.org") -> Account:
    return check_account(ProviderSpec("main", "x", SecretStr("key"), base_url), base_url="", look_up_after=0.0)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.org",
        "https://relay.example.org:8443/sendgrid",
        "https://10.1.2.3",
        "http://127.0.0.1:8026",
        "http://localhost:8026",
        "http://[::1]:8026",
    ],
)
def test_good_base_urls(url: str) -> None:
    """Encrypted ones, and this machine's own."""
    assert _check(url + "/").base_url == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://api.example.org", "https"),
        ("http://10.1.2.3", "https"),
        ("http://localhost.example.org", "https"),
        ("ftp://api.example.org", "http or https"),
        ("api.example.org", "http or https"),
        ("https://", "http or https"),
        ("https://api.example.org\n", "http or https"),
        ("https://api.example.org\\@evil.example", "http or https"),
        ("https://bücher.example", "http or https"),
        ("https://[::1", "not a URL"),
        ("https://api.example.org:port", "not a URL"),
        ("https://ann:hidden@api.example.org", "a user"),
        ("https://api.example.org?a=b", "a query"),
        ("https://api.example.org#a", "a fragment"),
        ("https://169.254.169.254", "metadata"),
        ("https://[fe80::1]", "link-local"),
        ("https://[::ffff:169.254.169.254]", "link-local"),
        ("https://[fd00:ec2::254]", "metadata"),
        ("https://metadata.google.internal", "metadata"),
        ("https://metadata.google.internal.", "metadata"),
        ("https://0.0.0.0", "unspecified"),
        ("https://2852039166", "hides"),
        ("https://0xa9fea9fe", "hides"),
        ("https://0251.0376.0251.0376", "hides"),
        ("http://127.1:8026", "hides"),
    ],
)
def test_bad_base_urls(url: str, reason: str) -> None:
    """The error names the setting, not its value."""
    with pytest.raises(ConfigError, match=reason) as caught:
        _check(url)

    assert "main" in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("key", ["", " ", "a b", "a\r\nx: y", "schlüssel"])
def test_key_that_no_header_can_hold(key: str) -> None:
    """A key with a line break would write headers of its own."""
    with pytest.raises(ConfigError, match="api_key") as caught:
        sendgrid.open_provider(ProviderSpec("main", "sendgrid", SecretStr(key)))

    assert not key.strip() or key not in str(caught.value)


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf"), 1e6])
def test_timeout_must_be_a_time(timeout: float) -> None:
    with pytest.raises(ConfigError, match="timeout"):
        sendgrid.open_provider(ProviderSpec("main", "sendgrid", SecretStr("key"), timeout=timeout))


@pytest.mark.parametrize("window", [-1.0, float("nan"), float("inf")])
def test_look_up_window_must_be_a_time(window: float) -> None:
    with pytest.raises(ConfigError, match="look_up_after"):
        sendgrid.open_provider(ProviderSpec("main", "sendgrid", SecretStr("key"), look_up_after=window))


def test_unknown_option_is_named() -> None:
    """A misspelt option is not silently nothing."""
    with pytest.raises(ConfigError, match="unknown option domian"):
        mailgun.open_provider(ProviderSpec("main", "mailgun", SecretStr("key"), options={"domian": "mg.example.org"}))


@pytest.mark.parametrize("domain", ["", "localhost", "mg.example.org/../x", "-a.example", "a..b", "mg.example.org."])
def test_mailgun_needs_its_domain(domain: str) -> None:
    """It becomes part of the path."""
    with pytest.raises(ConfigError, match="option domain"):
        mailgun.open_provider(ProviderSpec("main", "mailgun", SecretStr("key"), options={"domain": domain}))


def test_defaults_by_kind() -> None:
    """SendGrid cannot be asked unless somebody pays for it; Mailgun's events are half an hour behind."""
    by_sendgrid = sendgrid.open_provider(ProviderSpec("main", "sendgrid", SecretStr("key")))
    options = {"domain": "MG.example.org", "webhook_key": "signing"}
    by_mailgun = mailgun.open_provider(ProviderSpec("second", "mailgun", SecretStr("key"), options=options))

    assert (by_sendgrid.name, by_sendgrid.timeout, by_sendgrid.look_up_after) == ("main", 10.0, 0.0)
    assert (by_mailgun.name, by_mailgun.timeout, by_mailgun.look_up_after) == ("second", 10.0, 1800.0)


def test_account_shows_no_key() -> None:
    """A settings object is printed sooner or later."""
    spec = ProviderSpec("main", "x", SecretStr("hidden"), options={"webhook_key": "hidden"})
    account = check_account(spec, base_url="https://api.example.org", look_up_after=0.0)

    assert account.webhook_key is not None
    assert account.webhook_key.get_secret_value() == "hidden"
    assert "hidden" not in repr(account) + repr(spec)
