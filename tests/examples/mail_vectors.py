"""Mails on the wire: `python -m tests.examples.mail_vectors > docs/mail-vectors.json`, for producers elsewhere.

What goes in is written by hand, here and in `tests/contract/bad_mails.py`; what the model makes of it is computed, so
that a change of the wire format shows as a change of the published file.
"""

import json
import sys
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
from jsonschema import Draft202012Validator

from postman.core.schema import mail_schema
from postman.core.shards import place, shard_for
from postman.core.wire import encode, message_for, parse
from tests.contract.bad_mails import BAD_MAILS, GOOD, BadMail, good_with

__all__ = ["PUBLISHED", "ROOT", "document"]

ROOT: Final = Path(__file__).parents[2]
PUBLISHED: Final = ROOT / "docs" / "mail-vectors.json"

_COUNTS: Final = (1, 4, 8, 12, 16)
_HANDED: Final = ((8, 2), (16, 3))
_LONGEST: Final = 600
"""Bytes of an invalid mail that is published: what is wrong by its mere size needs no vector."""
_SCHEMA: Final = Draft202012Validator(mail_schema())

_ABOUT: Final = {
    "valid": "Publish `data` in UTF-8 with `attributes`. Two with the same `canonical` are one mail. `shards` has the "
    "shard by their count; `hands` where a hand is dealt to the key, which is the tenant.",
    "invalid": "Each is refused with an error that names `field` (empty: the mail as a whole), by those in "
    "`refused_by`: a worker dead-letters it as malformed, a producer (`postman publish`, `postman serve`) does not "
    "publish it, and `schema` says so where mail.schema.json alone finds it.",
}

_EVERYTHING: Final[dict[str, Any]] = {
    "id": "order-4711-receipt",
    "from": {"email": "shop@mg.example.org", "name": "Läden & Söhne"},
    "to": [{"email": "ann@example.org", "name": "Ann, 安 \U0001f4e7"}, {"email": "bob@example.org"}],
    "cc": [{"email": "carl@example.org"}],
    "bcc": [{"email": "dora@example.org"}],
    "reply_to": [{"email": "help@example.org", "name": "Help"}],
    "subject": "Your receipt: 9,99 €",
    "text": 'Thank you.\n\tThe "Shop" \\ team\n',
    "html": '<p>Thank you.</p><img src="cid:logo">',
    "headers": {"X-Order": "4711", "List-Unsubscribe": "<https://example.org/u/1>"},
    "attachments": [
        {"filename": "receipt.pdf", "content_type": "application/pdf", "content": "JVBERi0xLjcK"},
        {"filename": "logo.png", "content_type": "image/png", "content": "iVBORw0KGgo=", "content_id": "logo"},
    ],
    "tags": ["receipt", "de"],
    "metadata": {"order": "4711", "segment": "a.b-c_d"},
    "send_at": "2026-01-31T12:00:00Z",
    "expires_at": "2099-12-31T23:59:59.250000Z",
    "on_doubt": "hold",
    "tenant": "acme",
}

_VALID: Final[Mapping[str, dict[str, Any] | str]] = {
    "the least": {"id": "mail-2", "from": {"email": "a@example.org"}, "to": [{"email": "b@example.org"}], "text": "t"},
    "a receipt": GOOD,
    "a receipt in another order, with spaces": json.dumps(dict(reversed(GOOD.items())), indent=2),
    "a receipt with defaults and nulls": good_with(html="", cc=[], tags=[], headers={}, on_doubt="ask")
    | {"send_at": None, "tenant": None},
    "every field": _EVERYTHING,
    "every field, in ASCII": json.dumps(_EVERYTHING, ensure_ascii=True),
    "an address in capitals": good_with(id="mail-3", to=[{"email": "Ann@EXAMPLE.org"}]),
    "an international domain": good_with(id="mail-4", to=[{"email": "ann@bücher.example"}]),
    "times with zones": good_with(
        id="mail-5", send_at="2026-01-31T13:00:00+01:00", expires_at="2099-12-31t23:59:59.5-02:30"
    ),
    "only HTML": good_with(id="mail-6", text=None, html="<p>Hi</p>"),
    "only an empty file": good_with(
        id="mail-7",
        text=None,
        attachments=[{"filename": "a.txt", "content_type": "text/plain; charset=utf-8", "content": ""}],
    ),
    "a UUIDv7": good_with(id="01997b3c-6d00-7abc-8def-0123456789ab"),
    "an id with one character for ü": good_with(id="gr\u00fc\u00dfe"),
    "an id with two characters for ü": good_with(id="gru\u0308\u00dfe"),
    "an id of signs": good_with(id="a,b=c/d:e?f#g%00&\"h\" 'i' \\j|k;l$(m)`n`"),
    "an id of 128 emojis": good_with(id="\U0001f4e7" * 128),
    "a tenant beyond ASCII": good_with(id="mail-8", tenant="Süd, 1=a"),
    "a Message-ID of one's own": good_with(id="mail-9", headers={"Message-ID": "<4711@example.org>"}),
}


@dataclass(frozen=True, slots=True)
class _Bad:
    """An invalid mail as it is published."""

    name: str
    data: bytes = field(repr=False)
    attributes: Mapping[str, str]
    where: str
    refused_by: Sequence[str]


def document() -> dict[str, Any]:
    """Return the vectors as they are published."""
    valid = [_valid(name, mail) for name, mail in _VALID.items()]
    return {"about": _ABOUT, "valid": valid, "invalid": [_invalid(bad) for bad in (*_bad_mails(), *_BAD_MESSAGES)]}


def _valid(name: str, given: dict[str, Any] | str) -> dict[str, Any]:
    data = given if isinstance(given, str) else orjson.dumps(given).decode()
    mail = parse(data.encode())
    hands = [
        {"count": count, "hand": hand, "shard": _in_hand(mail.id, mail.tenant, count, hand)} for count, hand in _HANDED
    ]
    return {
        "name": name,
        "data": data,
        "attributes": message_for(mail).attributes,
        "canonical": encode(mail).decode(),
        "shards": {str(count): shard_for(mail.id, count) for count in _COUNTS},
        "hands": hands,
    }


def _in_hand(mail_id: str, tenant: str | None, count: int, hand: int) -> int:
    return place(mail_id, count, key=tenant or "", hand=hand)


def _bad_mails() -> list[_Bad]:
    return [_of(bad) for bad in BAD_MAILS if len(bad.data) <= _LONGEST]


def _of(bad: BadMail) -> _Bad:
    mail_id = bad.mail.get("id") if isinstance(bad.mail, dict) else GOOD["id"]
    attributes = {"mail_id": mail_id if isinstance(mail_id, str) else str(mail_id), "schema": "1"}
    return _Bad(bad.name, bad.data, attributes, bad.where, ["producer", *(["worker"] if bad.in_worker else [])])


def _message(name: str, where: str, **attributes: str) -> _Bad:
    """A valid mail with the wrong attributes, which only who publishes to a topic can give it."""
    return _Bad(name, orjson.dumps(GOOD), attributes, where, ["worker"])


_BAD_MESSAGES: Final = (
    _message("no attributes", "attributes.schema"),
    _message("no schema", "attributes.schema", mail_id="mail-1"),
    _message("another schema", "attributes.schema", mail_id="mail-1", schema="2"),
    _message("no id outside", "attributes.mail_id", schema="1"),
    _message("another id outside", "attributes.mail_id", mail_id="mail-2", schema="1"),
    _Bad("no id within", orjson.dumps(good_with(id=None)), {"mail_id": "mail-1", "schema": "1"}, "id", ["worker"]),
)


def _invalid(bad: _Bad) -> dict[str, Any]:
    return {
        "name": bad.name,
        **_presentable(bad.data),
        "attributes": bad.attributes,
        "field": bad.where,
        "refused_by": [*bad.refused_by, *(["schema"] if _is_seen_by_schema(bad) else [])],
    }


def _presentable(data: bytes) -> dict[str, str]:
    """Return bytes as text, or in base64 where they are no text that survives an editor."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = ""
    return {"data": text} if text.isprintable() and text else {"data_base64": b64encode(data).decode()}


def _is_seen_by_schema(bad: _Bad) -> bool:
    try:
        plain = orjson.loads(bad.data)
    except orjson.JSONDecodeError:
        return False
    return not _SCHEMA.is_valid(plain)


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
