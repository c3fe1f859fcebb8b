"""What of SendGrid's events is its own: the key's forms, the signature, the fields."""

import base64
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from multidict import CIMultiDict
from pydantic import SecretStr

from postman.adapters.sendgrid_events import SendGridEvents, open_events
from postman.core.events import EventKind, MailEvent
from postman.errors import ConfigError, ForgedEventError
from postman.ports.events import EventPost
from postman.ports.opening import ProviderSpec
from postman.testing.events import NOW, Signed, Told
from tests.contract.event_posts import SIGNATURE, TIMESTAMP, SendGridSender, sendgrid_event

HOUR = 3_600.0
SENDER = SendGridSender()
SOURCE = SendGridEvents("sendgrid", [SENDER.public_key])


def read(post: Signed, **headers: str) -> EventPost:
    return SOURCE.read({**post.headers, **headers}, post.body, now=NOW)


def told(**changes: Any) -> MailEvent:
    """Return what is read of one bounce with *changes*."""
    [event] = read(SENDER.sign(orjson.dumps([sendgrid_event(Told(EventKind.BOUNCED), **changes)]))).events
    return event


def spec(**options: str) -> ProviderSpec:
    return ProviderSpec("main", "sendgrid", SecretStr("SG.x"), options=options)


def test_a_thousand_events_and_more_are_one_post() -> None:
    events = [Told(EventKind.DELIVERED, mail_id=f"m-{number}") for number in range(1_500)]

    [post] = SENDER.post(*events)

    assert [event.mail_id for event in read(post).events] == [event.mail_id for event in events]


def test_one_bad_event_does_not_cost_the_others() -> None:
    good = sendgrid_event(Told(EventKind.DELIVERED))
    bad: list[object] = [
        None,
        1,
        [],
        {},
        {"event": ["bounce"]},
        {**good, "timestamp": "soon"},
        {**good, "timestamp": 1e300},
    ]

    post = read(SENDER.sign(orjson.dumps([good, *bad, good])))

    assert (len(post.events), post.unread) == (2, len(bad))


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[", b"\xff\xfe", b'{"event":"delivered"}'])
def test_a_genuine_post_that_is_no_array_is_counted(body: bytes) -> None:
    assert read(SENDER.sign(body)) == EventPost((), unread=1)


@pytest.mark.parametrize("timestamp", [1_700_000_000, "1700000000", 1_700_000_000.0, "1700000000.0"])
def test_a_time_may_be_a_number_or_its_text(timestamp: object) -> None:
    assert told(timestamp=timestamp).at == 1_700_000_000.0


@pytest.mark.parametrize(
    ("kind", "is_permanent"), [("bounce", True), ("blocked", False), ("expired", False), (None, False)]
)
def test_only_a_bounce_of_the_type_bounce_is_permanent(kind: str | None, *, is_permanent: bool) -> None:
    event = told(type=kind)

    assert (event.kind, event.is_permanent) == (EventKind.BOUNCED, is_permanent)


@pytest.mark.parametrize(
    ("sg_message_id", "message_id"),
    [
        ("14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0", "14c5d75ce93"),
        ("14c5d75ce93", "14c5d75ce93"),
        (None, ""),
        (["x"], ""),
    ],
)
def test_the_message_id_is_that_of_the_answer_to_the_request(sg_message_id: object, message_id: str) -> None:
    """An asynchronous bounce may lack it."""
    assert told(sg_message_id=sg_message_id).message_id == message_id


@pytest.mark.parametrize("email", [None, 1, "", "no address", "a@b\r\nBcc: x@example.org", "x" * 400 + "@example.org"])
def test_what_is_no_address_is_no_recipient(email: object) -> None:
    assert told(email=email).recipient == ""


@pytest.mark.parametrize("event", ["open", "click", "unsubscribe", "group_unsubscribe", "group_resubscribe", "new", 7])
def test_what_does_not_concern_us_is_not_read(event: object) -> None:
    post = read(SENDER.sign(orjson.dumps([sendgrid_event(Told(EventKind.DELIVERED), event=event)])))

    assert post == EventPost((), unread=1)


def test_the_server_s_answer_is_the_detail_where_there_is_no_reason() -> None:
    event = told(reason=None, response="250 OK queued for <ann@example.org>")

    assert event.detail == "250 OK queued for [address]"


@pytest.mark.parametrize("name", [SIGNATURE, TIMESTAMP])
@pytest.mark.parametrize("value", ["", " ", "\u00e9", "\udce9", "AAAA", "1800000000 ", "+1800000000", "1_800_000_000"])
def test_a_header_that_is_not_as_it_was_signed_is_forged(name: str, value: str) -> None:
    [post] = SENDER.post(Told(EventKind.DELIVERED))

    with pytest.raises(ForgedEventError):
        read(post, **{name: value})


@pytest.mark.parametrize("name", [SIGNATURE, TIMESTAMP])
def test_a_header_that_comes_twice_is_forged(name: str) -> None:
    """Also the right one twice: who reads the first and who reads the last shall not differ."""
    [post] = SENDER.post(Told(EventKind.DELIVERED))
    headers = CIMultiDict(post.headers)
    headers.add(name.lower(), post.headers[name])

    with pytest.raises(ForgedEventError, match="comes 2 times"):
        SOURCE.read(headers, post.body, now=NOW)


def test_a_body_that_is_written_anew_is_forged() -> None:
    """The bytes were signed, not the events."""
    [post] = SENDER.post(Told(EventKind.DELIVERED))
    rewritten = orjson.dumps(orjson.loads(post.body), option=orjson.OPT_INDENT_2)

    with pytest.raises(ForgedEventError):
        read(Signed(post.headers, rewritten))


def test_no_byte_may_move_between_time_and_body() -> None:
    """They are signed without a divider."""
    post = SENDER.sign(b"[]", at=17_999_999_99)
    moved = Signed({**post.headers, TIMESTAMP: post.headers[TIMESTAMP] + "["}, post.body[1:])

    with pytest.raises(ForgedEventError):
        read(moved)


def test_a_post_is_good_for_25_hours() -> None:
    [last], [late] = (SENDER.post(Told(EventKind.DELIVERED), at=NOW - age) for age in (25 * HOUR - 1, 25 * HOUR + 1))

    assert read(last).events
    with pytest.raises(ForgedEventError, match="older"):
        read(late)


def test_the_key_may_be_pem_or_base64_in_lines() -> None:
    pem = SENDER.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    lines = "".join(pem.splitlines(keepends=True)[1:-1])
    [post] = SENDER.post(Told(EventKind.DELIVERED))

    for key in (pem, lines, f"{SendGridSender().public_key},{SENDER.public_key}"):
        source = open_events(spec(webhook_key=key))
        assert source is not None
        assert source.read(post.headers, post.body, now=NOW).events


@pytest.mark.parametrize("options", [{}, {"webhook_key": ""}, {"webhook_key": " "}])
def test_without_a_key_there_are_no_events(options: dict[str, str]) -> None:
    assert open_events(spec(**options)) is None


def _of(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> str:
    return base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


@pytest.mark.parametrize(
    "key",
    [
        "SG.not-a-verification-key",
        SENDER.public_key[:-8],
        SENDER.public_key.replace("A", "*", 1),
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        _of(ec.generate_private_key(ec.SECP384R1()).public_key()),
        _of(rsa.generate_private_key(65_537, 2_048).public_key()),
        SENDER.public_key + ",",
    ],
)
def test_a_damaged_key_is_refused_by_provider_and_field_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_events(spec(webhook_key=key))

    assert str(caught.value).startswith("provider main: webhook_key: ")
    assert key[:12] not in str(caught.value)
    assert caught.value.__cause__ is None
