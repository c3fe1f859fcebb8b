"""Tags and metadata: what the caller sees again in statistics and events.

Both travel through every provider and come back from it, so they are held to
what the narrowest carries. What few providers take less of (Mailgun: 3 tags)
their adapters say themselves.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from postman.core.text import check_line
from postman.errors import InvalidMailError

__all__ = [
    "KEY_PATTERN",
    "MAX_METADATA_BYTES",
    "MAX_METADATA_KEYS",
    "MAX_TAGS",
    "MAX_TAG_LENGTH",
    "MAX_VALUE_LENGTH",
    "RESERVED_METADATA",
    "TAG_PATTERN",
    "check_metadata",
    "check_tags",
]

MAX_TAGS: Final = 10
MAX_TAG_LENGTH: Final = 128
MAX_METADATA_KEYS: Final = 50
MAX_VALUE_LENGTH: Final = 500
"""Characters."""
MAX_METADATA_BYTES: Final = 8_000
"""Of all keys and values in UTF-8: SendGrid takes 10,000 bytes, Mailgun 16 KB together with the headers."""

RESERVED_METADATA: Final = frozenset(
    {
        "asm_group_id",
        "attempt",
        "bounce_classification",
        "category",
        "cert_err",
        "email",
        "event",
        "ip",
        "mail_id",
        "postman_cluster",
        "marketing_campaign_id",
        "marketing_campaign_name",
        "newsletter",
        "pool",
        "reason",
        "response",
        "send_at",
        "sg_content_type",
        "sg_event_id",
        "sg_machine_open",
        "sg_message_id",
        "sg_template_id",
        "sg_template_name",
        "smtp-id",
        "status",
        "timestamp",
        "tls",
        "type",
        "unique_args",
        "url",
        "url_offset",
        "useragent",
    }
)
"""The ids are postman's; the others are SendGrid's own, and its events hold the metadata beside them."""

TAG_PATTERN: Final = rf"^[!-~](?:[ -~]{{0,{MAX_TAG_LENGTH - 2}}}[!-~])?$"
KEY_PATTERN: Final = r"^[A-Za-z0-9_.-]{1,64}$"

_TAG: Final = re.compile(TAG_PATTERN)
_KEY: Final = re.compile(KEY_PATTERN)


def check_tags(tags: Sequence[str]) -> None:
    """Raise `InvalidMailError` naming the tag that is wrong or there twice."""
    seen: set[str] = set()
    for index, tag in enumerate(tags):
        if not _TAG.fullmatch(tag):
            problem = f"must be 1 to {MAX_TAG_LENGTH} printable ASCII characters without spaces around them"
            raise InvalidMailError(f"[{index}]", problem)
        if tag.lower() in seen:
            raise InvalidMailError(f"[{index}]", "is there twice; upper and lower case make no difference")
        seen.add(tag.lower())


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raise `InvalidMailError` naming the key whose name or value is wrong."""
    if len(metadata) > MAX_METADATA_KEYS:
        raise InvalidMailError("", f"has {len(metadata)} keys, more than {MAX_METADATA_KEYS}")
    size = 0
    for key, value in metadata.items():
        _check_key(key)
        _check_metadata_value(key, value)
        size += len(key) + len(value.encode())
    if size > MAX_METADATA_BYTES:
        raise InvalidMailError("", f"is longer than {MAX_METADATA_BYTES} bytes in all")


def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise InvalidMailError("", "has a key that is not 1 to 64 of A-Z a-z 0-9 _ . -")
    if key.lower() in RESERVED_METADATA:
        raise InvalidMailError(key, "is a reserved name: postman or a provider uses it in events")


def _check_metadata_value(key: str, value: str) -> None:
    if len(value) > MAX_VALUE_LENGTH:
        raise InvalidMailError(key, f"is longer than {MAX_VALUE_LENGTH} characters")
    try:
        check_line(value)
    except ValueError as error:
        raise InvalidMailError(key, str(error)) from error
