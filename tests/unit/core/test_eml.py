"""Mail files become the mails that their readers see, or are refused with the header's name."""

import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postman.core.eml import mail_from_eml
from postman.core.mail import Address, Mail
from postman.core.wire import decode, encode
from postman.errors import InvalidMailError
from tests.unit.core.eml_files import BAD_FILES, FILES, PNG, BadFile, File, letter
from tests.unit.core.mails import any_addresses


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_becomes_the_mail_that_its_reader_sees(file: File) -> None:
    mail = mail_from_eml(file.data, mail_id="id-1")

    assert mail.id == "id-1"
    assert (mail.from_.email, mail.from_.name) == file.sender
    assert [address.email for address in mail.recipients] == file.recipients
    assert file.names is None or [address.name for address in mail.recipients] == file.names
    assert (mail.subject, mail.text, mail.html) == (file.subject, file.text, file.html)
    assert mail.headers == file.headers
    found = [(part.filename, part.content_type, part.content, part.content_id) for part in mail.attachments]
    assert found == file.attachments


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_and_travels_unchanged(file: File) -> None:
    mail = mail_from_eml(file.data)

    assert decode(encode(mail)) == mail


@pytest.mark.parametrize("file", BAD_FILES, ids=lambda file: file.name)
def test_what_cannot_be_sent_as_it_was_meant_is_refused(file: BadFile) -> None:
    with pytest.raises(InvalidMailError) as refusal:
        mail_from_eml(file.data)

    assert refusal.value.field == file.where
    assert file.why in refusal.value.problem
    assert "example" not in str(refusal.value)


def test_bcc_goes_to_bcc_and_reply_to_to_reply_to() -> None:
    mail = mail_from_eml(letter(head="Bcc: b@example.org\nReply-To: r@example.org, s@example.org\nCc: c@example.org"))

    assert [address.email for address in mail.bcc] == ["b@example.org"]
    assert [address.email for address in mail.cc] == ["c@example.org"]
    assert [address.email for address in mail.reply_to] == ["r@example.org", "s@example.org"]


def test_the_files_own_message_id_is_that_of_every_attempt() -> None:
    assert mail_from_eml(letter(head="Message-ID: <1@example.com>")).message_id == "<1@example.com>"


def test_headers_beyond_the_limits_are_dropped_and_those_of_the_thread_first_kept() -> None:
    many = "\n".join(f"X-{number}: {'x' * 500}" for number in range(20))

    mail = mail_from_eml(letter(head=f"{many}\nReferences: <a@b>"))

    assert mail.headers["References"] == "<a@b>"
    assert 5 < len(mail.headers) < 13


def test_a_bad_id_is_refused() -> None:
    with pytest.raises(InvalidMailError, match="id: must have printable"):
        mail_from_eml(letter(), mail_id="a\n")


@pytest.mark.parametrize("levels", [50, 2_000])
def test_parts_within_parts_without_end_do_no_harm(levels: int) -> None:
    body = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(levels))

    with pytest.raises(InvalidMailError):
        mail_from_eml(b"From: a@b.com\nTo: c@d.com\n" + body)


@given(st.binary(max_size=300))
def test_any_bytes_after_a_good_head_are_a_mail_or_refused(data: bytes) -> None:
    try:
        mail = mail_from_eml(b"From: a@b.com\nTo: c@d.com\n" + data)
    except InvalidMailError:
        return
    assert decode(encode(mail)) == mail


@settings(max_examples=50)
@given(st.sampled_from([file.data for file in FILES]), st.data())
def test_a_damaged_file_is_a_mail_or_refused(data: bytes, draw: st.DataObject) -> None:
    damaged = bytearray(data)
    for _ in range(3):
        damaged[draw.draw(st.integers(0, len(damaged) - 1))] = draw.draw(st.integers(0, 255))
    try:
        mail = mail_from_eml(bytes(damaged))
    except InvalidMailError:
        return
    assert decode(encode(mail)) == mail


@settings(max_examples=50)
@given(st.lists(any_addresses, min_size=1, max_size=4, unique_by=lambda address: address.email.lower()))
def test_addresses_that_python_wrote_are_read_back(people: list[Address]) -> None:
    message = EmailMessage()
    message["From"] = "a@b.com"
    message["To"] = ", ".join(_written(person) for person in people)
    message.set_content("hi")

    mail = mail_from_eml(message.as_bytes(policy=email.policy.default))

    assert [address.email for address in mail.to] == [person.email for person in people]


def _written(person: Address) -> str:
    name = (person.name or "").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}" <{person.email}>' if person.name and person.name.isascii() else person.email


def test_a_mail_that_python_wrote_is_read_back_whole() -> None:
    """Python's own generator is the independent writer here."""
    message = EmailMessage()
    message["From"] = "Jörg <a@b.com>"
    message["To"] = "Ann <ann@example.org>"
    message["Subject"] = "Grüße " * 30
    message.set_content("text ä\n", cte="base64")
    message.add_alternative('<img src="cid:x@b"> ö\n', subtype="html", cte="quoted-printable")
    message.add_attachment(PNG, maintype="image", subtype="png", filename="bär.png")

    mail = mail_from_eml(message.as_bytes(), mail_id="a")

    assert mail == Mail(
        id="a",
        from_=Address(email="a@b.com", name="Jörg"),
        to=[Address(email="ann@example.org", name="Ann")],
        subject=("Grüße " * 30).strip(),
        text="text ä\n",
        html='<img src="cid:x@b"> ö\n',
        attachments=mail.attachments,
    )
    [file] = mail.attachments
    assert (file.filename, file.content_type, file.content) == ("bär.png", "image/png", PNG)
