"""What every possible status means, in each form of body, and where the readers of answers stop."""

import asyncio
import json
from collections.abc import Mapping
from itertools import product

import httpx
import pytest
from pydantic import SecretStr

from postman.adapters import mailgun, sendgrid
from postman.adapters._http import Reply
from postman.adapters._outcomes import USUAL_RULES, Rule, judge, presentable, rate_limit_reset, retry_after_header
from postman.core.mail import Address, Mail
from postman.errors import (
    ConfigError,
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

NOW = 1_700_000_000.0
BODIES = {"json": b'{"message": "no"}', "page": b"<html>no</html>", "text": b"no"}
MAIL = Mail(id="m-1", from_=Address(email="s@example.org"), to=(Address(email="a@example.org"),), subject="a", text="b")

Table = Mapping[tuple[int, str], type[ProviderError]]


def _judged(rules: tuple[Rule, ...], status: int, form: str, message: str = "no") -> ProviderError:
    reply = Reply(status, httpx.Headers(), BODIES[form])
    return judge(rules, reply, message, provider="p", waits=(), now=NOW)


def _usual(status: int, form: str) -> type[ProviderError]:
    """Return what the documentation of no provider in particular would say."""
    match status, form:
        case ((400 | 422), "page"):
            return RouteRefusedError
        case ((400 | 422), _):
            return MailRejectedError
        case ((404 | 405 | 406 | 415), _):
            return ProviderDownError
        case 408, _:
            return OutcomeUnknownError
        case (500, "json") | (503, "json" | "text"):
            return ProviderDownError
    if 300 <= status < 400:
        return ProviderDownError
    return RouteRefusedError if 400 <= status < 500 else OutcomeUnknownError


SENDGRIDS_OWN: Table = {
    **{(401, form): CredentialsError for form in BODIES},
    **{(402, form): QuotaExceededError for form in BODIES},
    **{(403, form): CredentialsError for form in BODIES},
    **{(429, form): ThrottledError for form in BODIES},
}
MAILGUNS_OWN: Table = {
    **{(401, form): CredentialsError for form in BODIES},
    **{(402, form): QuotaExceededError for form in BODIES},
    **{(403, form): CredentialsError for form in BODIES},
    **{(420, form): ThrottledError for form in BODIES},
    **{(429, form): ThrottledError for form in BODIES},
    (404, "json"): RouteRefusedError,
}


@pytest.mark.parametrize(
    ("rules", "own"),
    [(USUAL_RULES, {}), (sendgrid._RULES, SENDGRIDS_OWN), (mailgun._RULES, MAILGUNS_OWN)],
    ids=["any provider", "SendGrid", "Mailgun"],
)
def test_every_status_has_its_meaning_in_every_form(rules: tuple[Rule, ...], own: Table) -> None:
    """None is left to chance, from 100 to 599, whether JSON, a page or plain text came with it."""
    wrong = {
        (status, form): type(error).__name__
        for status, form in product(range(100, 600), BODIES)
        if type(error := _judged(rules, status, form)) is not own.get((status, form), _usual(status, form))
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("rules", "status", "problem"),
    [
        (USUAL_RULES, 413, "the mail is too large for it"),
        (USUAL_RULES, 414, "the request is refused"),
        (USUAL_RULES, 301, "redirects are not followed"),
        (USUAL_RULES, 200, "success in a form that is not its own"),
        (USUAL_RULES, 299, "success in a form that is not its own"),
        (USUAL_RULES, 502, "a gateway in front of it failed"),
        (USUAL_RULES, 599, "a gateway in front of it failed"),
        (USUAL_RULES, 199, "not an answer it is known to give"),
        (sendgrid._RULES, 451, "the sender's data may not be held there"),
        (sendgrid._RULES, 402, "the account must be paid"),
        (mailgun._RULES, 402, "the account must be paid"),
    ],
)
def test_the_problem_says_what_a_person_has_to_know(rules: tuple[Rule, ...], status: int, problem: str) -> None:
    """Also where two rows lead to the same decision."""
    assert _judged(rules, status, "text").problem == f"answered {status}: {problem}"


@pytest.mark.parametrize(
    ("rules", "status", "message", "kind"),
    [
        (sendgrid._RULES, 401, "Maximum CREDITS exceeded", QuotaExceededError),
        (sendgrid._RULES, 402, "credits exceeded", QuotaExceededError),
        (sendgrid._RULES, 403, "Credits exceeded", QuotaExceededError),
        (sendgrid._RULES, 400, "credits exceeded", MailRejectedError),
        (sendgrid._RULES, 403, "no verified sender identity", RouteRefusedError),
        (sendgrid._RULES, 403, "The From Address is wrong", RouteRefusedError),
        (sendgrid._RULES, 401, "The from address is wrong", CredentialsError),
        (sendgrid._RULES, 403, "too many bad requests", ProviderDownError),
        (sendgrid._RULES, 403, "Temporarily blocked", ProviderDownError),
        (mailgun._RULES, 400, "limit exceeded, try again after 3 s", ThrottledError),
        (mailgun._RULES, 499, "Limit exceeded, try again after 3 s", ThrottledError),
        (mailgun._RULES, 500, "limit exceeded, try again after 3 s", ProviderDownError),
        (mailgun._RULES, 400, "Domain x.org is not allowed to send large batches", RouteRefusedError),
        (mailgun._RULES, 403, "not allowed to send large batches", RouteRefusedError),
        (mailgun._RULES, 400, "Please activate your Mailgun account", ProviderDownError),
        (mailgun._RULES, 403, "The account has been disabled", ProviderDownError),
        (mailgun._RULES, 400, "needs business verification", ProviderDownError),
        (mailgun._RULES, 400, "Domain x.org is not allowed to send: x", RouteRefusedError),
        (mailgun._RULES, 403, "domain x.org is not allowed to send", RouteRefusedError),
        (mailgun._RULES, 400, "My Domain x is not allowed to send", MailRejectedError),
        (mailgun._RULES, 403, "Rejected: IP 127.0.0.1 is blocked", ProviderDownError),
        (mailgun._RULES, 400, "Rejected: IP 127.0.0.1 is blocked", MailRejectedError),
        (mailgun._RULES, 400, "malformed multipart message", ProviderDownError),
        (mailgun._RULES, 400, "unexpected EOF", ProviderDownError),
        (mailgun._RULES, 401, "unexpected EOF", CredentialsError),
    ],
)
def test_words_decide_only_at_their_status(
    rules: tuple[Rule, ...], status: int, message: str, kind: type[ProviderError]
) -> None:
    """Where a provider says more with the same status, in whatever case it writes."""
    assert type(_judged(rules, status, "json", message)) is kind


class TestReaders:
    def test_words_are_quoted_only_from_the_providers_own_form(self) -> None:
        """A page or a plain line may be anybody's."""
        said = [_judged(USUAL_RULES, 400, form, "why so").problem for form in BODIES]
        assert [text.endswith(": why so") for text in said] == [True, False, False]

    @pytest.mark.parametrize("error", [ThrottledError, ProviderDownError, QuotaExceededError, MailRejectedError])
    def test_the_first_reader_that_finds_a_time_counts(self, error: type[ProviderError]) -> None:
        reply = Reply(429, httpx.Headers({"retry-after": "7", "x-ratelimit-reset": str(int(NOW) + 60)}), b"{}")
        readers = (retry_after_header, rate_limit_reset)
        found = [
            judge((Rule((429,), error, "x"),), reply, "", provider="p", waits=waits, now=NOW)
            for waits in (readers, readers[::-1], ())
        ]
        assert [each.retry_after for each in found] == [7.0, 60.0, None]
        assert {(each.provider, each.status) for each in found} == {("p", 429)}

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [(" 5 ", 5.0), ("0", 0.0), ("9" * 11, 99_999_999_999.0), ("9" * 12, None), ("٣", None), ("1.5", None)],
    )
    def test_numbers_are_plain_and_of_sensible_length(self, value: str, seconds: float | None) -> None:
        reply = Reply(429, {"retry-after": value}, b"")
        assert retry_after_header(reply, "", NOW) == seconds

    def test_a_date_without_a_zone_is_of_greenwich(self) -> None:
        for zone in ("GMT", "+0000", "-0000", "+0100"):
            reply = Reply(429, {"retry-after": f"Tue, 14 Nov 2023 22:14:20 {zone}"}, b"")
            assert retry_after_header(reply, "", NOW) == (60.0 if zone != "+0100" else -3_540.0)

    def test_words_are_cut_at_two_hundred_characters(self) -> None:
        assert presentable("x" * 200) == "x" * 200
        assert presentable("x" * 201) == "x" * 200 + "…"
        assert presentable(" " * 1_999 + "xyz") == "x"

    def test_a_page_is_known_by_its_type_or_its_first_character(self) -> None:
        for headers, body, is_page in [
            ({"content-type": "text/HTML; charset=x"}, b"{}", True),
            ({}, b"\n <p>", True),
            ({}, b"x<p>", False),
            ({"content-type": "application/json"}, b"{}", False),
        ]:
            assert Reply(200, httpx.Headers(headers), body).is_html is is_page


class TestSendGrid:
    def _messages(self, body: bytes, headers: dict[str, str] | None = None) -> str:
        return sendgrid._message(Reply(400, httpx.Headers(headers or {}), body))

    @pytest.mark.parametrize(
        ("errors", "message"),
        [
            ([{"message": "bad", "field": "from"}], "bad (from)"),
            ([{"message": "bad", "field": ""}], "bad"),
            ([{"message": "bad", "field": None}], "bad"),
            ([{"message": "one"}, {"other": 1}, 3, {"message": "two"}], "one; two"),
            ([], ""),
        ],
    )
    def test_its_errors_are_put_together(self, errors: list[object], message: str) -> None:
        assert self._messages(json.dumps({"errors": errors}).encode()) == message

    def test_other_bodies_are_read_as_text_unless_they_are_pages(self) -> None:
        assert self._messages(b"plain") == "plain"
        assert self._messages(b"<p>page") == ""
        assert self._messages(b"\xff") == "\ufffd"
        assert len(self._messages(b"x" * 3_000)) == 2_000

    @pytest.mark.parametrize(
        ("status", "headers", "body", "is_taken"),
        [
            (202, {"x-message-id": "m"}, b"", True),
            (202, {"x-message-id": "m"}, b"anything", True),
            (202, {}, b" \n", True),
            (202, {}, b"{}", False),
            (200, {"x-message-id": "m"}, b"", False),
            (201, {"x-message-id": "m"}, b"", False),
        ],
    )
    def test_only_its_own_success_is_one(
        self, status: int, headers: dict[str, str], body: bytes, is_taken: bool
    ) -> None:
        requests: list[httpx.Request] = []
        response = httpx.Response(status, headers=headers, content=body)
        provider = sendgrid.SendGrid(_spec("sendgrid"), transport=_transport(requests, response))
        if is_taken:
            receipt = asyncio.run(provider.send(MAIL))
            assert (receipt.provider, receipt.message_id) == ("main", headers.get("x-message-id", ""))
        else:
            with pytest.raises(OutcomeUnknownError):
                asyncio.run(provider.send(MAIL))
        [request] = requests
        assert (request.method, request.url.path) == ("POST", "/v3/mail/send")
        assert request.headers["content-type"] == "application/json"
        assert request.headers["authorization"] == "Bearer key"

    def test_it_is_asked_by_our_id(self) -> None:
        requests: list[httpx.Request] = []
        provider = sendgrid.SendGrid(
            _spec("sendgrid", look_up_after=9.0), transport=_transport(requests, _json({"messages": []}))
        )
        assert asyncio.run(provider.look_up(MAIL)) is None
        [request] = requests
        assert (request.method, request.url.path) == ("GET", "/v3/messages")
        assert dict(request.url.params) == {"query": "(unique_args['mail_id']=\"m-1\")", "limit": "10"}

    @pytest.mark.parametrize(("mail_id", "look_up_after"), [("m-1", 0.0), ('m"1', 9.0), ("m\\1", 9.0)])
    def test_it_is_not_asked_where_it_cannot_be(self, mail_id: str, look_up_after: float) -> None:
        """Or an id would end its own quotation."""
        requests: list[httpx.Request] = []
        spec = _spec("sendgrid", look_up_after=look_up_after)
        provider = sendgrid.SendGrid(spec, transport=_transport(requests, _json({"messages": []})))
        with pytest.raises(ProviderError, match="cannot be asked"):
            asyncio.run(provider.look_up(MAIL.model_copy(update={"id": mail_id})))
        assert requests == []

    @pytest.mark.parametrize(("sender", "is_ours"), [("S@Example.org", True), ("t@example.org", False)])
    def test_what_it_finds_counts_if_the_sender_is_ours(self, sender: str, is_ours: bool) -> None:
        found = _json({"messages": [{"msg_id": "abc.filter-1", "from_email": sender}, {}]})
        provider = sendgrid.SendGrid(_spec("sendgrid", look_up_after=9.0), transport=_transport([], found))
        if is_ours:
            receipt = asyncio.run(provider.look_up(MAIL))
            assert receipt is not None
            assert (receipt.provider, receipt.message_id) == ("main", "abc")
        else:
            with pytest.raises(ProviderError, match="another sender"):
                asyncio.run(provider.look_up(MAIL))


class TestMailgun:
    def _mailgun(self, response: httpx.Response, **spec: float) -> tuple[mailgun.Mailgun, list[httpx.Request]]:
        requests: list[httpx.Request] = []
        transport = _transport(requests, response)
        return mailgun.Mailgun(_spec("mailgun", domain="MG.example.org", **spec), transport=transport), requests

    @pytest.mark.parametrize(
        ("status", "answer", "is_taken"),
        [
            (200, {"id": "<1>", "message": "Queued. Thank you."}, True),
            (200, {"id": "<1>", "message": "Queue"}, False),
            (200, {"message": "Queued"}, False),
            (200, {"id": "<1>"}, False),
            (201, {"id": "<1>", "message": "Queued"}, False),
            (202, {"id": "<1>", "message": "Queued"}, False),
        ],
    )
    def test_only_its_own_success_is_one(self, status: int, answer: dict[str, str], is_taken: bool) -> None:
        provider, requests = self._mailgun(httpx.Response(status, json=answer))
        if is_taken:
            receipt = asyncio.run(provider.send(MAIL))
            assert (receipt.provider, receipt.message_id) == ("main", "<1>")
        else:
            with pytest.raises(OutcomeUnknownError):
                asyncio.run(provider.send(MAIL))
        [request] = requests
        assert (request.method, request.url.path) == ("POST", "/v3/mg.example.org/messages")
        assert request.headers["authorization"] == "Basic YXBpOmtleQ=="

    def test_it_is_asked_by_the_message_id(self) -> None:
        provider, requests = self._mailgun(_json({"items": []}))
        assert asyncio.run(provider.look_up(MAIL)) is None
        [request] = requests
        assert (request.method, request.url.path) == ("GET", "/v3/mg.example.org/events")
        assert dict(request.url.params) == {
            "message-id": MAIL.message_id.strip("<>"),
            "event": "accepted OR delivered OR failed",
            "limit": "100",
        }

    def test_it_can_be_asked_after_half_an_hour_by_default(self) -> None:
        assert self._mailgun(_json({}))[0].look_up_after == 1_800.0
        provider, requests = self._mailgun(_json({"items": []}), look_up_after=0.0)
        with pytest.raises(ProviderError, match="cannot be asked"):
            asyncio.run(provider.look_up(MAIL))
        assert requests == []

    def test_a_full_page_of_others_decides_nothing(self) -> None:
        """Ours may be on the next one; with room left on the page, it is not there."""
        other = {"user-variables": {"mail_id": "other"}}
        assert asyncio.run(self._mailgun(_json({"items": [other] * 99}))[0].look_up(MAIL)) is None
        for items in ([other] * 100, [other, {}]):
            with pytest.raises(ProviderError, match="may be of this mail"):
                asyncio.run(self._mailgun(_json({"items": items}))[0].look_up(MAIL))
        ours = {"user-variables": {"mail_id": "m-1"}}
        receipt = asyncio.run(self._mailgun(_json({"items": [{}, ours]}))[0].look_up(MAIL))
        assert receipt is not None
        assert (receipt.provider, receipt.message_id) == ("main", MAIL.message_id)

    def test_its_message_is_read_in_every_form(self) -> None:
        def message(body: bytes) -> str:
            return mailgun._message(Reply(400, httpx.Headers(), body))

        assert message(b'{"message": "no"}') == "no"
        assert message(b'{"message": 3}') == '{"message": 3}'
        assert message(b"plain\xff") == "plain\ufffd"
        assert message(b"<p>page") == ""
        assert len(message(b"x" * 3_000)) == 2_000

    @pytest.mark.parametrize("domain", ["", "localhost", "-a.org", "a-.org", "a..org", "a.org/x", "x" * 64 + ".org"])
    def test_a_wrong_domain_is_named_at_once(self, domain: str) -> None:
        with pytest.raises(ConfigError, match="option domain"):
            mailgun.Mailgun(_spec("mailgun", domain=domain))


def _spec(kind: str, *, look_up_after: float | None = None, domain: str | None = None) -> ProviderSpec:
    options = {} if domain is None else {"domain": domain}
    return ProviderSpec("main", kind, SecretStr("key"), look_up_after=look_up_after, options=options)


def _json(document: object) -> httpx.Response:
    return httpx.Response(200, json=document)


def _transport(requests: list[httpx.Request], response: httpx.Response) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return response

    return httpx.MockTransport(answer)
