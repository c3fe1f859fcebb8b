import base64
from typing import Any

import orjson
import pytest

from postman.sandbox.answers import Accepted, Answer
from postman.sandbox.mails import Mailbox
from postman.sandbox.sendgrid.imitation import check_send

NOW = 1_800_000_000.0
VALID: dict[str, Any] = {
    "personalizations": [{"to": [{"email": "ann@example.com", "name": "Ann"}], "custom_args": {"mail_id": "m-1"}}],
    "from": {"email": "shop@example.org", "name": "Shop"},
    "subject": "Receipt",
    "content": [{"type": "text/plain", "value": "Thanks"}, {"type": "text/html", "value": "<p>Thanks</p>"}],
}


def check(document: object) -> Accepted | Answer:
    return check_send(orjson.dumps(document), now=NOW, message_id="abc")


def with_envelope(**fields: Any) -> dict[str, Any]:
    return {**VALID, "personalizations": [{**VALID["personalizations"][0], **fields}]}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in VALID.items() if key != name}


def people(count: int, start: int = 0) -> list[dict[str, str]]:
    return [{"email": f"p{number}@example.com"} for number in range(start, start + count)]


def errors(outcome: Accepted | Answer) -> list[dict[str, Any]]:
    assert isinstance(outcome, Answer), "the mail was accepted"
    assert outcome.status == 400
    found: list[dict[str, Any]] = orjson.loads(outcome.body)["errors"]
    assert all(set(error) == {"message", "field", "help"} for error in found)
    return found


def test_a_valid_mail_is_accepted_with_202_no_body_and_its_id_in_a_header() -> None:
    outcome = check(VALID)

    assert isinstance(outcome, Accepted)
    assert outcome.answer == Answer(202, headers={"X-Message-Id": "abc"})


def test_a_mail_is_kept_as_its_recipient_sees_it() -> None:
    document = {
        **with_envelope(cc=[{"email": "c@example.com"}], bcc=[{"email": "b@example.com"}]),
        "reply_to_list": [{"email": "help@example.org"}],
        "headers": {"Message-ID": "<own@example.org>", "X-Kind": "receipt"},
        "categories": ["receipts"],
        "attachments": [
            {
                "content": base64.b64encode(b"pic").decode(),
                "filename": "p.png",
                "type": "image/png",
                "disposition": "inline",
                "content_id": "p1",
            }
        ],
    }

    outcome = check(document)

    assert isinstance(outcome, Accepted)
    [draft] = outcome.drafts
    assert draft.mail_id == "m-1"
    assert draft.message_id_header == "<own@example.org>"
    assert (draft.from_, draft.to) == (Mailbox("shop@example.org", "Shop"), (Mailbox("ann@example.com", "Ann"),))
    assert (draft.cc, draft.bcc) == ((Mailbox("c@example.com"),), (Mailbox("b@example.com"),))
    assert draft.reply_to == (Mailbox("help@example.org"),)
    assert (draft.subject, draft.tags) == ("Receipt", ("receipts",))
    assert (draft.body.text, draft.body.html) == ("Thanks", "<p>Thanks</p>")
    assert draft.body.headers["X-Kind"] == "receipt"
    [attachment] = draft.body.attachments
    assert (attachment.content, attachment.content_id, attachment.inline) == (b"pic", "p1", True)


def test_every_personalization_is_a_mail_of_its_own() -> None:
    document = {
        **VALID,
        "custom_args": {"campaign": "c"},
        "personalizations": [
            {"to": people(1), "custom_args": {"mail_id": "m-1"}, "subject": "Own"},
            {"to": people(1, start=1), "custom_args": {"mail_id": "m-2"}},
        ],
    }

    outcome = check(document)

    assert isinstance(outcome, Accepted)
    assert [(draft.mail_id, draft.subject) for draft in outcome.drafts] == [("m-1", "Own"), ("m-2", "Receipt")]
    assert outcome.drafts[0].metadata == {"campaign": "c", "mail_id": "m-1"}


def test_sandbox_mode_answers_200_and_takes_nothing() -> None:
    assert check({**VALID, "mail_settings": {"sandbox_mode": {"enable": True}}}) == Answer(200)


def test_sandbox_mode_still_validates() -> None:
    assert errors(check({**without("from"), "mail_settings": {"sandbox_mode": {"enable": True}}}))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"from": NaN}', b'{"subject":"\\ud800"}'])
def test_a_body_that_is_no_json_object_is_a_bad_request(body: bytes) -> None:
    [error] = errors(check_send(body, now=NOW, message_id="abc"))

    assert error == {"message": "Bad Request", "field": None, "help": None}


ADDRESS = {"email": "x@example.org"}
FILE = {"content": "QUJD", "filename": "a.txt"}


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (without("personalizations"), "personalizations"),
        ({**VALID, "personalizations": []}, "personalizations"),
        ({**VALID, "personalizations": [{"to": people(1)}] * 1001}, "personalizations"),
        ({**VALID, "personalizations": ["x"]}, "personalizations.0.to"),
        (with_envelope(to=[]), "personalizations.0.to"),
        (with_envelope(to=[{"email": "nobody"}]), "personalizations.0.to.0.email"),
        (with_envelope(to=[{"name": "Ann"}]), "personalizations.0.to.0.email"),
        (with_envelope(cc=[{"email": "a b@example.org"}]), "personalizations.0.cc.0.email"),
        (with_envelope(bcc=[{"email": "ü@example.org"}]), "personalizations.0.bcc.0.email"),
        (with_envelope(to=people(501), cc=people(500, start=501)), "personalizations"),
        (with_envelope(subject=""), "personalizations.0.subject"),
        (with_envelope(headers={"To": "x"}), "personalizations.0.headers"),
        (with_envelope(custom_args={"k": "x" * 10_000}), "personalizations.0.custom_args"),
        (with_envelope(send_at=int(NOW) + 72 * 3600 + 1), "personalizations.0.send_at"),
        (without("from"), "from.email"),
        ({**VALID, "from": {"email": "shop"}}, "from.email"),
        (without("subject"), "subject"),
        ({**VALID, "subject": ""}, "subject"),
        (without("content"), "content"),
        ({**VALID, "content": []}, "content"),
        ({**VALID, "content": [{"type": "text/plain", "value": ""}]}, "content.0.value"),
        ({**VALID, "content": [{"type": "", "value": "x"}]}, "content.0.type"),
        ({**VALID, "content": VALID["content"][::-1]}, "content"),
        ({**VALID, "content": [VALID["content"][0]] * 2}, "content"),
        ({**VALID, "attachments": [{**FILE, "content": "not base64!"}]}, "attachments.0.content"),
        ({**VALID, "attachments": [{**FILE, "content": "QUJ"}]}, "attachments.0.content"),
        ({**VALID, "attachments": [{**FILE, "content": ""}]}, "attachments.0.content"),
        ({**VALID, "attachments": [{"content": "QUJD"}]}, "attachments.0.filename"),
        ({**VALID, "attachments": [{**FILE, "type": "a/b\r\nX: y"}]}, "attachments.0.type"),
        ({**VALID, "attachments": [{**FILE, "disposition": "hidden"}]}, "attachments.0.disposition"),
        ({**VALID, "categories": [str(n) for n in range(11)]}, "categories"),
        ({**VALID, "categories": ["a", "a"]}, "categories"),
        ({**VALID, "categories": ["a" * 256]}, "categories.0"),
        ({**VALID, "reply_to": ADDRESS, "reply_to_list": [ADDRESS]}, "reply_to_list"),
        ({**VALID, "reply_to": {"email": "x"}}, "reply_to.email"),
        ({**VALID, "reply_to_list": [ADDRESS, ADDRESS]}, "reply_to_list"),
        ({**VALID, "send_at": int(NOW) + 72 * 3600 + 1}, "send_at"),
        ({**VALID, "send_at": "tomorrow"}, "send_at"),
        ({**VALID, "headers": {"X-A": "a\r\nBcc: b"}}, "headers"),
        ({**VALID, "headers": {"X A": "a"}}, "headers"),
    ],
)
def test_a_broken_rule_is_answered_with_its_field(document: object, field: str) -> None:
    assert field in [error["field"] for error in errors(check(document))]


@pytest.mark.parametrize(
    "name",
    [
        "x-sg-id",
        "X-SG-EID",
        "received",
        "DKIM-Signature",
        "Content-Type",
        "content-transfer-encoding",
        "To",
        "From",
        "Subject",
        "Reply-To",
        "CC",
        "BCC",
    ],
)
def test_reserved_headers_cannot_be_set(name: str) -> None:
    assert [error["field"] for error in errors(check({**VALID, "headers": {name: "x"}}))] == ["headers"]


@pytest.mark.parametrize("kinds", [("to", "to"), ("to", "cc"), ("to", "bcc"), ("cc", "bcc")])
def test_the_same_address_twice_in_one_envelope_is_refused_whatever_the_case(kinds: tuple[str, str]) -> None:
    lists: dict[str, list[dict[str, str]]] = {"to": people(1)}
    for kind, email in zip(kinds, ("bob@example.com", "BOB@Example.com"), strict=True):
        lists.setdefault(kind, []).append({"email": email})

    [error] = errors(check(with_envelope(**lists)))

    assert error["message"] == (
        "Each unique email address in the personalizations array should only be included once. You have included "
        "[BOB@Example.com] more than once."
    )


@pytest.mark.parametrize(
    "document",
    [
        with_envelope(custom_args={"mail_id": 7}),
        {**VALID, "headers": {"X-N": 7}},
        {**VALID, "custom_args": "text"},
        with_envelope(to=[{"email": "a@example.com", "name": 7}]),
    ],
)
def test_values_that_are_no_strings_are_a_bad_request_without_a_field(document: object) -> None:
    assert {"message": "Bad Request", "field": None, "help": None} in errors(check(document))


@pytest.mark.parametrize(
    "document",
    [
        with_envelope(to=people(1000)),
        with_envelope(custom_args={"k": "x" * 9_999}),
        {**without("subject"), "personalizations": [{"to": people(1), "subject": "Own"}]},
        {**without("subject"), "template_id": "d-1", "content": None},
        {**VALID, "categories": ["a" * 255, *map(str, range(9))]},
        {**VALID, "send_at": int(NOW) + 72 * 3600},
        {**VALID, "send_at": int(NOW) - 60},
        {**VALID, "content": VALID["content"][1:]},
        {**VALID, "content": [*VALID["content"], {"type": "text/calendar", "value": "x"}]},
        {**VALID, "attachments": [{"content": "QUJD", "filename": ""}]},
    ],
)
def test_what_is_just_within_the_rules_is_accepted(document: object) -> None:
    assert isinstance(check(document), Accepted)
