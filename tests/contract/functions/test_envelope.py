"""The envelope of a push, as Pub/Sub and its emulator write it, and whatever else somebody may send."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postman.core.message import Message
from postman.entrypoints.functions.envelope import ENVELOPE_LIMIT, EnvelopeError, read_envelope
from postman.runtime.pushed import Pushed
from tests.contract.functions.servers import posted

NOW = 1_700_000_000.0
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def read(body: bytes) -> Pushed:
    return read_envelope(body, prefix="postman", lease_ends=7.0, now=NOW)


def test_what_was_published_is_read_byte_by_byte() -> None:
    attributes = {"mail_id": "m-1", "schema": "1", "traceparent": "00-ab-cd-01"}

    pushed = read(posted(bytes(range(256)), attributes))

    assert pushed.message == Message(bytes(range(256)), attributes)
    assert (pushed.attempt, pushed.lease_ends, pushed.shard) == (1, 7.0, 2)
    assert datetime.fromtimestamp(pushed.published_at, UTC) == datetime(2026, 11, 30, 12, 0, 0, 123456, tzinfo=UTC)


def test_a_message_may_have_nothing_but_attributes() -> None:
    """And one without any has none: both are dead-lettered as no mail, not refused."""
    assert read(b'{"message": {"attributes": {"a": "b"}}}').message == Message(b"", {"a": "b"})
    assert read(b'{"message": {"data": "eA==", "attributes": null}}').message == Message(b"x", {})


@pytest.mark.parametrize(("told", "attempt"), [(1, 1), (7, 7), (0, 1), (-1, 1), ("7", 1), (None, 1), (2.5, 1)])
def test_the_attempt_is_told_where_pubsub_counts(told: object, attempt: int) -> None:
    assert read(posted(b"x", {}, deliveryAttempt=told)).attempt == attempt


@pytest.mark.parametrize(
    ("name", "shard"),
    [
        ("postman-mail-0", 0),
        ("postman-mail-17-push", 17),
        ("postman-mail-1023-push-2", 1023),
        ("postman-mail-1024", None),
        ("postman-mail-", None),
        ("postman-mail-3x", None),
        ("other-mail-3", None),
        ("my-postman-mail-3", None),
        ("postman-mail-٣", None),
        ("", None),
    ],
)
def test_the_subscription_s_name_tells_the_shard(name: str, shard: int | None) -> None:
    assert read(posted(b"x", {}, subscription=f"projects/p/subscriptions/{name}")).shard == shard


@pytest.mark.parametrize("told", ["yesterday", "", 5, None, {}, "0000-01-01T00:00:00Z"])
def test_a_message_of_unknown_age_is_taken_to_be_new(told: object) -> None:
    assert read(orjson.dumps({"message": {"data": "", "publishTime": told}})).published_at == NOW


def test_the_largest_message_of_pubsub_fits() -> None:
    attributes = {f"{number:03d}{'k' * 253}": "," * 1_024 for number in range(100)}
    body = posted(b"x" * 10_000_000, attributes)

    assert len(body) < ENVELOPE_LIMIT
    assert read(body).message.attributes == attributes


@given(JSON | st.fixed_dictionaries({"message": JSON | st.dictionaries(st.sampled_from(["data", "attributes"]), JSON)}))
@settings(max_examples=200, deadline=None)
def test_whatever_else_is_sent_is_refused_in_words_that_hold_nothing_of_it(document: Any) -> None:
    _is_read_or_refused(orjson.dumps(document))


@given(st.binary())
@settings(max_examples=200, deadline=None)
def test_no_bytes_make_it_fail(body: bytes) -> None:
    _is_read_or_refused(body)


def _is_read_or_refused(body: bytes) -> None:
    refused = EnvelopeError("")
    try:
        read(body)
    except EnvelopeError as error:
        refused = error
    assert refused.__cause__ is None
    assert refused.__suppress_context__ or refused.__context__ is None
    assert len(str(refused)) < 100
