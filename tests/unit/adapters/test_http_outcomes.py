"""Reading times, messages and bodies of answers."""

import httpx
import pytest

from postman.adapters._http import Reply
from postman.adapters._outcomes import (
    Rule,
    Shape,
    judge,
    presentable,
    rate_limit_reset,
    retry_after_header,
    try_again_after,
)
from postman.errors import MailRejectedError, OutcomeUnknownError, ProviderDownError, QuotaExceededError, ThrottledError

NOW = 1_640_032_341.0
"""Mon, 20 Dec 2021 20:32:21 UTC."""


def _reply(status: int = 429, body: bytes = b"{}", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, httpx.Headers(named), body)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("Mon, 20 Dec 2021 20:33:21 GMT", 60.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("9" * 40, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after_header(_reply(retry_after=value), "", NOW) == seconds


@pytest.mark.parametrize(("value", "seconds"), [("1640032371", 30.0), ("", None), ("x", None)])
def test_rate_limit_reset_is_a_time(value: str, seconds: float | None) -> None:
    assert rate_limit_reset(_reply(x_ratelimit_reset=value), "", NOW) == seconds


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("request limit exceeded, try again after Mon, 20 Dec 2021 20:33:21 UTC", 60.0),
        ("account-requests-per-sec limit exceeded, try again after 120 seconds", 120.0),
        ("limit exceeded, try again after 1 second", 1.0),
        ("limit exceeded, try again after lunch on Monday", None),
        ("limit exceeded", None),
    ],
)
def test_mailguns_words_name_a_time(message: str, seconds: float | None) -> None:
    assert try_again_after(_reply(), message, NOW) == seconds


@pytest.mark.parametrize(
    ("named", "pause"), [("0", 1.0), ("30", 30.0), ("86400", 3_600.0), ("Mon, 20 Dec 2021 19:00:00 GMT", 1.0)]
)
def test_pause_is_from_a_second_to_an_hour(named: str, pause: float) -> None:
    """A reset in the past or at the end of time stops nobody."""
    rules = (Rule((429,), ThrottledError, "slow down"),)

    error = judge(rules, _reply(retry_after=named), "", provider="p", waits=(retry_after_header,), now=NOW)

    assert (type(error), error.retry_after, error.status) == (ThrottledError, pause, 429)


def test_quota_may_be_closed_for_a_day() -> None:
    """A quota renews at midnight, not within the hour."""
    rules = (Rule((402,), QuotaExceededError, "no credits"),)

    error = judge(rules, _reply(402, retry_after="90000"), "", provider="p", waits=(retry_after_header,), now=NOW)

    assert error.retry_after == 86_400.0


def test_unknown_outcome_names_no_time() -> None:
    """It is not to be repeated then, but asked about."""
    error = judge((), _reply(502, retry_after="5"), "", provider="p", waits=(retry_after_header,), now=NOW)

    assert error.retry_after is None


def test_first_rule_that_fits_decides() -> None:
    rules = (
        Rule((400,), ProviderDownError, "page", shapes=(Shape.HTML,)),
        Rule((400,), MailRejectedError, "refused"),
        Rule((400,), ThrottledError, "never"),
    )

    page = judge(rules, _reply(400, b" <html>"), "", provider="p", waits=(), now=NOW)
    plain = judge(rules, _reply(400), "", provider="p", waits=(), now=NOW)

    assert [type(page), type(plain)] == [ProviderDownError, MailRejectedError]


def test_answer_without_a_rule_is_unknown() -> None:
    assert type(judge((), _reply(299), "", provider="p", waits=(), now=NOW)) is OutcomeUnknownError


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("to parameter is not a valid address", "to parameter is not a valid address"),
        ("address ann@example.org is bad", "address [address] is bad"),
        ("<ann@example.org>,<bob@example.org> bad", "[address] bad"),
        ('"ann lee"@example.org bad', "[address] bad"),
        ("see ann%40example.org", "see [address]"),
        ("two\r\nlines\x1b[0m", "two lines [0m"),
        ("x" * 300, "x" * 200 + "…"),
        ("x" * 195 + " ann@example.org", "x" * 195 + " [add…"),
    ],
)
def test_providers_words_are_made_presentable(message: str, shown: str) -> None:
    """No address, one line, not long."""
    assert presentable(message) == shown


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"{", b"\xff", b'{"a": NaN}', b"[" * 5_000])
def test_what_is_no_object_is_no_document(body: bytes) -> None:
    assert _reply(body=body).document() is None
