"""Mails that must be refused: as bytes or as JSON's object, with the field and a piece of the reason.

Plain data, so that the same table can be pushed through every door: the model, the command line, HTTP, and a worker
whose producer was bypassed.
"""

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any

import orjson

__all__ = ["BAD_MAILS", "GOOD", "BadMail", "good_with"]

GOOD: dict[str, Any] = {
    "id": "mail-1",
    "from": {"email": "shop@example.com", "name": "Shop"},
    "to": [{"email": "ann@example.org"}],
    "subject": "Your receipt",
    "text": "Thank you.",
}
"""Valid; each bad mail differs from it in one thing."""


@dataclass(frozen=True, slots=True)
class BadMail:
    """One mail that must be refused."""

    name: str
    mail: bytes | dict[str, Any] = field(repr=False)
    where: str
    """The field that the error names; empty for the mail as a whole."""
    why: str
    """A piece of the reason."""
    in_worker: bool = True
    """Whether a worker refuses it too; False where only a producer is strict."""

    @property
    def data(self) -> bytes:
        """What a stranger would send."""
        return self.mail if isinstance(self.mail, bytes) else orjson.dumps(self.mail)


def good_with(**changes: Any) -> dict[str, Any]:
    """Return the good mail with *changes*; `from_` stands for `from`, and None takes a field away."""
    changed = {**GOOD, **{name.rstrip("_"): value for name, value in changes.items()}}
    return {name: value for name, value in changed.items() if value is not None}


def _to(email: str) -> dict[str, Any]:
    return good_with(to=[{"email": email}])


def _file(**changes: Any) -> dict[str, Any]:
    plain = {"filename": "a.txt", "content_type": "text/plain", "content": "aGk="}
    return good_with(attachments=[{key: value for key, value in {**plain, **changes}.items() if value is not None}])


def _many(count: int) -> list[dict[str, str]]:
    return [{"email": f"u{index}@example.org"} for index in range(count)]


_BYTES = [
    BadMail("empty", b"", "", "is empty"),
    BadMail("only spaces", b" \r\n ", "", "is empty"),
    BadMail("a list", b"[]", "", "must be an object"),
    BadMail("a string", b'"x"', "", "must be an object"),
    BadMail("null", b"null", "", "must be an object"),
    BadMail("a number", b"1", "", "must be an object"),
    BadMail("truncated", orjson.dumps(GOOD)[:-1], "", "column"),
    BadMail("trailing garbage", orjson.dumps(GOOD) + b"x", "", "column"),
    BadMail("byte order mark", b"\xef\xbb\xbf" + orjson.dumps(GOOD), "", "byte order mark"),
    BadMail("UTF-16", orjson.dumps(GOOD).decode().encode("utf-16"), "", "UTF-16"),
    BadMail("Latin-1", b'{"subject":"gr\xfc\xdfe"}', "", "not UTF-8 at byte 14"),
    BadMail("random bytes", bytes(range(128, 256)), "", "not UTF-8 at byte 0"),
    BadMail(
        "gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00", "", "not UTF-8"
    ),
    BadMail("10,000 brackets", b"[" * 10_000, "", "not JSON"),
    BadMail("100,000 brackets", b"[" * 100_000, "", "more than 20000"),
    BadMail("100,000 braces", b'{"a":' * 100_000, "", "more than 20000"),
    BadMail("15,000 numbers for addresses", good_with(cc=[1] * 15_000), "cc", "too many entries"),
    BadMail("100,000 numbers", orjson.dumps(good_with(new=[1] * 100_000)), "", "more than 20000"),
    BadMail("10,000 keys", orjson.dumps(good_with(metadata={f"{n}": "" for n in range(10_000)})), "", "20000"),
    BadMail("NaN", b'{"subject":NaN}', "", "not JSON"),
    BadMail("Infinity", b'{"subject":-Infinity}', "", "not JSON"),
    BadMail("lone surrogate", b'{"subject":"\\ud800"}', "", "surrogate"),
    BadMail("repeated key", orjson.dumps(GOOD)[:-1] + b',"subject":"x"}', "subject", "duplicate key", in_worker=False),
    BadMail(
        "repeated key inside",
        orjson.dumps(GOOD)[:-1] + b',"cc":[{"email":"a@example.net","email":"b@example.net"}]}',
        "email",
        "duplicate key",
        in_worker=False,
    ),
    BadMail("beyond 10 MB", orjson.dumps(good_with(text="x" * 10_000_000)), "", "more than 9950000"),
]

_SHAPES = [
    BadMail("unknown field", good_with(subjekt="x"), "subjekt", "not a field", in_worker=False),
    BadMail(
        "unknown field of an address",
        good_with(cc=[{"email": "a@example.net", "nom": "x"}]),
        "cc[0].nom",
        "not a field",
        in_worker=False,
    ),
    BadMail("Python's name of from", {**good_with(from_=None), "from_": GOOD["from"]}, "from", "missing"),
    BadMail("no sender", good_with(from_=None), "from", "missing"),
    BadMail("sender as string", good_with(from_="shop@example.com"), "from", "must be an object"),
    BadMail("two senders", good_with(from_=[GOOD["from"], GOOD["from"]]), "from", "must be an object"),
    BadMail("recipient as string", good_with(to=["ann@example.org"]), "to[0]", "must be an object"),
    BadMail("recipients as object", good_with(to={"email": "ann@example.org"}), "to", "must be a list"),
    BadMail("recipient without address", good_with(to=[{"name": "Ann"}]), "to[0].email", "missing"),
    BadMail("text as number", good_with(text=1), "text", "must be a string"),
    BadMail("html as list", good_with(html=["x"]), "html", "must be a string"),
    BadMail("subject as number", good_with(subject=1e999), "subject", "must be a string"),
    BadMail("headers as list", good_with(headers=[["X-A", "b"]]), "headers", "must be an object"),
    BadMail("metadata with a number", good_with(metadata={"order": 7}), "metadata.order", "must be a string"),
    BadMail("deep metadata", good_with(metadata={"a": [[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]}), "", "levels"),
    BadMail("deep unknown field", good_with(new=[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]), "", "levels"),
    BadMail("unknown choice on doubt", good_with(on_doubt="guess"), "on_doubt", "'ask', 'resend' or 'hold'"),
]

_IDS = [
    BadMail("empty id", good_with(id=""), "id", "1 to 128"),
    BadMail("long id", good_with(id="x" * 129), "id", "not 129"),
    BadMail("id with a line break", good_with(id="a\nb"), "id", "printable"),
    BadMail("id with NUL", good_with(id="a\0"), "id", "printable"),
    BadMail("id as number", good_with(id=7), "id", "must be a string"),
]

_ADDRESSES = [
    BadMail("no @", _to("ann"), "to[0].email", "@-sign"),
    BadMail("nothing before the @", _to("@example.org"), "to[0].email", "no address"),
    BadMail("no domain", _to("ann@"), "to[0].email", "no address"),
    BadMail("empty address", _to(""), "to[0].email", "no address"),
    BadMail("international local part", _to("jörg@example.com"), "to[0].email", "SMTPUTF8"),
    BadMail("full-width local part", _to("\uff41@example.com"), "to[0].email", "SMTPUTF8"),
    BadMail("full-width domain", _to("a@\uff45xample.com"), "to[0].email", "look-alike"),
    BadMail("ideographic full stop", _to("a@example\u3002com"), "to[0].email", "look-alike"),
    BadMail("zero-width space", _to("a@exam\u200bple.com"), "to[0].email", "no address"),
    BadMail(
        "mixed scripts of the sender", good_with(from_={"email": "a@\u0430pple.com"}), "from.email", "mixes scripts"
    ),
    BadMail(
        "mixed scripts in punycode", good_with(from_={"email": "a@xn--pple-43d.com"}), "from.email", "mixes scripts"
    ),
    BadMail("line break in an address", _to("a@example.com\r\nBcc: x@evil.example"), "to[0].email", "no address"),
    BadMail("line break at the end", _to("a@example.com\n"), "to[0].email", "no address"),
    BadMail("quoted local part", _to('"x@gmail.com x"@internal.example'), "to[0].email", "no address"),
    BadMail("parenthesis trick", _to("alice@example.org)bob@example.com"), "to[0].email", "no address"),
    BadMail("comment", _to("a@b.com (c (d) e)"), "to[0].email", "no address"),
    BadMail("group", _to("grp: a@b.com;"), "to[0].email", "no address"),
    BadMail("two addresses in one", _to("a@evil.example,b@good.example"), "to[0].email", "no address"),
    BadMail("name and address in one", _to("Ann <ann@example.org>"), "to[0].email", "no address"),
    BadMail("space around", _to(" ann@example.org"), "to[0].email", "no address"),
    BadMail("local part of 65", _to("x" * 65 + "@example.com"), "to[0].email", "too long"),
    BadMail("label of 64", _to("a@" + "x" * 64 + ".com"), "to[0].email", "so many characters"),
    BadMail("address of 255", _to("a" * 60 + "@" + ".".join(["b" * 47] * 4) + ".de"), "to[0].email", "too long"),
    BadMail("domain literal", _to("a@[127.0.0.1]"), "to[0].email", "no address"),
    BadMail("localhost", _to("a@localhost"), "to[0].email", "no address"),
    BadMail("one label", _to("a@b"), "to[0].email", "no address"),
    BadMail("reserved domain", _to("a@shop.test"), "to[0].email", "no address"),
    BadMail("bad sender", good_with(from_={"email": "shop"}), "from.email", "no address"),
    BadMail("bad reply address", good_with(reply_to=[{"email": "shop"}]), "reply_to[0].email", "no address"),
    BadMail("21 reply addresses", good_with(reply_to=_many(21)), "reply_to", "too many"),
    BadMail(
        "line break in a name", good_with(from_={"email": "a@b.com", "name": "x\r\nBcc: y"}), "from.name", "line breaks"
    ),
    BadMail(
        "line break hidden in a name",
        good_with(to=[{"email": "a@b.com", "name": "=?utf-8?b?DQpCY2M6IHg=?="}]),
        "to[0].name",
        "hides",
    ),
    BadMail("reversed name", good_with(to=[{"email": "a@b.com", "name": "\u202eknab"}]), "to[0].name", "direction"),
    BadMail("isolated name", good_with(to=[{"email": "a@b.com", "name": "a\u2067b"}]), "to[0].name", "direction"),
    BadMail("long name", good_with(to=[{"email": "a@b.com", "name": "x" * 256}]), "to[0].name", "255 characters"),
    BadMail("nobody", good_with(to=None), "to", "at least one recipient"),
    BadMail("empty lists", good_with(to=[], cc=[], bcc=[]), "to", "at least one recipient"),
    BadMail("1,001 recipients", good_with(to=_many(1_001)), "to", "too many"),
    BadMail(
        "1,001 over three lists", good_with(to=_many(1_000), bcc=[{"email": "x@example.net"}]), "to", "1001 recipients"
    ),
    BadMail(
        "same recipient in cc", good_with(cc=[{"email": "ANN@example.org"}]), "cc[0].email", "same recipient as to[0]"
    ),
    BadMail(
        "same recipient in one list", good_with(to=[*_many(3), {"email": "U1@EXAMPLE.ORG"}]), "to[3].email", "as to[1]"
    ),
    BadMail(
        "same recipient in punycode",
        good_with(to=[{"email": "a@bücher.example"}], bcc=[{"email": "a@xn--bcher-kva.example"}]),
        "bcc[0].email",
        "as to[0]",
    ),
]

_TEXTS = [
    BadMail("nothing to say", good_with(text=None), "text", "one of the three"),
    BadMail("empty text", good_with(text="", html=""), "text", "one of the three"),
    BadMail("NUL in the text", good_with(text="a\0b"), "text", "NUL"),
    BadMail("line break in the subject", good_with(subject="hi\r\nBcc: x"), "subject", "line breaks"),
    BadMail("escape in the subject", good_with(subject="\x1b[31mred"), "subject", "control"),
    BadMail("next line in the subject", good_with(subject="a\x85b"), "subject", "line breaks"),
    BadMail("line separator in the subject", good_with(subject="a\u2028b"), "subject", "line breaks"),
    BadMail(
        "line break in an encoded word",
        good_with(subject="=?utf-8?q?hi=0D=0ABcc:_x@evil.example?="),
        "subject",
        "hides",
    ),
    BadMail("line break in base64", good_with(subject="=?utf-8?B?aGkNCkJjYzogeA==?="), "subject", "hides"),
    BadMail("line break in UTF-7", good_with(subject="=?utf-7?q?hi+AA0ACg-Bcc:?="), "subject", "hides"),
    BadMail("encoded twice", good_with(subject="=?utf-8?q?=3D=3Futf-8=3Fq=3F=3D0A=3F=3D?="), "subject", "hides"),
    BadMail("subject of 999 bytes", good_with(subject="x" * 999), "subject", "998"),
    BadMail("subject of 500 umlauts", good_with(subject="ü" * 500), "subject", "998"),
]

_HEADERS = [
    BadMail("header Bcc", good_with(headers={"Bcc": "x@example.net"}), "headers.Bcc", "field of that name"),
    BadMail("header from", good_with(headers={"fRoM": "x@example.net"}), "headers.fRoM", "field of that name"),
    BadMail("header Sender", good_with(headers={"Sender": "x@example.net"}), "headers.Sender", "another sender"),
    BadMail("header DKIM-Signature", good_with(headers={"DKIM-Signature": "v=1"}), "headers.DKIM-Signature", "servers"),
    BadMail("header Content-Type", good_with(headers={"Content-Type": "text/html"}), "headers.Content-Type", "body"),
    BadMail("header Received", good_with(headers={"Received": "from x"}), "headers.Received", "servers"),
    BadMail("header X-SG-EID", good_with(headers={"X-SG-EID": "x"}), "headers.X-SG-EID", "steers"),
    BadMail("header with a space", good_with(headers={"X A": "b"}), "headers", "letters, digits and hyphens"),
    BadMail("header with a colon", good_with(headers={"X-A:": "b"}), "headers", "letters, digits and hyphens"),
    BadMail(
        "header with a line break", good_with(headers={"X-A: b\nX-C": "d"}), "headers", "letters, digits and hyphens"
    ),
    BadMail("header beyond ASCII", good_with(headers={"X-Ä": "b"}), "headers", "letters, digits and hyphens"),
    BadMail("empty header name", good_with(headers={"": "b"}), "headers", "letters, digits and hyphens"),
    BadMail("header twice", good_with(headers={"X-A": "1", "x-a": "2"}), "headers.x-a", "twice"),
    BadMail("line break in a header", good_with(headers={"X-A": "b\r\n c"}), "headers.X-A", "line breaks"),
    BadMail("hidden in a header", good_with(headers={"X-A": "=?utf-8?q?=0A?="}), "headers.X-A", "hides"),
    BadMail("NUL in a header", good_with(headers={"X-A": "b\0"}), "headers.X-A", "control"),
    BadMail("umlaut in a header", good_with(headers={"X-A": "ü"}), "headers.X-A", "ASCII"),
    BadMail("empty header", good_with(headers={"X-A": " "}), "headers.X-A", "is empty"),
    BadMail("header of 996 bytes", good_with(headers={"X-A": "b" * 996}), "headers.X-A", "995"),
    BadMail("51 headers", good_with(headers={f"X-{index}": "b" for index in range(51)}), "headers", "more than 50"),
    BadMail(
        "6,000 bytes of headers", good_with(headers={f"X-{index}": "b" * 990 for index in range(7)}), "headers", "6000"
    ),
    BadMail(
        "Message-ID without brackets",
        good_with(headers={"Message-ID": "a@b.c"}),
        "headers.Message-ID",
        "<local@domain>",
    ),
    BadMail(
        "Message-ID of two",
        good_with(headers={"message-id": "<a@b.c> <d@e.f>"}),
        "headers.message-id",
        "<local@domain>",
    ),
]

_FILES = [
    BadMail("no base64", _file(content="#not base64#"), "attachments[0].content", "not base64"),
    BadMail("base64 with line breaks", _file(content="aGk=\n"), "attachments[0].content", "line breaks"),
    BadMail("base64 without padding", _file(content="aGk"), "attachments[0].content", "padding"),
    BadMail("data URL", _file(content="data:text/plain;base64,aGk="), "attachments[0].content", "data: URL"),
    BadMail("content as number", _file(content=5), "attachments[0].content", "base64 string"),
    BadMail("no content", _file(content=None), "attachments[0].content", "missing"),
    BadMail(
        "web URL", _file(content=None, url="http://169.254.169.254/"), "attachments[0].url", "URLs are not fetched"
    ),
    BadMail("file URL", _file(url="file:///etc/passwd"), "attachments[0].url", "URLs are not fetched"),
    BadMail("no file name", _file(filename=None), "attachments[0].filename", "missing"),
    BadMail("empty file name", _file(filename=""), "attachments[0].filename", "is empty"),
    BadMail("file name with a path", _file(filename="../../etc/passwd"), "attachments[0].filename", "without a path"),
    BadMail("file name with a backslash", _file(filename="c:\\con.exe"), "attachments[0].filename", "without a path"),
    BadMail("file name with a line break", _file(filename="a\r\nX: y"), "attachments[0].filename", "line breaks"),
    BadMail("file name reversed", _file(filename="a\u202egpj.exe"), "attachments[0].filename", "direction"),
    BadMail("file name of 300", _file(filename="x" * 300), "attachments[0].filename", "255"),
    BadMail("no content type", _file(content_type=None), "attachments[0].content_type", "missing"),
    BadMail("content type of one word", _file(content_type="text"), "attachments[0].content_type", "type/subtype"),
    BadMail(
        "content type with a line break",
        _file(content_type="text/plain\r\nX: y"),
        "attachments[0].content_type",
        "type/subtype",
    ),
    BadMail("multipart attachment", _file(content_type="multipart/mixed"), "attachments[0].content_type", "multipart"),
    BadMail("content id in brackets", _file(content_id="<logo>"), "attachments[0].content_id", "without spaces and <>"),
    BadMail(
        "content id twice",
        good_with(attachments=[_file(content_id="a")["attachments"][0]] * 2),
        "attachments[0].content_id",
        "twice",
    ),
    BadMail("101 attachments", good_with(attachments=_file()["attachments"] * 101), "attachments", "too many"),
    BadMail(
        "8 MB of file",
        good_with(attachments=[{**_file()["attachments"][0], "content": b64encode(bytes(7_470_000)).decode()}]),
        "",
        "more than 9950000",
    ),
]

_LABELS = [
    BadMail("11 tags", good_with(tags=[f"t{index}" for index in range(11)]), "tags", "too many"),
    BadMail("tag of 129", good_with(tags=["x" * 129]), "tags[0]", "128"),
    BadMail("empty tag", good_with(tags=[""]), "tags[0]", "1 to 128"),
    BadMail("tag beyond ASCII", good_with(tags=["ok", "grün"]), "tags[1]", "ASCII"),
    BadMail("tag with a line break", good_with(tags=["a\nb"]), "tags[0]", "printable"),
    BadMail("tag twice", good_with(tags=["a", "b", "A"]), "tags[2]", "twice"),
    BadMail("tag twice, capital first", good_with(tags=["A", "b", "a"]), "tags[2]", "twice"),
    BadMail("tag as object", good_with(tags=[{"name": "a"}]), "tags[0]", "must be a string"),
    BadMail("tags as string", good_with(tags="a"), "tags", "must be a list"),
    BadMail("51 metadata", good_with(metadata={f"k{index}": "v" for index in range(51)}), "metadata", "more than 50"),
    BadMail("metadata key with a space", good_with(metadata={"a b": "c"}), "metadata", "A-Z a-z 0-9"),
    BadMail("long metadata key", good_with(metadata={"k" * 65: "v"}), "metadata", "1 to 64"),
    BadMail("metadata of 501", good_with(metadata={"k": "v" * 501}), "metadata.k", "500"),
    BadMail("metadata with a line break", good_with(metadata={"k": "a\nb"}), "metadata.k", "line breaks"),
    BadMail(
        "9,000 bytes of metadata",
        good_with(metadata={f"k{index}": "v" * 450 for index in range(20)}),
        "metadata",
        "8000",
    ),
    BadMail("our own key", good_with(metadata={"mail_id": "x"}), "metadata.mail_id", "reserved"),
    BadMail("a provider's key", good_with(metadata={"Email": "x"}), "metadata.Email", "reserved"),
    BadMail("empty tenant", good_with(tenant=""), "tenant", "1 to 64"),
    BadMail("tenant with a tab", good_with(tenant="a\tb"), "tenant", "printable"),
]

_TIMES = [
    BadMail("date without zone", good_with(send_at="2026-01-31T12:00:00"), "send_at", "zone"),
    BadMail("no such day", good_with(send_at="2026-02-30T12:00:00Z"), "send_at", "date and time"),
    BadMail("date only", good_with(send_at="2026-01-31"), "send_at", "date and time"),
    BadMail("time as number", good_with(send_at=1767225600), "send_at", "date and time"),
    BadMail("time as number in a string", good_with(expires_at="1767225600"), "expires_at", "date and time"),
    BadMail("year 9999", good_with(expires_at="9999-12-31T23:59:59Z"), "expires_at", "2000 and 2100"),
    BadMail("year 1", good_with(expires_at="0001-01-01T00:00:00+14:00"), "expires_at", "2000 and 2100"),
    BadMail("zone of 25 hours", good_with(expires_at="2026-01-31T12:00:00+25:00"), "expires_at", "date and time"),
    BadMail(
        "expires before it is sent",
        good_with(send_at="2026-01-31T12:00:00Z", expires_at="2026-01-31T12:00:00Z"),
        "expires_at",
        "not after send_at",
    ),
]

BAD_MAILS = (*_BYTES, *_SHAPES, *_IDS, *_ADDRESSES, *_TEXTS, *_HEADERS, *_FILES, *_LABELS, *_TIMES)
