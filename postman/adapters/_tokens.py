"""Signed tokens: what those of OpenID Connect and of Identity-Aware Proxy have in common.

A token is read only once its signature is verified by one of the issuer's
present keys, with one algorithm and nothing else, whatever the token names
(RFC 8725). The signature is PyJWT's work. Its own client for keys is not used: it
blocks the event loop, and forgets keys while the issuer cannot be reached.
"""

import asyncio
from collections.abc import Callable, Mapping
from math import inf
from typing import Annotated, Final

import httpx
import jwt
import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.api_jws import PyJWS
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from postman.ports.clock import Clock

__all__ = ["ES256", "RS256", "UNFIT", "KeysAwayError", "SigningKeys", "TimedClaims"]

_LOG = structlog.get_logger("postman.tokens")

RS256: Final = "RS256"
ES256: Final = "ES256"

UNFIT: Final = (jwt.PyJWTError, ValidationError, ValueError)
"""What a text that is no good token makes the reading raise."""

_PublicKey = RSAPublicKey | EllipticCurvePublicKey

_SHORTEST_KEY: Final = 2_048
_LONGEST_TOKEN: Final = 8_192
_LEEWAY: Final = 10.0
"""Seconds by which our clock may differ from the issuer's."""
_PATIENCE: Final = 5.0
_MOST_BYTES: Final = 256 * 1024
_FRESH: Final = 3_600.0
"""Seconds after which the keys are read anew."""
_STALE: Final = 86_400.0
"""Seconds for which keys are good at the most, where they cannot be read anew. Google keeps each for some days."""
_PAUSE: Final = 60.0
"""Seconds between two readings at the least: any stranger can name a key that is not known."""
_PAUSE_AFTER_FAILURE: Final = 5.0

_Moment = Annotated[float, Field(allow_inf_nan=False)]


class KeysAwayError(Exception):
    """The issuer's keys are not known, and cannot be read now."""


class TimedClaims(BaseModel):
    """What every token says. Nothing is converted: a number as a text is no number."""

    model_config = ConfigDict(frozen=True, strict=True, hide_input_in_errors=True)

    iss: str
    aud: str
    exp: _Moment
    iat: _Moment
    nbf: _Moment = 0.0

    def is_valid(self, now: float) -> bool:
        """Whether it is valid at *now*, in seconds since 1970; clocks may differ by ten seconds."""
        return max(self.nbf, self.iat) - _LEEWAY <= now < self.exp + _LEEWAY


class SigningKeys:
    """The issuer's public keys by their ids, read from its JWKS document at *url* when they are needed.

    They sign with *algorithm*. A key that is known is used at once, also while they are read anew. Redirects are not
    followed.
    """

    def __init__(
        self, url: str, *, clock: Clock, algorithm: str = RS256, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._url = url
        self._algorithm = algorithm
        self._clock = clock
        self._client = httpx.AsyncClient(transport=transport, timeout=_PATIENCE, trust_env=False)
        self._signatures = PyJWS()
        self._keys: Mapping[str, _PublicKey] = {}
        self._read_at = -inf
        self._read_again_at = -inf
        self._reading: asyncio.Task[None] | None = None

    async def read(self, token: str) -> bytes:
        """Return what *token* says, once its signature is verified; raises `KeysAwayError`, else one of `UNFIT`."""
        if len(token) > _LONGEST_TOKEN or not token.isascii():
            raise jwt.DecodeError
        head = jwt.get_unverified_header(token)
        if head.get("alg") != self._algorithm:
            raise jwt.InvalidAlgorithmError
        key = await self._find(str(head.get("kid", "")))
        if key is None:
            raise jwt.InvalidKeyError
        payload: bytes = self._signatures.decode(token, key, algorithms=[self._algorithm])
        return payload

    async def _find(self, key_id: str) -> _PublicKey | None:
        """Return the key, None where the issuer has no such key; raises where none are known that are still good."""
        if self._is_due(key_id):
            self._reading = asyncio.create_task(self._read())
        if self._reading is not None and (key_id not in self._keys or self._is_stale):
            await asyncio.shield(self._reading)
        if self._is_stale:
            raise KeysAwayError
        return self._keys.get(key_id)

    async def aclose(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        await self._client.aclose()

    @property
    def _is_stale(self) -> bool:
        return self._clock.now() >= self._read_at + _STALE

    def _is_due(self, key_id: str) -> bool:
        now = self._clock.now()
        if self._reading is not None or now < self._read_again_at:
            return False
        return key_id not in self._keys or now >= self._read_at + _FRESH

    async def _read(self) -> None:
        asked_at = self._clock.now()
        try:
            async with asyncio.timeout(_PATIENCE):
                self._keys = _keys_in(await self._fetch(), self._algorithm)
        except Exception as error:  # noqa: BLE001 — whatever ails the keys, the next request asks again
            self._read_again_at = asked_at + _PAUSE_AFTER_FAILURE
            _LOG.error("token_keys_not_read", url=self._url, reason=type(error).__name__, known=len(self._keys))
        else:
            self._read_at, self._read_again_at = asked_at, asked_at + _PAUSE
        finally:
            self._reading = None

    async def _fetch(self) -> bytes:
        document = bytearray()
        async with self._client.stream("GET", self._url, headers={"accept-encoding": "identity"}) as answer:
            if answer.status_code != httpx.codes.OK:
                raise httpx.HTTPStatusError("no keys", request=answer.request, response=answer)
            async for piece in answer.aiter_bytes():
                document += piece
                if len(document) > _MOST_BYTES:
                    raise ValueError("more than a document of keys")
        return bytes(document)


def _keys_in(document: bytes, algorithm: str) -> Mapping[str, _PublicKey]:
    """Return the keys that may sign with *algorithm*; all else is passed over. Raises where none is left."""
    plain = orjson.loads(document)
    if not isinstance(plain, dict):
        raise TypeError("is no object")
    found = {}
    for each in jwt.PyJWKSet.from_dict(plain).keys:
        is_for_signing = each.algorithm_name == algorithm and each.public_key_use in (None, "sig")
        if isinstance(each.key_id, str) and is_for_signing and _IS_STRONG[algorithm](each.key):
            found[each.key_id] = each.key
    if not found:
        raise ValueError("has no key that is of use")
    return found


def _is_strong_rsa(key: object) -> bool:
    """NIST SP 800-131A asks for 2,048 bits."""
    return isinstance(key, RSAPublicKey) and key.key_size >= _SHORTEST_KEY


def _is_p256(key: object) -> bool:
    return isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)


_IS_STRONG: Final[Mapping[str, Callable[[object], bool]]] = {RS256: _is_strong_rsa, ES256: _is_p256}
