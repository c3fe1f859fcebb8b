"""What SendGrid's answers mean."""

import asyncio
import json

import httpx
import pytest
from pydantic import SecretStr

from postman.adapters.sendgrid import SendGrid
from postman.core.mail import Address, Mail
from postman.errors import (
    CredentialsError,
    MailRejectedError,
    OutcomeUnknownError,
    ProviderDownError,
    ProviderError,
    QuotaExceededError,
    RouteRefusedError,
    ThrottledError,
)
from postman.ports.opening import ProviderSpec
from postman.ports.provider import Receipt

NOW = 1_700_000_000.0
MAIL = Mail(
    id="mail-1", from_=Address(email="shop@example.org"), to=(Address(email="ann@example.org"),), subject="a", text="b"
)
PAGE = "<html><body>Bad Gateway</body></html>"


def _errors(message: str, field: str | None = None) -> str:
    return json.dumps({"errors": [{"message": message, "field": field, "help": None}]})


def _sendgrid(response: httpx.Response) -> SendGrid:
    spec = ProviderSpec("main", "sendgrid", SecretStr("SG.hidden"), look_up_after=60.0)
    return SendGrid(spec, transport=httpx.MockTransport(lambda _: response), wall_clock=lambda: NOW)


def _failure(status: int, body: str = "", headers: dict[str, str] | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        asyncio.run(_sendgrid(httpx.Response(status, text=body, headers=headers)).send(MAIL))
    return caught.value


TABLE = [
    (200, "", OutcomeUnknownError),
    (200, PAGE, OutcomeUnknownError),
    (201, "", OutcomeUnknownError),
    (202, PAGE, OutcomeUnknownError),
    (204, "", OutcomeUnknownError),
    (301, "", ProviderDownError),
    (307, "", ProviderDownError),
    (400, _errors("Does not contain a valid address.", "personalizations.0.to.0.email"), MailRejectedError),
    (400, _errors("Bad Request"), MailRejectedError),
    (400, PAGE, RouteRefusedError),
    (401, _errors("The provided authorization grant is invalid, expired, or revoked"), CredentialsError),
    (401, _errors("Permission denied, wrong credentials"), CredentialsError),
    (401, _errors("Maximum credits exceeded"), QuotaExceededError),
    (402, _errors("Payment required"), QuotaExceededError),
    (
        403,
        _errors("The from address does not match a verified Sender Identity. Mail cannot be sent"),
        RouteRefusedError,
    ),
    (403, _errors("Too many bad requests. Temporary block"), ProviderDownError),
    (403, _errors("access forbidden"), CredentialsError),
    (404, "", ProviderDownError),
    (405, _errors("method not allowed"), ProviderDownError),
    (406, "", ProviderDownError),
    (408, "", OutcomeUnknownError),
    (409, _errors("conflict"), RouteRefusedError),
    (413, _errors("content too large"), RouteRefusedError),
    (413, PAGE, RouteRefusedError),
    (415, _errors("Content-Type should be application/json."), ProviderDownError),
    (429, _errors("too many requests"), ThrottledError),
    (451, _errors("unavailable"), RouteRefusedError),
    (500, _errors("internal server error"), ProviderDownError),
    (500, "", OutcomeUnknownError),
    (500, PAGE, OutcomeUnknownError),
    (502, _errors("bad gateway"), OutcomeUnknownError),
    (502, PAGE, OutcomeUnknownError),
    (503, _errors("service not available"), ProviderDownError),
    (503, "", ProviderDownError),
    (503, PAGE, OutcomeUnknownError),
    (504, "", OutcomeUnknownError),
    (522, PAGE, OutcomeUnknownError),
    (700, "", OutcomeUnknownError),
]


@pytest.mark.parametrize(("status", "body", "expected"), TABLE)
def test_each_answer_has_its_class(status: int, body: str, expected: type[ProviderError]) -> None:
    error = _failure(status, body)

    assert type(error) is expected
    assert (error.provider, error.status) == ("main", status)


@pytest.mark.parametrize(("headers", "message_id"), [({"X-Message-Id": "abc.def"}, "abc.def"), ({}, "")])
def test_202_is_an_acceptance(headers: dict[str, str], message_id: str) -> None:
    """Also without an id: then it is empty."""
    receipt = asyncio.run(_sendgrid(httpx.Response(202, headers=headers)).send(MAIL))

    assert receipt == Receipt("main", message_id)


def test_endless_id_is_cut() -> None:
    """It has to fit into a ledger."""
    receipt = asyncio.run(_sendgrid(httpx.Response(202, headers={"X-Message-Id": "a" * 5_000})).send(MAIL))

    assert receipt.message_id == "a" * 998


def test_throttling_ends_at_the_reset() -> None:
    """The header is a time, not a number of seconds."""
    error = _failure(429, _errors("too many requests"), {"X-RateLimit-Reset": str(int(NOW) + 42)})

    assert error.retry_after == 42.0


def test_throttling_without_a_reset_names_no_time() -> None:
    assert _failure(429, _errors("too many requests")).retry_after is None


def test_error_names_the_field_and_no_address() -> None:
    """The provider's own words help at night; what they quote does not belong into a log."""
    error = _failure(400, _errors("The address ann@example.org is bad.", "personalizations.0.to.0.email"))

    assert str(error) == (
        "main: answered 400: the mail is refused: The address [address] is bad. (personalizations.0.to.0.email)"
    )


def test_page_of_a_gateway_is_not_quoted() -> None:
    assert "Bad Gateway" not in str(_failure(502, PAGE))


def _found(*messages: dict[str, str]) -> httpx.Response:
    return httpx.Response(200, json={"messages": list(messages)})


ROW = {"msg_id": "abc.filter-1.0", "from_email": "Shop@example.org", "to_email": "ann@example.org", "subject": "a"}


def test_look_up_gives_the_id_that_sending_gave() -> None:
    """The Activity feed's id begins with that of the acceptance."""
    assert asyncio.run(_sendgrid(_found(ROW, ROW)).look_up(MAIL)) == Receipt("main", "abc")


def test_empty_look_up_is_none() -> None:
    assert asyncio.run(_sendgrid(_found()).look_up(MAIL)) is None


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, text=PAGE),
        httpx.Response(200, json={"errors": []}),
        httpx.Response(200, json={"messages": None}),
        httpx.Response(200, json={"messages": [{"to_email": "ann@example.org"}]}),
        httpx.Response(200, json={"messages": [{**ROW, "from_email": "other@example.org"}]}),
        httpx.Response(202, json={"messages": []}),
        httpx.Response(400, text=_errors("invalid syntax")),
        httpx.Response(403, text=_errors("access forbidden")),
        httpx.Response(404, text=""),
        httpx.Response(500, text=""),
    ],
)
def test_look_up_without_its_own_answer_is_no_absence(response: httpx.Response) -> None:
    with pytest.raises(ProviderError) as caught:
        asyncio.run(_sendgrid(response).look_up(MAIL))

    assert type(caught.value) is ProviderError


def test_look_up_that_gets_no_answer_doubts_no_mail() -> None:
    """A question that is lost is no mail that is lost."""

    def hang(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow")

    spec = ProviderSpec("main", "sendgrid", SecretStr("SG.hidden"), look_up_after=60.0)
    provider = SendGrid(spec, transport=httpx.MockTransport(hang))

    with pytest.raises(ProviderError) as caught:
        asyncio.run(provider.look_up(MAIL))

    assert type(caught.value) is ProviderError


def test_throttled_look_up_says_when() -> None:
    response = httpx.Response(429, text=_errors("too many requests"), headers={"X-RateLimit-Reset": str(int(NOW) + 9)})

    with pytest.raises(ThrottledError) as caught:
        asyncio.run(_sendgrid(response).look_up(MAIL))

    assert caught.value.retry_after == 9.0
