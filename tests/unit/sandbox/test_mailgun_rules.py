from urllib.parse import urlencode

import orjson
import pytest

from postman.sandbox.answers import Accepted, Answer
from postman.sandbox.mailgun.imitation import check_send
from postman.sandbox.mails import Draft, Mailbox

VALID = [("from", "Shop <shop@example.org>"), ("to", "ann@example.com"), ("subject", "Receipt"), ("text", "Thanks")]


def check(fields: list[tuple[str, str]]) -> Accepted | Answer:
    body = urlencode(fields).encode()
    return check_send(
        "application/x-www-form-urlencoded", body, domain="mg.example.org", message_id="<new@mg.example.org>"
    )


def without(name: str) -> list[tuple[str, str]]:
    return [(key, value) for key, value in VALID if key != name]


def accepted(fields: list[tuple[str, str]]) -> Draft:
    outcome = check(fields)
    assert isinstance(outcome, Accepted), outcome.body
    [draft] = outcome.drafts
    return draft


def test_a_valid_mail_is_queued_with_thanks() -> None:
    outcome = check(VALID)

    assert isinstance(outcome, Accepted)
    assert outcome.answer.status == 200
    assert orjson.loads(outcome.answer.body) == {"id": "<new@mg.example.org>", "message": "Queued. Thank you."}


@pytest.mark.parametrize("written", ["<own@mg.example.org>", "own@mg.example.org"])
def test_the_senders_message_id_is_honoured_and_shown_as_the_id(written: str) -> None:
    draft = accepted([*VALID, ("h:Message-Id", written)])

    assert (draft.message_id, draft.message_id_header) == ("<own@mg.example.org>", "<own@mg.example.org>")


def test_a_mail_is_kept_as_its_recipient_sees_it() -> None:
    fields = [
        *VALID,
        ("to", "Bob <bob@example.com>, eve@example.com"),
        ("cc", "c@example.com"),
        ("bcc", "b@example.com"),
        ("html", "<p>Thanks</p>"),
        ("h:Reply-To", "help@example.org, desk@example.org"),
        ("h:X-Kind", "receipt"),
        ("o:tag", "receipts"),
        ("v:mail_id", "m-1"),
        ("v:order", "7"),
        ("o:deliverytime", "Fri, 14 Oct 2011 23:10:10 -0000"),
        ("o:testmode", "yes"),
    ]

    draft = accepted(fields)

    assert draft.mail_id == "m-1"
    assert draft.metadata == {"mail_id": "m-1", "order": "7"}
    assert draft.from_ == Mailbox("shop@example.org", "Shop")
    assert draft.to == (Mailbox("ann@example.com"), Mailbox("bob@example.com", "Bob"), Mailbox("eve@example.com"))
    assert (draft.cc, draft.bcc) == ((Mailbox("c@example.com"),), (Mailbox("b@example.com"),))
    assert [each.email for each in draft.reply_to] == ["help@example.org", "desk@example.org"]
    assert (draft.body.text, draft.body.html, draft.tags) == ("Thanks", "<p>Thanks</p>", ("receipts",))
    assert draft.body.headers["X-Kind"] == "receipt"
    assert (draft.send_at, draft.test_mode) == (1318633810.0, True)


def test_an_address_given_twice_is_ignored_the_second_time() -> None:
    draft = accepted(
        [*VALID, ("to", "ANN@example.com"), ("cc", "ann@example.com, c@example.com"), ("bcc", "C@example.com")]
    )

    assert [each.email for each in draft.to] == ["ann@example.com"]
    assert [each.email for each in draft.cc] == ["c@example.com"]
    assert draft.bcc == ()


MANY = ",".join(f"p{number}@example.com" for number in range(1000))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (without("from"), "from parameter is missing"),
        (without("to"), "to parameter is missing"),
        (without("subject"), "subject parameter is missing"),
        ([*without("from"), ("from", "shop")], "'from' parameter is not a valid address. please check documentation"),
        ([*without("from"), ("from", "a@x.org, b@x.org")], "'from' parameter is not a valid address"),
        ([*VALID, ("to", "nobody")], "'to' parameter is not a valid address. please check documentation"),
        ([*VALID, ("cc", "a@b")], "'cc' parameter is not a valid address"),
        ([*VALID, ("bcc", "ü@example.org")], "'bcc' parameter is not a valid address"),
        (without("text"), "Need at least one of 'text', 'html'"),
        ([*without("text"), ("text", "")], "Need at least one of 'text', 'html'"),
        ([*VALID, ("html", "x"), ("template", "t")], "Only one parameters 'html' or 'template' is allowed"),
        ([*VALID, ("v:big", "x" * 16_384)], "limited to 16 kB total"),
        ([*VALID, ("h:A", "x" * 8_000), ("v:b", "x" * 8_400)], "limited to 16 kB total"),
        ([*VALID, ("to", MANY)], "Too many recipients, max is 1000"),
        ([*VALID, ("h:X-Grüße", "x")], "Header name must be pure ASCII"),
        ([*VALID, ("h:X-A", "a\r\nBcc: b@example.org")], "line ends"),
        ([*without("subject"), ("subject", "a\r\nBcc: b")], "line ends"),
        ([*VALID, *[("o:tag", str(number)) for number in range(4)]], "Too many tags"),
        ([*VALID, ("o:deliverytime", "tomorrow")], "'o:deliverytime' parameter is not a valid date"),
        ([*VALID, ("recipient-variables", "{")], "'recipient-variables' parameter is not a valid JSON"),
    ],
)
def test_the_first_broken_rule_is_answered_in_words(fields: list[tuple[str, str]], words: str) -> None:
    outcome = check(fields)

    assert isinstance(outcome, Answer)
    assert outcome.status == 400
    assert words in orjson.loads(outcome.body)["message"]


@pytest.mark.parametrize(
    "fields",
    [
        [*without("to"), ("to", MANY)],
        [*without("subject"), ("subject", "")],
        [*VALID, ("v:b", "x" * 16_381)],
        [*VALID, *[("o:tag", str(number)) for number in range(3)]],
    ],
)
def test_what_is_just_within_the_rules_is_accepted(fields: list[tuple[str, str]]) -> None:
    assert isinstance(check(fields), Accepted)


@pytest.mark.parametrize(
    ("content_type", "body"), [("application/json", b"{}"), ("multipart/form-data; boundary=b", b"--b\r\n")]
)
def test_what_is_no_whole_form_is_malformed(content_type: str, body: bytes) -> None:
    outcome = check_send(content_type, body, domain="mg.example.org", message_id="<x>")

    assert isinstance(outcome, Answer)
    assert (outcome.status, orjson.loads(outcome.body)) == (400, {"message": "malformed multipart/form-data request"})
