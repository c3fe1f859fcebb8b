"""The mail files of CPython's own tests: each is a mail, or refused for a reason that is written down here.

They lie in the standard library's test package, which some installations leave out. What the accepted ones hold was
read from the files by hand; pieces of files are compared with the raw bytes around them.
"""

from base64 import b64decode
from importlib.util import find_spec
from pathlib import Path

import pytest

from postman.core.eml import mail_from_eml
from postman.core.mail import Mail
from postman.errors import InvalidMailError


def _data() -> Path | None:
    spec = find_spec("test")
    places = [Path(place) / "test_email" / "data" for place in spec.submodule_search_locations or ()] if spec else []
    return next((place for place in places if place.is_dir()), None)


DATA = _data()
pytestmark = pytest.mark.skipif(DATA is None, reason="this Python has no test package of its own")

REFUSED = {
    "msg_05": ("From[0].email", "@-sign"),  # From: foo
    "msg_08": ("text", "one of the three"),  # five empty parts
    "msg_09": ("text", "one of the three"),
    "msg_11": ("From", "is missing"),
    "msg_12": ("text", "one of the three"),
    "msg_12a": ("text", "one of the three"),
    "msg_15": ("To[0].email", "@-sign"),
    "msg_17": ("Content-Type", "no parts"),  # the boundary that it names is not in it
    "msg_18": ("From", "is missing"),
    "msg_19": ("", "among its headers"),  # a body without headers
    "msg_20": ("Cc", "3 times"),
    "msg_23": ("To", "nobody"),
    "msg_24": ("text", "one of the three"),
    "msg_25": ("To", "2 times"),  # a second set of headers
    "msg_26": ("From[0].email", "special-use"),  # a domain in .local
    "msg_28": ("To", "nobody"),
    "msg_30": ("To", "nobody"),
    "msg_31": ("To", "nobody"),
    "msg_35": ("", "among its headers"),  # no empty line before the body
    "msg_36": ("To", "nobody"),
    "msg_37": ("From", "is missing"),
    "msg_38": ("From", "is missing"),
    "msg_39": ("From", "is missing"),
    "msg_40": ("From", "is missing"),
    "msg_41": ("Content-Type", "no boundary"),
    "msg_43": ("From[0].email", "@-sign"),
    "msg_47": ("To", "nobody"),
}

ACCEPTED = {
    "msg_01": "This is a test message",
    "msg_02": "Ppp digest, Vol 1 #2 - 5 msgs",
    "msg_03": "This is a test message",
    "msg_04": "a simple multipart",
    "msg_06": "forwarded message from Barry A. Warsaw",
    "msg_07": "Here is your dingus fish",
    "msg_10": "Lyrics",
    "msg_13": "Here is your dingus fish",
    "msg_14": "This is a test message",
    "msg_16": "Delivery Notification: Delivery has failed",
    "msg_21": "Test",
    "msg_22": "",
    "msg_27": "bug demonstration 1234567891",
    "msg_29": "This is a test message",
    "msg_32": "Re: Limiting Perl CPU Utilization...",
    "msg_33": "Re: Limiting Perl CPU Utilization...",
    "msg_34": "",
    "msg_42": "",
    "msg_44": "a simple multipart",
    "msg_45": "test",
    "msg_46": "GroupwiseForwardingTest",
}


def raw(name: str) -> bytes:
    assert DATA is not None
    return (DATA / f"{name}.txt").read_bytes()


def mail(name: str) -> Mail:
    return mail_from_eml(raw(name), mail_id=name)


def between(name: str, start: bytes, end: bytes) -> bytes:
    """Return the raw bytes after the first *start* up to the next *end*."""
    return raw(name).split(start, 1)[1].split(end, 1)[0]


def test_files_of_newer_pythons_are_mails_or_refused_too() -> None:
    assert DATA is not None
    known = {path.stem for path in DATA.glob("msg_*.txt")}

    assert len(known) > 40
    for name in known - REFUSED.keys() - ACCEPTED.keys():
        try:
            assert mail(name).recipients
        except InvalidMailError:
            continue


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    field, problem = REFUSED[name]

    with pytest.raises(InvalidMailError, match=problem) as refusal:
        mail(name)

    assert refusal.value.field == field


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name: str) -> None:
    assert mail(name).subject.startswith(ACCEPTED[name])
    assert len(mail(name).recipients) == 1


def test_a_plain_letter() -> None:
    found = mail("msg_01")

    assert (found.from_.email, found.from_.name) == ("bbb@ddd.com", "John X. Doe")
    assert found.to[0].email == "bbb@zzz.org"
    assert found.text == "\nHi,\n\nDo you like this message?\n\n-Me\n"
    assert found.message_id == "<15090.61304.110929.45684@aaa.zzz.org>"


def test_without_mime_headers_it_is_the_same_letter() -> None:
    assert mail("msg_03").text == mail("msg_01").text == mail("msg_29").text


def test_a_content_type_without_subtype_is_text() -> None:
    assert mail("msg_14").text.startswith("\nHi,\n\nI'm sorry but I'm using a drainbread ISP")


def test_a_long_subject_is_one_line() -> None:
    parts = mail("msg_27").subject.split(" ")

    assert parts[:2] + parts[-2:] == ["bug", "demonstration", "more", "text"]
    assert parts[2:-2] == [between("msg_27", b"bug demonstration\n\t", b"\n").decode()]


@pytest.mark.parametrize("name", ["msg_07", "msg_13"])
def test_the_dingus_fish_swims_unharmed(name: str) -> None:
    found = mail(name)
    fish = found.attachments[-1]

    assert (fish.filename, fish.content_type) == ("dingusfish.gif", "image/gif")
    assert fish.content == b64decode(between(name, b'filename="dingusfish.gif"\n\n', b"\n--BOUNDARY"))
    assert (found.to[0].name, found.to[0].email) == ("Dingus Lovers", "cravindogs@cravindogs.com")


def test_parts_within_parts_stay_in_their_order() -> None:
    found = mail("msg_13")

    assert found.text == "A text/plain part\n"
    assert found.attachments[0].content == b"Hi there,\n\nThis is the dingus fish.\n"


def test_named_texts_are_files() -> None:
    files = mail("msg_04").attachments

    assert [part.filename for part in files] == ["msg.txt", "msg.txt"]
    assert files[0].content == b"a simple kind of mirror\nto reflect upon our own\n"


def test_every_transfer_encoding_is_undone() -> None:
    found = mail("msg_10")

    assert found.text == "This is a 7bit encoded message.\n"
    assert found.html == "\u00a1This is a Quoted Printable encoded message!\n"
    assert [part.content for part in found.attachments] == [
        b"This is a Base64 encoded message.",
        b"This is a Base64 encoded message.\n",
        b"This has no Content-Transfer-Encoding: header.\n",
    ]


def test_a_digest_is_its_masthead_and_its_mails_as_files() -> None:
    files = mail("msg_02").attachments

    assert [part.content_type for part in files][1:6] == ["message/rfc822"] * 5
    assert files[1].content == between("msg_02", b"--__--__--\n\n", b"\n--__--__--")
    assert files[6].content.startswith(b"_____")


def test_a_forwarded_mail_is_a_file_with_its_bytes() -> None:
    [forwarded] = mail("msg_06").attachments
    assert forwarded.content == raw("msg_06").split(b"\n\n", 1)[1]

    [digest_entry] = mail("msg_34").attachments
    assert digest_entry.content == b"From: cperson@dom.ain\nTo: dperson@dom.ain\n\nA submessage\n"

    [wrapped] = mail("msg_46").attachments
    assert wrapped.content == raw("msg_46").split(b"\n\n", 1)[1]


def test_a_bounce_keeps_report_and_original() -> None:
    found = mail("msg_16")

    assert [part.content_type for part in found.attachments] == ["message/delivery-status", "message/rfc822"]
    assert found.headers["List-Id"] == "SoCal-Raves <scr.socal-raves.org>"
    assert "Sender" not in found.headers
    assert "Received" not in found.headers


def test_images_with_odd_content_ids_are_files() -> None:
    files = mail("msg_22").attachments
    start = b'filename="wibble.JPG"\nContent-Transfer-Encoding: base64\n\n'

    assert [part.filename for part in files] == ["wibble.JPG", "wibble2.JPG", "part-3.txt"]
    assert files[0].content == b64decode(between("msg_22", start, b"\n--="))
    assert files[0].content_id is None


def test_a_charset_by_rfc_2231_is_read() -> None:
    assert mail("msg_32").text == "Some message.\n"
    assert mail("msg_33").attachments[0].content == b"part 2\n"


def test_a_signature_is_a_file() -> None:
    [signature] = mail("msg_45").attachments

    assert (signature.filename, signature.content_type) == ("signature.asc", "application/pgp-signature")
    assert signature.content.startswith(b"-----BEGIN PGP SIGNATURE-----\nVersion: GnuPG v2.0.6")
