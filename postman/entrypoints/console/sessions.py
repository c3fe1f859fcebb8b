"""Sessions without a store, so that all instances of the console know them: a cookie, signed by a token.

A cookie holds who it is, and until when. It is signed with a key made of the
token that was shown, so it ends when the token is taken back. The tokens of
forms (against requests that a foreign page makes) are made of the cookie, which
no foreign page can read.
"""

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest, digest
from typing import Final

__all__ = ["LASTS", "Key", "cookie_of", "fresh_secret", "name_in", "proof_of", "proves"]

LASTS: Final = 8 * 3600.0
"""Seconds after which one must show the token again."""
_PURPOSE: Final = b"postman console session"
_FORM: Final = b"postman console form\0"
_LONGEST: Final = 1_024


@dataclass(frozen=True, slots=True)
class Key:
    """Whose token it is, and the SHA-256 of that."""

    name: str
    digest: bytes = field(repr=False)

    @classmethod
    def of(cls, name: str, token: str) -> "Key":
        """Return the key that *token* fits."""
        return cls(name, sha256(token.encode("utf-8", "replace")).digest())

    def fits(self, token: str) -> bool:
        """Whether *token* is this one; takes as long either way."""
        return compare_digest(self.digest, sha256(token.encode("utf-8", "replace")).digest())


def fresh_secret() -> str:
    """Return a text that nobody can guess."""
    return secrets.token_urlsafe(32)


def cookie_of(key: Key, now: float) -> str:
    """Return the cookie of who showed the token of *key* at *now*."""
    told = f"{int(now + LASTS)}.{fresh_secret()}.{_packed(key.name.encode())}"
    return f"{told}.{_signature(key, told)}"


def name_in(cookie: str, keys: Sequence[Key], now: float) -> str | None:
    """Return whose *cookie* it is; None where no token of *keys* made it, or its time is over."""
    told, dot, signature = cookie.rpartition(".")
    fields = told.split(".")
    if not dot or len(cookie) > _LONGEST or len(fields) != 3 or not cookie.isascii():
        return None
    signers = [key for key in keys if compare_digest(_signature(key, told), signature)]
    if not signers or _unpacked(fields[2]) != signers[0].name.encode() or now >= int(fields[0]):
        return None
    return signers[0].name


def proof_of(cookie: str, name: str) -> str:
    """Return the token for the forms of *name*'s pages, who came with *cookie*."""
    return _packed(digest(cookie.encode("utf-8", "replace"), _FORM + name.encode(), "sha256"))


def proves(token: str, cookie: str, name: str) -> bool:
    """Whether *token* stood in a page that was made for *name*, who comes with *cookie*."""
    wanted = proof_of(cookie, name).encode()
    return bool(cookie) and compare_digest(wanted, token.encode("utf-8", "replace"))


def _signature(key: Key, told: str) -> str:
    return _packed(digest(digest(key.digest, _PURPOSE, "sha256"), told.encode(), "sha256"))


def _packed(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _unpacked(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""
