"""The wire: equal mails are equal bytes, old workers read new mails, and no bytes do harm."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postman.core.mail import Address, Mail, OnDoubt
from postman.core.message import Message
from postman.core.wire import decode, decode_message, digest, encode, message_for, parse
from postman.errors import InvalidMailError
from tests.contract.bad_mails import GOOD, good_with
from tests.unit.core.mails import any_mails

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_names = st.sampled_from([*GOOD, "headers", "attachments", "tags", "metadata", "send_at", "on_doubt", "tenant", "cc"])


@settings(max_examples=60)
@given(any_mails())
def test_what_was_encoded_is_decoded_unchanged(mail: Mail) -> None:
    data = encode(mail)

    assert decode(data) == parse(data) == parse(orjson.loads(data)) == mail
    assert encode(decode(data)) == data
    assert digest(decode(data)) == digest(mail)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(InvalidMailError):
        decode(data)


@settings(max_examples=60)
@given(st.dictionaries(_names, _json, min_size=1, max_size=3))
def test_any_object_is_a_mail_or_refused_with_a_reason(changes: dict[str, Any]) -> None:
    data = orjson.dumps({**GOOD, **changes})
    try:
        mail = decode(data)
    except InvalidMailError:
        return
    assert decode(encode(mail)) == mail


@settings(max_examples=40)
@given(any_mails(), st.data())
def test_a_damaged_mail_is_another_mail_or_refused(mail: Mail, data: st.DataObject) -> None:
    encoded = bytearray(encode(mail))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] = data.draw(st.integers(0, 255))
    try:
        damaged = decode(bytes(encoded))
    except InvalidMailError:
        return
    assert decode(encode(damaged)) == damaged


def test_the_bytes_are_compact_and_in_the_order_of_the_fields() -> None:
    """A golden value: producers in other languages and stored dead letters rely on it."""
    mail = parse(
        {
            **GOOD,
            "on_doubt": "hold",
            "cc": [],
            "attachments": [{"content": "aGk=", "filename": "a", "content_type": "a/b"}],
        }
    )

    assert encode(mail) == (
        b'{"id":"mail-1","from":{"email":"shop@example.com","name":"Shop"},"to":[{"email":"ann@example.org"}],'
        b'"subject":"Your receipt","text":"Thank you.",'
        b'"attachments":[{"filename":"a","content_type":"a/b","content":"aGk="}],"on_doubt":"hold"}'
    )


def test_the_digest_of_a_known_mail_never_changes() -> None:
    """It is stored in ledgers for months: another value would turn every redelivery into a conflict."""
    assert digest(parse(GOOD)) == "2f46dd094a611bf6ea3cfa843fa3518c"


def test_the_digest_leaves_out_the_id_and_what_is_default() -> None:
    content = digest(parse(GOOD))

    assert digest(parse(good_with(id="other", html="", cc=[], on_doubt="ask"))) == content


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "Your Receipt"},
        {"to": None, "cc": GOOD["to"]},
        {"headers": {"X-A": "b"}},
        {"on_doubt": "resend"},
        {"expires_at": "2026-01-31T12:00:00Z"},
        {"tenant": "a"},
    ],
)
def test_the_digest_counts_every_field(changes: dict[str, Any]) -> None:
    assert digest(parse(good_with(**changes))) != digest(parse(GOOD))


def test_an_old_worker_keeps_what_a_newer_producer_added() -> None:
    """A rolling upgrade: both must see the same content, or the mail would be in conflict with itself."""
    new = good_with(to=[{"email": "ann@example.org", "lang": "de"}], priority={"level": 1}, amp="<html>")
    mail = decode(orjson.dumps(new))

    assert mail.subject == GOOD["subject"]
    assert orjson.loads(encode(mail)) == new
    assert digest(mail) != digest(parse(GOOD))
    assert digest(decode(orjson.dumps(dict(reversed(new.items()))))) == digest(mail)


def test_a_worker_needs_an_id_and_a_producer_makes_one() -> None:
    data = orjson.dumps(good_with(id=None))

    assert len(parse(data).id) == 36
    with pytest.raises(InvalidMailError, match="id: is missing"):
        decode(data)


def test_a_message_carries_id_schema_and_trace_as_far_as_it_fits() -> None:
    mail = parse(good_with(id="\U0001f4e7" * 128))
    trace = {"traceparent": "00-1-2-01", "baggage": "x" * 1_025, "mail_id": "forged", "schema": "0", "k" * 257: "v"}

    message = message_for(mail, trace=trace)

    assert message.attributes == {"traceparent": "00-1-2-01", "mail_id": mail.id, "schema": "1"}
    assert decode_message(message) == mail
    assert all(len(value.encode()) <= 1_024 for value in message.attributes.values())


@pytest.mark.parametrize(
    ("attributes", "field", "problem"),
    [
        ({"mail_id": "mail-1"}, "attributes.schema", "is missing"),
        ({"mail_id": "mail-1", "schema": "99"}, "attributes.schema", "known here"),
        ({"schema": "1"}, "attributes.mail_id", "is not the id"),
        ({"mail_id": "mail-2", "schema": "1"}, "attributes.mail_id", "is not the id"),
    ],
)
def test_attributes_that_say_something_else_are_refused(attributes: dict[str, str], field: str, problem: str) -> None:
    with pytest.raises(InvalidMailError, match=problem) as refusal:
        decode_message(Message(orjson.dumps(GOOD), attributes))

    assert refusal.value.field == field


def test_sixteen_levels_are_read_and_seventeen_are_not() -> None:
    level: Any = []
    for _ in range(14):
        level = [level]

    assert decode(orjson.dumps(good_with(new=level))).id == "mail-1"
    with pytest.raises(InvalidMailError, match="more than 16 levels"):
        decode(orjson.dumps(good_with(new=[level])))


def test_a_mail_is_encoded_alike_however_it_was_made() -> None:
    made = Mail(
        id=GOOD["id"],
        from_=Address(email="shop@EXAMPLE.com", name="Shop"),
        to=[Address(email="ann@example.org")],
        subject=GOOD["subject"],
        text=GOOD["text"],
        on_doubt=OnDoubt.ASK,
    )

    assert encode(made) == encode(parse(GOOD))
