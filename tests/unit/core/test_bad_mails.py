"""Every bad mail is refused at every door of the core, with the same field and reason, and without a word of it."""

from typing import Any

import orjson
import pytest

from postman.core.mail import Mail
from postman.core.message import Message
from postman.core.wire import SCHEMA, decode, decode_message, parse
from postman.errors import InvalidMailError
from tests.contract.bad_mails import BAD_MAILS, GOOD, BadMail, good_with

every_bad_mail = pytest.mark.parametrize("bad", BAD_MAILS, ids=lambda bad: bad.name)


def test_the_good_mail_is_good() -> None:
    """Else the table would prove nothing."""
    assert parse(orjson.dumps(GOOD)) == decode(orjson.dumps(GOOD)) == Mail.model_validate(GOOD)


def test_names_are_unique() -> None:
    assert len({bad.name for bad in BAD_MAILS}) == len(BAD_MAILS) >= 60


@every_bad_mail
def test_a_producer_refuses_it(bad: BadMail) -> None:
    with pytest.raises(InvalidMailError) as refusal:
        parse(bad.data)

    assert refusal.value.field == bad.where
    assert bad.why in refusal.value.problem


@every_bad_mail
def test_a_worker_refuses_it_where_its_producer_was_bypassed(bad: BadMail) -> None:
    if not bad.in_worker:
        assert decode(bad.data).id == "mail-1"
        return
    with pytest.raises(InvalidMailError) as refusal:
        decode_message(Message(bad.data, {"mail_id": "mail-1", "schema": SCHEMA}))

    assert bad.why in refusal.value.problem


@pytest.mark.parametrize("bad", [bad for bad in BAD_MAILS if isinstance(bad.mail, dict)], ids=lambda bad: bad.name)
def test_as_an_object_it_is_refused_alike(bad: BadMail) -> None:
    assert isinstance(bad.mail, dict)
    with pytest.raises(InvalidMailError) as refusal:
        parse(bad.mail)

    assert refusal.value.field == bad.where
    assert bad.why in refusal.value.problem


@every_bad_mail
def test_nothing_that_was_sent_is_in_the_text_of_the_error(bad: BadMail) -> None:
    with pytest.raises(InvalidMailError) as refusal:
        parse(bad.data)

    for word in ("example", "evil", "ann@", "Thank", "receipt", "@b.com", "169.254", "\n", "\r", "\x1b", "\0"):
        assert word not in str(refusal.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"cc": [{"email": "user@bücher.example"}]},
        {"to": None, "bcc": [{"email": "x@\u0430pple.com"}]},
        {"to": [{"email": "b@good.example", "name": '"a@evil.example" <x>, y; \U0001f4e7'}]},
        {"text": "{{7*7}} {% for i in range(10**9) %}"},
        {"text": None, "html": "<p>\x1b[31m</p>"},
        {"text": None, "attachments": [{"filename": "a", "content_type": "text/csv; charset=utf-8", "content": ""}]},
        {"headers": {"Message-Id": "<a@b.example>", "List-Unsubscribe": "<https://example.org/u>"}},
        {"subject": "Commas, and =?utf-8?q?J=C3=B6rg?=, and \u202e, and =?broken?"},
        {"send_at": "2001-01-01T00:00:00+02:00"},
        {"id": "a/b"},
        {"id": "__x__"},
        {"id": "\U0001f4e7"},
        {"tags": ["a b", "1:2"], "metadata": {"__class__": "{{x}}", "täg".encode().hex(): "ü"}},
    ],
)
def test_what_only_looks_bad_is_accepted(changes: dict[str, Any]) -> None:
    """A check that refused everything would pass all of the above."""
    mail = parse(orjson.dumps(good_with(**changes)))

    assert decode(orjson.dumps(mail.as_json())) == mail
