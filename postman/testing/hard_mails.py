"""Mails that providers' adapters get wrong, by name: for the tests of any adapter."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from postman.core.mail import Address, Attachment, Mail

__all__ = ["HARD_MAILS"]

_ANN: Final = {"email": "ann@example.org"}
_BOB: Final = {"email": "bob@example.org"}
_EVE: Final = {"email": "eve@example.org"}
_BASE: Final[Mapping[str, Any]] = {
    "id": "hard",
    "from": {"email": "shop@mg.example.org"},
    "to": [_ANN],
    "subject": "Hello",
    "text": "Hi",
}


def _file(filename: str, content: bytes, kind: str, content_id: str | None = None) -> dict[str, object]:
    return {"filename": filename, "content": content, "content_type": kind, "content_id": content_id}


def _mail(fields: Mapping[str, Any]) -> Mail:
    plain: dict[str, Any] = {**_BASE, **fields}
    for name in ("to", "cc", "bcc", "reply_to"):
        plain[name] = tuple(Address(**each) for each in plain.get(name, ()))
    plain["from"] = Address(**plain["from"])
    plain["attachments"] = tuple(Attachment(**each) for each in plain.get("attachments", ()))
    return Mail(**plain)


_FIELDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "plain": {},
    "quoted name": {"to": [{**_ANN, "name": 'Zoë "Z" O\'Brien, Ltd.; Käufer \\ Söhne <x@example.org>'}]},
    "international domains": {
        "from": {"email": "shop@bücher.example"},
        "to": [{"email": "ann@bücher.example"}],
        "reply_to": [{"email": "desk@bücher.example"}],
    },
    "long name": {"to": [{**_ANN, "name": "Ж" * 200}]},
    "long subject": {"subject": "Receipts, of May, June, July" + ", and so on" * 10},
    "empty subject": {"subject": ""},
    "one reply-to": {"reply_to": [_BOB]},
    "two reply-tos": {"reply_to": [{**_ANN, "name": "A, B"}, _BOB]},
    "the same reply-to twice": {"reply_to": [_BOB, {"email": "bob@example.org", "name": "Bob"}]},
    "all kinds of recipients": {"cc": [_BOB], "bcc": [_EVE]},
    "only cc and bcc": {"to": [], "cc": [_BOB], "bcc": [_EVE]},
    "only HTML": {"text": "", "html": "<p>Hi"},
    "text and HTML": {"html": "<p>Hi"},
    "only an attachment": {"text": "", "attachments": [_file("a.bin", b"a", "application/octet-stream")]},
    "international filename": {"attachments": [_file("Übersicht 2026.pdf", b"%PDF", "application/pdf")]},
    "empty attachment": {"attachments": [_file("empty.txt", b"", "text/plain")]},
    "attachment in another charset": {
        "attachments": [_file("a.txt", "Zoë".encode("latin-1"), "text/plain; charset=iso-8859-1")]
    },
    "attachment in no charset": {"attachments": [_file("a.txt", b"\xff\xfe", "text/plain; charset=no-such-charset")]},
    "attachment with bytes of any kind": {
        "attachments": [_file("a.bin", bytes(range(256)), "application/octet-stream")]
    },
    "inline image": {
        "html": '<img src="cid:logo@shop">',
        "attachments": [_file("logo.png", b"\x89PNG\r\n\x1a\n\x00", "image/png", "logo@shop")],
    },
    "inline image with a slash in its id": {"attachments": [_file("logo.png", b"\x89PNG", "image/png", "a/b")]},
    "extension that lies": {"attachments": [_file("a.pdf", b"x", "text/csv")]},
    "international metadata": {"metadata": {"order": "1042", "city": "Zürich"}},
    "three tags": {"tags": ["receipt", "shop", "eu"]},
    "four tags": {"tags": ["a", "b", "c", "d"]},
    "own headers": {"headers": {"message-id": "<order-1042@shop.example>", "X-Order": "1042"}},
    "international id": {"id": "Bestellung Nr. 1042 für Zoë"},
    "id with quotes": {"id": "a\"b'c\\d"},
    "to be sent later": {"send_at": datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)},
    "many headers and much metadata": {
        "headers": {f"X-{number}": "h" * 900 for number in range(6)},
        "metadata": {f"key{number}": "v" * 490 for number in range(15)},
        "reply_to": [{"email": f"{number}@example.org", "name": "n" * 200} for number in range(15)],
    },
}

HARD_MAILS: Final[Mapping[str, Mail]] = {name: _mail(fields) for name, fields in _FIELDS.items()}
"""Each valid, though not every provider can take each; ids are "hard" where nothing else is said."""
