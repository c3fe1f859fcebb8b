"""What of Mailgun's events is its own: the signature in the body, the kinds of failure, the fields."""

from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from postman.adapters.mailgun_events import MailgunEvents, open_events
from postman.core.events import EventKind, MailEvent
from postman.errors import ConfigError, ForgedEventError
from postman.ports.events import EventPost
from postman.ports.opening import ProviderSpec
from postman.testing.events import NOW, Signed, Told
from tests.contract.event_posts import MailgunSender, mailgun_event

HOUR = 3_600.0
SENDER = MailgunSender()
SOURCE = MailgunEvents("mailgun", [SENDER.key])


def read(post: Signed, source: MailgunEvents = SOURCE) -> EventPost:
    return source.read(post.headers, post.body, now=NOW)


def told(**changes: Any) -> MailEvent:
    """Return what is read of one permanent failure with *changes*."""
    [event] = read(SENDER.sign(mailgun_event(Told(EventKind.BOUNCED), **changes))).events
    return event


def spec(**options: str) -> ProviderSpec:
    return ProviderSpec("main", "mailgun", SecretStr("key-x"), options=options)


def status(**fields: object) -> dict[str, object]:
    return {"code": 550, "message": "no", **fields}


@pytest.mark.parametrize(
    ("changes", "kind", "is_permanent"),
    [
        ({"reason": "bounce"}, EventKind.BOUNCED, True),
        ({"reason": "hard"}, EventKind.BOUNCED, True),
        ({"reason": "bounce", "delivery-status": status(**{"bounce-type": "soft"})}, EventKind.BOUNCED, False),
        ({"reason": "generic", "delivery-status": status(**{"bounce-type": "hard"})}, EventKind.BOUNCED, True),
        ({"reason": "generic"}, EventKind.BOUNCED, False),
        ({"reason": "old"}, EventKind.BOUNCED, False),
        ({"reason": "espblock"}, EventKind.BOUNCED, False),
        ({"reason": None}, EventKind.BOUNCED, False),
        ({"reason": "suppress-bounce"}, EventKind.DROPPED, False),
        ({"reason": "suppress-complaint"}, EventKind.DROPPED, False),
        ({"reason": "suppress-unsubscribe"}, EventKind.DROPPED, False),
        ({"severity": "temporary", "reason": "bounce"}, EventKind.DEFERRED, False),
        ({"severity": "temporary", "reason": "greylisted"}, EventKind.DEFERRED, False),
    ],
)
def test_a_failure_is_what_its_severity_and_reason_say(
    changes: dict[str, Any], kind: EventKind, *, is_permanent: bool
) -> None:
    event = told(**changes)

    assert (event.kind, event.is_permanent) == (kind, is_permanent)


@pytest.mark.parametrize(
    "changes",
    [
        {"event": "opened"},
        {"event": "clicked"},
        {"event": "unsubscribed"},
        {"event": "stored"},
        {"event": ["failed"]},
        {"severity": None},
        {"severity": "fatal"},
        {"timestamp": "soon"},
        {"timestamp": True},
    ],
)
def test_what_is_damaged_or_does_not_concern_us_is_not_read(changes: dict[str, Any]) -> None:
    post = read(SENDER.sign(mailgun_event(Told(EventKind.BOUNCED), **changes)))

    assert (post.events, post.unread) == ((), 1)


@pytest.mark.parametrize("event", [None, [], "delivered", 7, {"event": "delivered"}])
def test_a_genuine_post_without_an_event_is_counted(event: object) -> None:
    assert read(SENDER.sign(event)).unread == 1


def test_the_message_id_is_in_the_form_of_a_receipt() -> None:
    """The events show it without the angle brackets."""
    for header in ("a.b@mg.example.org", "<a.b@mg.example.org>"):
        assert told(message={"headers": {"message-id": header}}).message_id == "<a.b@mg.example.org>"
    nothings: list[object] = [{}, {"headers": []}, {"headers": {"message-id": None}}, None]
    for nothing in nothings:
        assert told(message=nothing).message_id == ""


@pytest.mark.parametrize(
    ("variables", "mail_id"),
    [({"mail_id": "m-7"}, "m-7"), ({"mail_id": 4711}, "4711"), ([], ""), ({}, ""), (None, ""), ({"mail_id": []}, "")],
)
def test_our_id_is_among_the_variables_which_may_be_an_empty_list(variables: object, mail_id: str) -> None:
    assert told(**{"user-variables": variables}).mail_id == mail_id


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"delivery-status": {"code": 550, "message": "no <x@example.org> here"}}, "550 no [address] here"),
        (
            {"reason": "suppress-bounce", "delivery-status": {"code": 605, "message": "", "description": "Not again"}},
            "605 Not again",
        ),
        (
            {"event": "rejected", "delivery-status": None, "reject": {"reason": "Sandbox subdomains"}},
            "Sandbox subdomains",
        ),
        ({"delivery-status": None, "reason": "old"}, "old"),
    ],
)
def test_the_detail_is_the_provider_s_own_words_without_addresses(changes: dict[str, Any], detail: str) -> None:
    assert told(**changes).detail == detail


def test_the_token_is_the_nonce() -> None:
    assert read(SENDER.sign(mailgun_event(Told(EventKind.DELIVERED)), token="t" * 50)).nonce == "t" * 50


def test_the_main_account_s_signature_does_for_a_subaccount() -> None:
    event = mailgun_event(Told(EventKind.DELIVERED))
    genuine = orjson.loads(SENDER.sign(event, token="t" * 50).body)["signature"]["signature"]
    other = MailgunSender("the-subaccount-has-its-own")

    post = other.sign(event, token="t" * 50, changes={"parent-signature": genuine})

    assert read(post).events
    with pytest.raises(ForgedEventError):
        read(other.sign(event, token="t" * 50, changes={"parent-signature": "0" * 64}))


def test_a_time_may_be_a_number() -> None:
    assert read(SENDER.sign(mailgun_event(Told(EventKind.DELIVERED)), changes={"timestamp": int(NOW)})).events


@pytest.mark.parametrize(
    "changes",
    [
        {"token": ""},
        {"token": None},
        {"token": "x" * 201},
        {"token": 7},
        {"signature": None},
        {"signature": ""},
        {"signature": "0" * 64},
        {"signature": "\u00e9" * 64},
        {"timestamp": None},
        {"timestamp": True},
        {"timestamp": 1.8e9},
        {"timestamp": "now"},
        {"timestamp": " 1800000000"},
        {"timestamp": "+1800000000"},
    ],
)
def test_a_signature_with_another_part_is_forged(changes: dict[str, object]) -> None:
    with pytest.raises(ForgedEventError):
        read(SENDER.sign(mailgun_event(Told(EventKind.DELIVERED)), changes=changes))


def test_no_digit_may_move_between_time_and_token() -> None:
    """They are signed without a divider; a time with a digit more or less is out of the window."""
    post = orjson.loads(SENDER.sign(mailgun_event(Told(EventKind.DELIVERED)), token="1234567890" * 5).body)
    whole = post["signature"]["timestamp"] + post["signature"]["token"]

    for cut in {*range(1, 30)} - {10}:
        post["signature"] |= {"timestamp": whole[:cut], "token": whole[cut:]}
        with pytest.raises(ForgedEventError):
            read(Signed({}, orjson.dumps(post)))


def test_a_form_post_of_the_old_kind_is_forged() -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="signature"\r\n\r\n00\r\n--x--\r\n'

    with pytest.raises(ForgedEventError, match="today's webhooks"):
        SOURCE.read({"Content-Type": "multipart/form-data; boundary=x"}, form, now=NOW)


def test_a_post_is_good_for_eight_and_a_half_hours() -> None:
    event = mailgun_event(Told(EventKind.DELIVERED))
    last, late = (SENDER.sign(event, at=NOW - age) for age in (8.5 * HOUR - 1, 8.5 * HOUR + 1))

    assert read(last).events
    with pytest.raises(ForgedEventError, match="older"):
        read(late)


def test_one_of_two_keys_is_enough() -> None:
    source = open_events(spec(webhook_key=f"the-old-one, {SENDER.key}"))
    [post] = SENDER.post(Told(EventKind.DELIVERED))

    assert source is not None
    assert source.read(post.headers, post.body, now=NOW).events


@pytest.mark.parametrize("options", [{}, {"webhook_key": ""}, {"domain": "mg.example.org"}])
def test_without_a_key_there_are_no_events(options: dict[str, str]) -> None:
    assert open_events(spec(**options)) is None


@pytest.mark.parametrize("key", ["signing key", "signing\u00e9key", "signing\x00key", "signingkey,,other"])
def test_a_damaged_key_is_refused_by_provider_and_field_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_events(spec(webhook_key=key))

    assert str(caught.value).startswith("provider main: webhook_key: ")
    assert "signing" not in str(caught.value)
