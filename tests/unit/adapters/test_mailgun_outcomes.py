"""What Mailgun's answers mean."""

import asyncio
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from postman.adapters._mailgun_payload import mailbox
from postman.adapters.mailgun import Mailgun
from postman.core.mail import Address, Mail
from postman.errors import (
    CredentialsError,
    InvalidMailError,
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

NOW = 1_640_032_341.0
"""Mon, 20 Dec 2021 20:32:21 UTC."""
MAIL = Mail(
    id="mail-1", from_=Address(email="shop@example.org"), to=(Address(email="ann@example.org"),), subject="a", text="b"
)
PAGE = "<html><body>Bad Gateway</body></html>"


def _says(message: str) -> str:
    return json.dumps({"message": message})


def _mailgun(response: httpx.Response) -> Mailgun:
    spec = ProviderSpec("second", "mailgun", SecretStr("hidden"), options={"domain": "mg.example.org"})
    return Mailgun(spec, transport=httpx.MockTransport(lambda _: response), wall_clock=lambda: NOW)


def _failure(status: int, body: str = "", headers: dict[str, str] | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        asyncio.run(_mailgun(httpx.Response(status, text=body, headers=headers)).send(MAIL))
    return caught.value


_DOMAIN = "Domain mg.example.org is not allowed to send: "
TABLE = [
    (200, "Mailgun Magnificent API", OutcomeUnknownError),
    (200, "", OutcomeUnknownError),
    (200, PAGE, OutcomeUnknownError),
    (200, '{"id": "<a@b>", "mess', OutcomeUnknownError),
    (200, '{"id": "<a@b>"}', OutcomeUnknownError),
    (200, '{"message": "Queued. Thank you."}', OutcomeUnknownError),
    (200, '{"id": "<a@b>", "message": "Not queued"}', OutcomeUnknownError),
    (201, '{"id": "<a@b>", "message": "Queued. Thank you."}', OutcomeUnknownError),
    (302, "", ProviderDownError),
    (400, _says("to parameter is not a valid address. please check documentation"), MailRejectedError),
    (400, _says("Need at least one of 'text' or 'html' parameters specified"), MailRejectedError),
    (400, _says("Too many recipients, max is 1000"), MailRejectedError),
    (400, _says("Header name must be pure ASCII"), MailRejectedError),
    (400, _says("malformed multipart/form-data request"), ProviderDownError),
    (400, _says("unable to parse request: unexpected EOF"), ProviderDownError),
    (400, _says(_DOMAIN + "Sandbox subdomains are for test purposes only."), RouteRefusedError),
    (400, _says(_DOMAIN + "Free accounts are for test purposes only."), RouteRefusedError),
    (400, _says(_DOMAIN + "The domain is unverified and requires DNS configuration."), RouteRefusedError),
    (400, _says(_DOMAIN + "Please activate your Mailgun account."), ProviderDownError),
    (400, _says(_DOMAIN + "account is disabled"), ProviderDownError),
    (400, PAGE, RouteRefusedError),
    (401, "Forbidden", CredentialsError),
    (402, _says("Request Failed"), QuotaExceededError),
    (403, _says("Domain mg.example.org is not allowed to send large batches yet"), RouteRefusedError),
    (403, _says("Rejected: IP 192.0.2.1 can't be used to send the message"), ProviderDownError),
    (403, "Forbidden", CredentialsError),
    (404, _says("Domain not found: mg.example.org"), RouteRefusedError),
    (404, "404 page not found", ProviderDownError),
    (404, PAGE, ProviderDownError),
    (405, "", ProviderDownError),
    (408, "", OutcomeUnknownError),
    (409, _says("conflict"), RouteRefusedError),
    (413, _says("request size exceeds 52.4MiB limit"), RouteRefusedError),
    (420, _says(_DOMAIN + "recipient limit exceeded, try again after 120 seconds"), ThrottledError),
    (429, _says("account-requests-per-sec limit exceeded, try again after 120 seconds"), ThrottledError),
    (403, _says(_DOMAIN + "bytes limit exceeded, try again after 120 seconds"), ThrottledError),
    (500, _says("Internal Server Error"), ProviderDownError),
    (500, "", OutcomeUnknownError),
    (502, _says("Bad Gateway"), OutcomeUnknownError),
    (503, _says("Service Unavailable"), ProviderDownError),
    (503, PAGE, OutcomeUnknownError),
    (504, PAGE, OutcomeUnknownError),
    (524, PAGE, OutcomeUnknownError),
]


@pytest.mark.parametrize(("status", "body", "expected"), TABLE)
def test_each_answer_has_its_class(status: int, body: str, expected: type[ProviderError]) -> None:
    error = _failure(status, body)

    assert type(error) is expected
    assert (error.provider, error.status) == ("second", status)


def test_queued_is_an_acceptance() -> None:
    """The id is kept as it is given."""
    response = httpx.Response(200, json={"id": "<a@mg.example.org>", "message": "Queued. Thank you."})

    assert asyncio.run(_mailgun(response).send(MAIL)) == Receipt("second", "<a@mg.example.org>")


def test_endless_id_is_cut() -> None:
    """It has to fit into a ledger."""
    receipt = asyncio.run(
        _mailgun(httpx.Response(200, json={"id": "a" * 5_000, "message": "Queued. Thank you."})).send(MAIL)
    )

    assert receipt.message_id == "a" * 998


@pytest.mark.parametrize(
    ("when", "seconds"), [("120 seconds", 120.0), ("Mon, 20 Dec 2021 20:33:21 UTC", 60.0), ("a while", None)]
)
def test_throttling_ends_when_its_words_say(when: str, seconds: float | None) -> None:
    error = _failure(420, _says(f"{_DOMAIN}request limit exceeded, try again after {when}"))

    assert error.retry_after == seconds


def test_header_comes_before_words() -> None:
    error = _failure(429, _says("limit exceeded, try again after 120 seconds"), {"Retry-After": "7"})

    assert error.retry_after == 7.0


def _event(mail_id: str | None, kind: str = "accepted") -> dict[str, object]:
    variables = {} if mail_id is None else {"mail_id": mail_id}
    return {"event": kind, "user-variables": variables, "message": {"headers": {"message-id": "x@y"}}}


@pytest.mark.parametrize("events", [[_event("mail-1")], [_event("other"), _event(None), _event("mail-1", "failed")]])
def test_event_of_ours_is_proof(events: list[dict[str, object]]) -> None:
    """The receipt has the id that sending gives."""
    response = httpx.Response(200, json={"items": events, "paging": {}})

    assert asyncio.run(_mailgun(response).look_up(MAIL)) == Receipt("second", MAIL.message_id)


@pytest.mark.parametrize("events", [[], [_event("other")]])
def test_no_event_of_ours_is_none(events: list[dict[str, object]]) -> None:
    """Another mail may bear the same Message-ID, if its caller chose it."""
    assert asyncio.run(_mailgun(httpx.Response(200, json={"items": events})).look_up(MAIL)) is None


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, json={"items": [_event(None)]}),
        httpx.Response(200, json={"items": [{"event": "accepted"}]}),
        httpx.Response(200, json={"items": [_event("other")] * 100}),
        httpx.Response(200, text="Mailgun Magnificent API"),
        httpx.Response(200, json={"items": {}}),
        httpx.Response(401, text="Forbidden"),
        httpx.Response(404, text=_says("Domain not found")),
        httpx.Response(503, text=_says("Service Unavailable")),
    ],
)
def test_look_up_that_decides_nothing_is_no_absence(response: httpx.Response) -> None:
    """Events that do not say whose they are, a full page of others, or no answer at all."""
    with pytest.raises(ProviderError) as caught:
        asyncio.run(_mailgun(response).look_up(MAIL))

    assert type(caught.value) is ProviderError


def test_look_up_that_gets_no_answer_doubts_no_mail() -> None:
    """A question that is lost is no mail that is lost."""

    def hang(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow")

    spec = ProviderSpec("second", "mailgun", SecretStr("hidden"), options={"domain": "mg.example.org"})
    provider = Mailgun(spec, transport=httpx.MockTransport(hang))

    with pytest.raises(ProviderError) as caught:
        asyncio.run(provider.look_up(MAIL))

    assert type(caught.value) is ProviderError


@given(st.text(max_size=60))
def test_no_name_escapes_its_quotes(name: str) -> None:
    """Whatever stands in a display name, a mailbox is one name and one address."""
    try:
        address = Address(email="ann@example.org", name=name)
    except InvalidMailError:
        return

    read = _read_mailbox(mailbox(address))

    assert read == (address.name, "ann@example.org")


def _read_mailbox(text: str) -> tuple[str | None, str]:
    """Read a mailbox as RFC 5322 says, one character after the other."""
    if not text.startswith('"'):
        return None, text
    name, place = "", 1
    while text[place] != '"':
        place += text[place] == "\\"
        name += text[place]
        place += 1
    rest = text[place + 1 :]
    assert rest.startswith(" <")
    assert rest.endswith(">")
    return name, rest[2:-1]
