"""A mail that exists is valid, frozen, and silent about whom it goes to."""

import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

import pytest
from pydantic import ValidationError

from postman.core.mail import MAX_DELAY, Address, Attachment, Mail, OnDoubt
from postman.errors import InvalidMailError

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def mail_with(**changes: Any) -> Mail:
    plain = {"from_": Address(email="shop@example.com"), "to": [Address(email="ann@example.org")], "text": "hi"}
    return Mail(**{**plain, **changes})


def test_without_an_id_each_gets_its_own_and_later_ones_sort_after_earlier_ones() -> None:
    ids = [mail_with().id for _ in range(100)]

    assert len(set(ids)) == 100
    assert ids == sorted(ids)


def test_the_sender_may_be_given_by_either_name() -> None:
    sender = Address(email="shop@example.com")

    assert mail_with(id="a", from_=sender) == Mail(
        **{"from": sender}, id="a", to=[Address(email="ann@example.org")], text="hi"
    )


def test_an_address_is_kept_in_its_normal_form() -> None:
    address = Address(email="Ann.B+c@BÜCHER.Example", name="")

    assert address.email == "Ann.B+c@xn--bcher-kva.example"
    assert address.domain == "xn--bcher-kva.example"
    assert address.name is None


def test_it_cannot_be_changed() -> None:
    mail = mail_with()

    with pytest.raises(ValidationError, match="frozen"):
        setattr(mail, "subject", "other")  # noqa: B010 — mypy knows that it is frozen


def test_a_changed_copy_is_checked_anew() -> None:
    mail = mail_with(id="a")

    assert mail.model_copy(update={"subject": "other"}) == mail_with(id="a", subject="other")
    assert mail.model_copy() == mail
    with pytest.raises(InvalidMailError, match="subject: must not have line breaks"):
        mail.model_copy(update={"subject": "a\nb"})


def test_lists_and_maps_given_to_it_are_its_own_afterwards() -> None:
    to, headers = [Address(email="ann@example.org")], {"X-A": "b"}
    mail = mail_with(to=to, headers=headers)

    to.clear()
    headers["Bcc"] = "x"

    assert len(mail.to) == 1
    assert mail.headers == {"X-A": "b"}


def test_it_can_be_pickled_copied_and_put_into_a_set() -> None:
    mail = mail_with(attachments=[Attachment(filename="a", content_type="a/b", content=b"\0\xff")])

    assert pickle.loads(pickle.dumps(mail)) == copy.deepcopy(mail) == mail
    assert {mail, copy.copy(mail)} == {mail}


def test_whoever_prints_it_reads_no_address_no_name_and_no_content() -> None:
    secret = "hush"
    mail = mail_with(
        to=[Address(email="hush@example.org", name=secret)],
        subject=secret,
        text=secret,
        html=secret,
        headers={"X-A": secret},
        metadata={"k": secret},
        attachments=[Attachment(filename=secret, content_type="text/plain", content=secret.encode())],
    )

    for part in (mail, mail.to, mail.to[0], mail.attachments[0]):
        assert secret not in f"{part!r} {part}"
    assert mail.id in repr(mail)


def test_an_error_names_the_first_problem_and_counts_the_others() -> None:
    with pytest.raises(InvalidMailError) as refusal:
        mail_with(to=[{"email": "secret-1"}, {"email": "ok@example.org"}, {"email": "secret-2"}], text=5)

    assert refusal.value.field == "to[0].email"
    assert str(refusal.value).endswith("(and 2 more problems)")
    assert "secret" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_strange_keys_are_not_repeated_in_the_field() -> None:
    with pytest.raises(InvalidMailError) as refusal:
        Mail.model_validate({"from": {"email": "a@b.com", "x\r\nann@example.org": 1}, "to": [], "text": "x"})

    assert refusal.value.field == "from.?"


@pytest.mark.parametrize("make", [Address, Attachment, Mail])
def test_every_part_raises_our_own_error(make: type[Any]) -> None:
    with pytest.raises(InvalidMailError):
        make()
    with pytest.raises(InvalidMailError):
        make.model_validate([])
    with pytest.raises(InvalidMailError):
        make.model_validate_json("{")


def test_content_is_bytes_in_python_and_base64_in_json() -> None:
    plain = {"filename": "a.txt", "content_type": "text/plain", "content": "aGk="}

    assert Attachment.model_validate(plain).content == b"hi"
    with pytest.raises(InvalidMailError, match="content: must be bytes"):
        Attachment(**plain)


def test_equal_moments_are_equal_whatever_their_zone() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))

    assert mail_with(id="a", send_at=NOW) == mail_with(id="a", send_at=NOW.astimezone(zone))
    assert mail_with(id="a", send_at="2026-01-31T17:30:00+05:30").as_json()["send_at"] == "2026-01-31T12:00:00Z"


def test_a_moment_without_zone_is_refused() -> None:
    with pytest.raises(InvalidMailError, match="send_at: has no time zone"):
        mail_with(send_at=NOW.replace(tzinfo=None))


def test_it_is_due_from_send_at_on_and_expired_from_expires_at_on() -> None:
    mail = mail_with(send_at=NOW, expires_at=NOW + timedelta(seconds=600))
    now = NOW.timestamp()

    assert [mail.due_in(now + seconds) for seconds in (-2.5, 0, 601)] == [2.5, 0.0, 0.0]
    assert [mail.has_expired(now + seconds) for seconds in (0, 599.9, 600)] == [False, False, True]
    assert mail_with().due_in(0) == 0.0
    assert not mail_with().has_expired(1e12)


def test_it_may_be_published_seven_days_ahead_and_no_more() -> None:
    now = NOW.timestamp()

    mail_with(send_at=NOW + timedelta(seconds=MAX_DELAY)).check_times(now)
    mail_with(send_at=NOW - timedelta(days=1)).check_times(now)
    with pytest.raises(InvalidMailError, match="send_at: is more than 7 days ahead"):
        mail_with(send_at=NOW + timedelta(seconds=MAX_DELAY + 1)).check_times(now)


def test_every_attempt_carries_the_same_message_id() -> None:
    """Made of the id, so that a second copy can be recognised; part of the wire contract."""
    mail = mail_with(id="grüße", from_=Address(email="shop@Bücher.example"))
    digits = sha256("grüße".encode()).hexdigest()[:32]

    assert mail.message_id == f"<postman.{digits}@xn--bcher-kva.example>" == copy.copy(mail).message_id


def test_the_callers_own_message_id_is_kept() -> None:
    assert mail_with(headers={"MESSAGE-id": "<own@example.com>"}).message_id == "<own@example.com>"


def test_recipients_are_all_three_lists() -> None:
    mail = mail_with(to=[], cc=[Address(email="c@example.org")], bcc=[Address(email="b@example.org")])

    assert [address.email for address in mail.recipients] == ["c@example.org", "b@example.org"]


def test_only_what_is_set_is_written() -> None:
    mail = mail_with(id="a", on_doubt=OnDoubt.ASK, html="", cc=[], headers={})

    assert mail.as_json() == {
        "id": "a",
        "from": {"email": "shop@example.com"},
        "to": [{"email": "ann@example.org"}],
        "text": "hi",
    }


@pytest.mark.parametrize(("characters", "fits"), [(9_949_000, True), (9_950_000, False)])
def test_the_size_counts_as_it_is_on_the_wire(characters: int, fits: bool) -> None:
    """A control character takes six bytes there, an umlaut two."""
    for text in ("x" * characters, "\x01" * (characters // 6), "ü" * (characters // 2)):
        if fits:
            assert mail_with(text=text).text == text
        else:
            with pytest.raises(InvalidMailError, match="more than 9950000"):
                mail_with(text=text)


def test_a_thousand_recipients_and_a_hundred_files_fit() -> None:
    files = [Attachment(filename="a", content_type="a/b", content=b"")] * 100
    people = [Address(email=f"u{index}@example.org", name="ü" * 255) for index in range(1_000)]

    assert len(mail_with(to=people, attachments=files).recipients) == 1_000
