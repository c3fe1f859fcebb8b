"""The mail on the wire: JSON, UTF-8, schema version 1.

Two ways to read it. A producer is strict (`parse`): what it does not know it
refuses, so that a misspelt field is found where it was written. A worker is
tolerant (`decode`): it may be older than the producer, so it keeps what it does
not know and goes by the rest. Both check every value, since nothing keeps
others from publishing to a topic.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import orjson

from postman.core.mail import MAX_ENCODED_BYTES, MAX_RECIPIENTS, MAX_TENANT_LENGTH, Mail
from postman.core.message import SHARD_KEY, Message
from postman.errors import InvalidMailError

__all__ = ["MAX_DEPTH", "MAX_TOKENS", "SCHEMA", "decode", "decode_message", "digest", "encode", "message_for", "parse"]

SCHEMA: Final = "1"
"""The version that the attribute *schema* names: raised when an old worker would misread a new mail."""

MAX_DEPTH: Final = 16
"""Levels of lists and objects in a mail, counting those of fields that are not known here. Our own need four."""

MAX_TOKENS: Final = 20_000
"""Strings, commas and opening brackets of a mail's JSON; one with all that a mail may have needs some 12,000.

What a text of 10 MB becomes in memory depends on this number: 10 MB of small numbers where addresses belong took 6 GB.
"""

_MARKS: Final = (b",", b"{", b"[")
_LISTS: Final = ("to", "cc", "bcc", "reply_to", "attachments", "tags")
_MAX_ATTRIBUTE_BYTES: Final = 1_024
_MAX_KEY_BYTES: Final = 256
_MAX_TRACE_KEYS: Final = 20
_BOM: Final = b"\xef\xbb\xbf"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


def encode(mail: Mail) -> bytes:
    """Return *mail* as compact JSON with only what is set; equal mails give equal bytes."""
    return orjson.dumps(mail.as_json())


def decode(data: bytes) -> Mail:
    """Return the mail that a worker reads in *data*; `InvalidMailError` where it is none or has no id."""
    plain = _loaded(data)
    if "id" not in plain:
        raise InvalidMailError("id", "is missing")
    return Mail.tolerate(plain)


def parse(data: bytes | Mapping[str, Any]) -> Mail:
    """Return the mail that a producer is given, as bytes or as JSON's object.

    Without an id it gets a new one. Raises `InvalidMailError`, also for unknown and repeated fields.
    """
    if isinstance(data, bytes):
        plain = _loaded(data)
        _refuse_repeated_keys(data)
    else:
        plain = dict(data)
        _check_depth(plain)
        _check_lists(plain)
    return Mail.model_validate(plain, by_name=False, by_alias=True)


def digest(mail: Mail) -> str:
    """Return 32 hex digits that stand for all of *mail* but its id.

    Only what is set counts, in sorted order, so that versions which add fields with defaults agree.
    """
    content = mail.as_json()
    del content["id"]
    return sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def message_for(mail: Mail, *, trace: Mapping[str, str] | None = None, key: str = "") -> Message:
    """Return *mail* ready to be published, with the trace context as far as it fits into attributes.

    *key* is the class by which its shard is chosen, where a layout says so; by default that is its tenant. Raises
    `InvalidMailError` for one that could be no tenant.
    """
    if key and (len(key) > MAX_TENANT_LENGTH or not key.isprintable()):
        raise InvalidMailError("key", f"must be 1 to {MAX_TENANT_LENGTH} printable characters")
    context = [(name, value) for name, value in (trace or {}).items() if _fits(name, value)][:_MAX_TRACE_KEYS]
    by = key or mail.tenant
    return Message(
        encode(mail), {**dict(context), "mail_id": mail.id, "schema": SCHEMA, **({SHARD_KEY: by} if by else {})}
    )


def decode_message(message: Message) -> Mail:
    """Return the mail in *message*; `InvalidMailError` also where its attributes say something else."""
    schema = message.attributes.get("schema")
    if schema != SCHEMA:
        problem = "is missing" if schema is None else f"is not {SCHEMA!r}, the version that is known here"
        raise InvalidMailError("attributes.schema", problem)
    mail = decode(message.data)
    if message.attributes.get("mail_id") != mail.id:
        raise InvalidMailError("attributes.mail_id", "is not the id of the mail within")
    return mail


def _fits(key: str, value: str) -> bool:
    return 0 < len(key.encode()) <= _MAX_KEY_BYTES and len(value.encode()) <= _MAX_ATTRIBUTE_BYTES


def _loaded(data: bytes) -> dict[str, Any]:
    _check_bytes(data)
    _check_tokens(data)
    try:
        plain = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        # Not chained: the error holds the whole text.
        raise InvalidMailError("", f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    if not isinstance(plain, dict):
        raise InvalidMailError("", "must be an object, with fields like from and to")
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH:
        _check_depth(plain)
    _check_lists(plain)
    return plain


def _check_bytes(data: bytes) -> None:
    if not data.strip():
        raise InvalidMailError("", "is empty")
    if len(data) > MAX_ENCODED_BYTES:
        raise InvalidMailError("", f"has {len(data)} bytes, more than {MAX_ENCODED_BYTES}")
    if data.startswith(_BOM):
        raise InvalidMailError("", "begins with a byte order mark, which JSON has not")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        hint = "; it looks like UTF-16" if data.startswith(_UTF16) else ""
        raise InvalidMailError("", f"is not UTF-8 at byte {error.start}{hint}") from None


def _check_tokens(data: bytes) -> None:
    """Count what takes memory, without taking any; exactly only where all marks, also those within texts, are many.

    There are at the most two strings for each mark.
    """
    if len(data) > MAX_TOKENS and 3 * sum(map(data.count, _MARKS)) > MAX_TOKENS and _has_many_tokens(data):
        raise InvalidMailError("", f"has more than {MAX_TOKENS} strings, commas and opening brackets")


def _has_many_tokens(data: bytes) -> bool:
    data = data.replace(rb"\\", b"").replace(rb"\"", b"")
    tokens, end = 0, -1
    while tokens <= MAX_TOKENS:
        begin = data.find(b'"', end + 1)
        tokens += sum(data.count(mark, end + 1, len(data) if begin < 0 else begin) for mark in _MARKS)
        if begin < 0:
            break
        tokens += 1
        if (end := data.find(b'"', begin + 1)) < 0:
            break
    return tokens > MAX_TOKENS


def _check_lists(plain: Mapping[str, Any]) -> None:
    """Refuse a long list as a whole: each of its entries would be a problem of its own."""
    for name in _LISTS:
        if isinstance(plain.get(name), list) and len(plain[name]) > MAX_RECIPIENTS:
            raise InvalidMailError(name, "has too many entries")


def _check_depth(plain: dict[str, Any]) -> None:
    if _is_deeper(plain, MAX_DEPTH):
        raise InvalidMailError("", f"has more than {MAX_DEPTH} levels of lists and objects")


def _is_deeper(value: object, levels: int) -> bool:
    if isinstance(value, dict):
        return levels == 0 or any(_is_deeper(inner, levels - 1) for inner in value.values())
    if isinstance(value, list):
        return levels == 0 or any(_is_deeper(inner, levels - 1) for inner in value)
    return False


def _refuse_repeated_keys(data: bytes) -> None:
    json.loads(data, object_pairs_hook=_without_repetition, parse_int=str, parse_float=str)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        named = repeated if repeated.isidentifier() and repeated.isascii() and len(repeated) < 80 else ""
        raise InvalidMailError(named, "is there twice: duplicate key" if named else "has a duplicate key")
    return found
