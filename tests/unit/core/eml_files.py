"""Mail files as other programs write them, with what a reader sees in them, put down by hand."""

from base64 import encodebytes
from dataclasses import dataclass, field

__all__ = ["BAD_FILES", "FILES", "PNG", "BadFile", "File", "letter"]

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452") + bytes(range(256))
_PNG64 = encodebytes(PNG)

_TO = ["ann@example.org"]


@dataclass(frozen=True, slots=True)
class File:
    """One file, and the mail that it is."""

    name: str
    data: bytes = field(repr=False)
    subject: str = "S"
    text: str = ""
    html: str = ""
    sender: tuple[str, str | None] = ("shop@example.com", None)
    recipients: list[str] = field(default_factory=lambda: list(_TO))
    names: list[str | None] | None = None
    attachments: list[tuple[str, str, bytes, str | None]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BadFile:
    """One file that cannot be sent as it was meant."""

    name: str
    data: bytes = field(repr=False)
    where: str
    why: str


def letter(
    body: str | bytes = "hi\n", *, head: str | bytes = "", sender: str = "shop@example.com", to: str = "ann@example.org"
) -> bytes:
    """Return a file with Windows line ends: *head* stands before the body, without a line end of its own."""
    raw_head = head.encode() if isinstance(head, str) else head
    raw_body = body.encode() if isinstance(body, str) else body
    start = b"".join(
        line + b"\n" for line in (f"From: {sender}".encode(), f"To: {to}".encode() if to else b"", raw_head) if line
    )
    if b"subject:" not in start.lower():
        start += b"Subject: S\n"
    return (start + b"\n" + raw_body).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _typed(kind: str, body: str | bytes, encoding: str = "8bit", head: str = "") -> bytes:
    lines = f"MIME-Version: 1.0\nContent-Type: {kind}\nContent-Transfer-Encoding: {encoding}"
    return letter(body, head=f"{head}\n{lines}" if head else lines)


def _multi(kind: str, *parts: bytes, boundary: str = "b1") -> bytes:
    return _typed(f'multipart/{kind}; boundary="{boundary}"', _joined(boundary, *parts), "7bit")


def _joined(boundary: str, *parts: bytes) -> bytes:
    line = b"--" + boundary.encode()
    return b"preamble\n" + b"".join(line + b"\n" + part + b"\n" for part in parts) + line + b"--\nepilogue\n"


def _part(kind: str, body: bytes, *head: str) -> bytes:
    return "\n".join([f"Content-Type: {kind}", *head, "", ""]).encode() + body


_TEXT = _part("text/plain; charset=utf-8", b"text")
_HTML = _part("text/html; charset=utf-8", b"<p>html</p>")
_IMAGE = _part(
    "image/png; name=logo.png", _PNG64, "Content-Transfer-Encoding: base64", "Content-ID: <logo@example.com>"
)
_SHOWN = _part("text/html; charset=utf-8", b'<img src="cid:logo@example.com">')
_PDF = _part(
    "application/pdf",
    _PNG64,
    "Content-Transfer-Encoding: base64",
    'Content-Disposition: attachment; filename="a b.pdf"',
)
_INNER = b"From: x@example.net\nSubject: inner\nX-Odd:no space\n\ninner text\n--\nsignature\n"


def _named(disposition: str, kind: str = "application/octet-stream") -> bytes:
    return _multi("mixed", _TEXT, _part(kind, b"x", f"Content-Disposition: attachment;{disposition}"))


def _with_file(name: str, file: tuple[str, str, bytes, str | None], data: bytes) -> File:
    return File(name, data, text="text", attachments=[file])


_BIN = "application/octet-stream"

FILES = (
    File("plain", letter("hi\nthere\n"), text="hi\nthere\n"),
    File(
        "no MIME at all, unix line ends",
        b"From: shop@example.com\nTo: ann@example.org\n\nhi\n",
        subject="",
        text="hi\n",
    ),
    File("UTF-8, 8bit", _typed("text/plain; charset=utf-8", "grüße 📧\n"), text="grüße 📧\n"),
    File(
        "Latin-1, quoted-printable",
        _typed("text/plain; charset=ISO-8859-1", "gr=FC=DFe =\nweit\n", "quoted-printable"),
        text="grüße weit\n",
    ),
    File("Windows-1252, 8bit", _typed("text/plain; charset=windows-1252", "5 €\n".encode("cp1252")), text="5 €\n"),
    File(
        "Shift_JIS, base64",
        _typed("text/plain; charset=Shift_JIS", encodebytes("日本語①\n".encode("cp932")), "base64"),
        text="日本語①\n",
    ),
    File(
        "ISO-2022-JP",
        _typed("text/plain; charset=ISO-2022-JP", "日本語\n".encode("iso2022_jp"), "7bit"),
        text="日本語\n",
    ),
    File("GB2312 with GBK characters", _typed("text/plain; charset=gb2312", "中文镕\n".encode("gbk")), text="中文镕\n"),
    File("KOI8-R", _typed("text/plain; charset=koi8-r", "Привет\n".encode("koi8-r")), text="Привет\n"),
    File("EUC-KR", _typed("text/plain; charset=ks_c_5601-1987", "한국어\n".encode("cp949")), text="한국어\n"),
    File(
        "UTF-16, base64",
        _typed("text/plain; charset=utf-16", encodebytes("hé\n".encode("utf-16")), "base64"),
        text="hé\n",
    ),
    File("no charset but UTF-8", _typed("text/plain", "grün\n"), text="grün\n"),
    File("unknown charset but UTF-8", _typed("text/plain; charset=x-unknown", "grün\n"), text="grün\n"),
    File("HTML only", _typed("text/html; charset=utf-8", "<p>hi</p>\n"), html="<p>hi</p>\n"),
    File("alternative", _multi("alternative", _TEXT, _HTML), text="text", html="<p>html</p>"),
    File("alternative, HTML first", _multi("alternative", _HTML, _TEXT), text="text", html="<p>html</p>"),
    File(
        "alternative with an invitation",
        _multi("alternative", _TEXT, _HTML, _part("text/calendar; method=REQUEST", b"BEGIN:VCALENDAR")),
        text="text",
        html="<p>html</p>",
        attachments=[("part-1.ics", "text/calendar", b"BEGIN:VCALENDAR", None)],
    ),
    _with_file("mixed with a file", ("a b.pdf", "application/pdf", PNG, None), _multi("mixed", _TEXT, _PDF)),
    File(
        "related with an image",
        _multi("related", _SHOWN, _IMAGE),
        html='<img src="cid:logo@example.com">',
        attachments=[("logo.png", "image/png", PNG, "logo@example.com")],
    ),
    File(
        "image that the HTML does not show",
        _multi("related", _HTML, _IMAGE),
        html="<p>html</p>",
        attachments=[("logo.png", "image/png", PNG, None)],
    ),
    File(
        "the same image twice",
        _multi("related", _SHOWN, _IMAGE, _IMAGE),
        html='<img src="cid:logo@example.com">',
        attachments=[("logo.png", "image/png", PNG, "logo@example.com"), ("logo.png", "image/png", PNG, None)],
    ),
    File(
        "mixed, alternative and related within each other",
        _multi(
            "mixed",
            _part(
                "multipart/alternative; boundary=b2",
                _joined("b2", _TEXT, _part("multipart/related; boundary=b3", _joined("b3", _SHOWN, _IMAGE))),
            ),
            _PDF,
        ),
        text="text",
        html='<img src="cid:logo@example.com">',
        attachments=[("logo.png", "image/png", PNG, "logo@example.com"), ("a b.pdf", "application/pdf", PNG, None)],
    ),
    File(
        "footer after the text",
        _multi("mixed", _TEXT, _part("text/plain", b"footer")),
        text="text",
        attachments=[("part-1.txt", "text/plain", b"footer", None)],
    ),
    File(
        "attached text keeps its bytes and names its charset",
        _multi(
            "mixed",
            _TEXT,
            _part("text/csv; charset=ISO-8859-1", b"gr\xfcn;1", "Content-Disposition: attachment; filename=a.csv"),
        ),
        text="text",
        attachments=[("a.csv", "text/csv; charset=iso-8859-1", b"gr\xfcn;1", None)],
    ),
    File(
        "attached mail is a file",
        _multi("mixed", _TEXT, _part("message/rfc822", _INNER)),
        text="text",
        attachments=[("part-1.eml", "message/rfc822", _INNER.replace(b"\n", b"\r\n"), None)],
    ),
    File(
        "attached mail with parts of its own is not taken apart",
        _multi("mixed", _TEXT, _part("message/rfc822", _multi("mixed", _TEXT, _PDF, boundary="b9"))),
        text="text",
        attachments=[("part-1.eml", "message/rfc822", _multi("mixed", _TEXT, _PDF, boundary="b9"), None)],
    ),
    _with_file(
        "empty file",
        ("empty.txt", "text/plain", b"", None),
        _multi("mixed", _TEXT, _part("text/plain", b"", "Content-Disposition: attachment; filename=empty.txt")),
    ),
    _with_file("file without a name", ("part-1.bin", _BIN, b"x", None), _named(" ")),
    _with_file(
        "file name in UTF-8 by RFC 2231",
        ("grüße.bin", _BIN, b"x", None),
        _named(" filename*=utf-8''gr%C3%BC%C3%9Fe.bin"),
    ),
    _with_file(
        "file name in pieces by RFC 2231",
        ("a long name €.bin", _BIN, b"x", None),
        _named("\n filename*0*=utf-8''a%20long;\n filename*1=\" name \";\n filename*2*=%E2%82%AC.bin"),
    ),
    _with_file(
        "file name as encoded word", ("grün.bin", _BIN, b"x", None), _named(' filename="=?utf-8?q?gr=C3=BCn.bin?="')
    ),
    _with_file("file name in raw UTF-8", ("grün.bin", _BIN, b"x", None), _named(' filename="grün.bin"')),
    _with_file("file name with a path", ("evil.exe", _BIN, b"x", None), _named(r' filename="..\\..\\evil.exe"')),
    _with_file("file name reversed", ("agpj.exe", _BIN, b"x", None), _named(" filename*=utf-8''a%E2%80%AEgpj.exe")),
    _with_file("file name of dots", ("part-1.bin", _BIN, b"x", None), _named(' filename=".."')),
    _with_file("file name of 300", ("x" * 251 + ".pdf", _BIN, b"x", None), _named(f' filename="{"x" * 300}.pdf"')),
    _with_file("content type of nonsense", ("a", "text/plain", b"x", None), _named(" filename=a", kind="nonsense")),
    File(
        "encoded subject",
        letter(head="Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe,_?= =?utf-8?B?8J+Tpw==?= ok"),
        subject="Grüße, 📧 ok",
        text="hi\n",
    ),
    File(
        "character cut in two", letter(head="Subject: =?utf-8?B?SsM=?=\n =?utf-8?B?tnJn?="), subject="Jörg", text="hi\n"
    ),
    File("folded subject", letter(head="Subject: one,\n two,\n\tthree"), subject="one, two, three", text="hi\n"),
    File("raw UTF-8 subject", letter(head="Subject: grün"), subject="grün", text="hi\n"),
    File("raw Latin-1 subject", letter(head=b"Subject: gr\xfcn"), subject="grün", text="hi\n"),
    File(
        "name with comma and quotes",
        letter(sender='"Shop, \\"Inc.\\"" <shop@example.com>'),
        sender=("shop@example.com", 'Shop, "Inc."'),
        text="hi\n",
    ),
    File(
        "encoded name",
        letter(sender="=?iso-8859-1?Q?J=F6rg?= B. <shop@example.com>"),
        sender=("shop@example.com", "Jörg B."),
        text="hi\n",
    ),
    File(
        "address as name",
        letter(sender="shop@example.com <shop@example.com>"),
        sender=("shop@example.com", "shop@example.com"),
        text="hi\n",
    ),
    File(
        "quoted address as name",
        letter(sender='"ceo@bank.example" <shop@example.com>'),
        sender=("shop@example.com", "ceo@bank.example"),
        text="hi\n",
    ),
    File(
        "name in a comment",
        letter(sender="shop@example.com (The (old) Shop)"),
        sender=("shop@example.com", "The (old) Shop"),
        text="hi\n",
    ),
    File(
        "several of all kinds",
        letter(
            to='Ann <ann@example.org>, "B, b" <b@example.org>,\n c@example.org,',
            head="Cc: d@example.org\nBcc: E <e@example.org>",
        ),
        recipients=["ann@example.org", "b@example.org", "c@example.org", "d@example.org", "e@example.org"],
        names=["Ann", "B, b", None, None, "E"],
        text="hi\n",
    ),
    File(
        "same recipient in To and Cc",
        letter(head="Cc: ANN@example.org, x@example.org"),
        recipients=["ann@example.org", "x@example.org"],
        text="hi\n",
    ),
    File("nobody but Bcc", letter(to="undisclosed-recipients:;", head="Bcc: ann@example.org"), text="hi\n"),
    File("international domain", letter(to="a@bücher.example"), recipients=["a@xn--bcher-kva.example"], text="hi\n"),
    File(
        "headers kept and dropped",
        letter(
            head="Received: from x by y\nDate: Mon, 1 Jan 2026 00:00:00 +0000\n"
            "Message-Id: <1@example.com>\nReferences: <a@b>\n <c@d>\n"
            "Sender: other@example.com\nReturn-Path: <x@example.com>\nDKIM-Signature: v=1\nResent-To: z@example.com\n"
            "List-Unsubscribe: <https://example.com/u>\nX-Order: 7\nX-Order: 8\n"
            "X-Raw: grün\nX-SG-EID: 1\nX-Inject: =?utf-8?q?=0A?="
        ),
        text="hi\n",
        headers={
            "Message-Id": "<1@example.com>",
            "References": "<a@b> <c@d>",
            "List-Unsubscribe": "<https://example.com/u>",
            "X-Order": "7",
        },
    ),
    File("odd Message-ID is dropped", letter(head="Message-ID: no brackets"), text="hi\n"),
    File("line of a mailbox file first", b"From shop@example.com Mon Jan  1 00:00:00 2026\n" + letter(), text="hi\n"),
    File("uuencoded", _typed("text/plain", "begin 644 a\n#:&D*\n`\nend\n", "x-uuencode"), text="hi\n"),
)

BAD_FILES = (
    BadFile("empty", b"", "", "is empty"),
    BadFile("no file of a mail", b'{"from": 1}', "From", "is missing"),
    BadFile("no text at all", bytes(range(256)), "", "among its headers"),
    BadFile("no sender", b"To: ann@example.org\n\nhi\n", "From", "is missing"),
    BadFile("two senders", letter(sender="a@example.com, b@example.com"), "From", "2 addresses"),
    BadFile("From twice", letter(head="From: b@example.com"), "From", "2 times"),
    BadFile("Subject twice", letter(head="Subject: a\nsubject: b"), "Subject", "2 times"),
    BadFile("nobody", letter(to=""), "To", "nobody"),
    BadFile("undisclosed nobody", letter(to="undisclosed-recipients:;"), "To", "nobody"),
    BadFile("group", letter(to="team: a@example.org, b@example.org;"), "To", "group"),
    BadFile("bad address", letter(to="ann@example.org, broken"), "To[1].email", "@-sign"),
    BadFile("international local part", letter(to="jörg@example.org"), "To[0].email", "SMTPUTF8"),
    BadFile("parenthesis trick", letter(to="alice@example.org)bob@example.com"), "To", "without doubt"),
    BadFile("comment within", letter(to="alice(x)@example.org"), "To[0]", "not of the form"),
    BadFile("quoted local part", letter(to='"x@gmail.com x"@example.org'), "To[0]", "not of the form"),
    BadFile("address before another", letter(to="a@evil.example <b@good.example>"), "To[0]", "in quotes"),
    BadFile("two in brackets", letter(to="A <a@b.example> <c@d.example>"), "To[0]", "not of the form"),
    BadFile("comma in brackets", letter(to="A <a@b.example,c@d.example>"), "To", "without doubt"),
    BadFile("open quote", letter(to='"Ann <ann@example.org>'), "To", "without doubt"),
    BadFile(
        "line break hidden in the subject", letter(head="Subject: =?utf-8?q?hi=0D=0ABcc:_x?="), "subject", "line breaks"
    ),
    BadFile(
        "line break hidden in a name", letter(to="=?utf-8?q?a=0Ab?= <ann@example.org>"), "To[0].name", "line breaks"
    ),
    BadFile("bare carriage return", b"From: a@b.com\rBcc: x@y.com\nTo: ann@example.org\n\nhi", "", "carriage return"),
    BadFile("line that is no header", letter(head="X-A: b\nno header"), "", "among its headers"),
    BadFile("nothing to say", letter(""), "text", "one of the three"),
    BadFile("charset that does not fit", _typed("text/plain; charset=utf-8", b"gr\xfcn"), "text", "charset"),
    BadFile("multipart without boundary", _typed("multipart/mixed", "x"), "Content-Type", "no boundary"),
    BadFile("multipart without parts", _typed("multipart/mixed; boundary=b", "x"), "Content-Type", "no parts"),
    BadFile("cut off", _multi("mixed", _TEXT, _PDF)[:-40], "Content-Type", "cut off"),
    BadFile("base64 cut off", _typed("text/plain", "aGkga", "base64"), "Content-Type", "base64"),
    BadFile("encrypted", _multi("encrypted", _TEXT), "Content-Type", "encrypted"),
    BadFile("NUL in the text", letter("a\0b"), "text", "NUL"),
    BadFile("101 files", _multi("mixed", *[_PDF] * 101), "attachments", "too many"),
    BadFile("30 MB", letter(b"x" * 30_000_000), "", "bytes"),
)
