"""Tokens of an issuer of our own, and its keys; nothing here is Google's."""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm

__all__ = ["ACCOUNT", "AUDIENCE", "claims", "encoded", "jwk", "private_key", "token"]

AUDIENCE: Final = "https://deliver.example.org/push"
ACCOUNT: Final = "pusher@demo-postman.iam.gserviceaccount.com"


@cache
def private_key(name: str, bits: int = 2_048) -> RSAPrivateKey:
    """Return the key of this name, the same each time."""
    return generate_private_key(65_537, bits)


def jwk(key_id: str, private: RSAPrivateKey | None = None, **more: Any) -> dict[str, object]:
    """Return the public half of a key as the issuer's document has it."""
    public = (private or private_key(key_id)).public_key()
    return {**RSAAlgorithm.to_jwk(public, as_dict=True), "kid": key_id, "alg": "RS256", "use": "sig", **more}


def claims(issuer: str, now: float, **changed: Any) -> dict[str, Any]:
    """Return what a genuine token says; what is changed to None is left out."""
    said = {
        "iss": issuer,
        "aud": AUDIENCE,
        "email": ACCOUNT,
        "email_verified": True,
        "iat": now - 60,
        "exp": now + 3_540,
        "sub": "113774264463038321964",
    }
    return {name: value for name, value in {**said, **changed}.items() if value is not None}


def token(said: Mapping[str, Any], *, key_id: str = "one", signed_by: str = "") -> str:
    """Return a token that names the key *key_id*, and is signed by it or by another."""
    return jwt.encode(dict(said), private_key(signed_by or key_id), algorithm="RS256", headers={"kid": key_id})


def encoded(part: bytes | Mapping[str, object]) -> str:
    """Return one part of a token."""
    plain = part if isinstance(part, bytes) else orjson.dumps(dict(part))
    return urlsafe_b64encode(plain).rstrip(b"=").decode()
