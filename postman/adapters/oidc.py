"""Tokens of OpenID Connect, as Google signs them for the requests of a push subscription.

A token is good only if all of it is: signed by one of the issuer's present keys
(RS256 and nothing else, whatever the token names), issued by this issuer, meant
for this audience and no other, valid now, and of one service account whose
address the issuer has verified. Google's list of what to check:
https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions; the rules
behind it are those of RFC 8725.

The signature is PyJWT's work. Its own client for keys is not used: it blocks
the event loop, and forgets keys while the issuer cannot be reached.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Annotated, Final

import httpx
import jwt
import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.api_jws import PyJWS
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from postman.ports.clock import Clock
from postman.ports.tokens import Standing

__all__ = ["GOOGLE", "GOOGLE_KEYS", "Expected", "OidcTokens", "SigningKeys"]

_LOG = structlog.get_logger("postman.tokens")

GOOGLE: Final = "https://accounts.google.com"
GOOGLE_KEYS: Final = "https://www.googleapis.com/oauth2/v3/certs"

_ALGORITHM: Final = "RS256"
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


@dataclass(frozen=True, slots=True)
class Expected:
    """Whose tokens are good."""

    audience: str
    """Whom the token is meant for, exactly."""
    account: str
    """The service account's e-mail address."""
    issuer: str = GOOGLE


class _KeysAwayError(Exception):
    """The issuer's keys are not known, and cannot be read now."""


class _Claims(BaseModel):
    """What a token says. Nothing is converted: a number as a text is no number."""

    model_config = ConfigDict(frozen=True, strict=True, hide_input_in_errors=True)

    iss: str
    aud: str
    exp: _Moment
    iat: _Moment
    nbf: _Moment = 0.0
    email: str = ""
    email_verified: bool = False


class OidcTokens:
    """A `TokenJudge`. Its *keys* are closed with it."""

    def __init__(self, expected: Expected, *, keys: "SigningKeys", clock: Clock) -> None:
        self._expected = expected
        self._keys = keys
        self._clock = clock
        self._signatures = PyJWS()

    async def judge(self, token: str) -> Standing:
        try:
            return self._standing(await self._claims(token))
        except _KeysAwayError:
            return Standing.UNKNOWN
        except (jwt.PyJWTError, ValidationError, ValueError):
            return Standing.FORGED

    async def aclose(self) -> None:
        await self._keys.aclose()

    async def _claims(self, token: str) -> _Claims:
        """Return what *token* says, once its signature is verified."""
        if len(token) > _LONGEST_TOKEN or not token.isascii():
            raise jwt.DecodeError
        head = jwt.get_unverified_header(token)
        if head.get("alg") != _ALGORITHM:
            raise jwt.InvalidAlgorithmError
        key = await self._keys.find(str(head.get("kid", "")))
        if key is None:
            raise jwt.InvalidKeyError
        return _Claims.model_validate_json(self._signatures.decode(token, key, algorithms=[_ALGORITHM]))

    def _standing(self, claims: _Claims) -> Standing:
        now = self._clock.time()
        is_ours = claims.iss == self._expected.issuer and claims.aud == self._expected.audience
        is_valid = max(claims.nbf, claims.iat) - _LEEWAY <= now < claims.exp + _LEEWAY
        if not is_ours or not is_valid:
            return Standing.FORGED
        is_expected = claims.email_verified and claims.email == self._expected.account
        return Standing.PROVEN if is_expected else Standing.STRANGER


class SigningKeys:
    """The issuer's public keys by their ids, read from its JWKS document at *url* when they are needed.

    A key that is known is used at once, also while they are read anew. Redirects are not followed.
    """

    def __init__(self, url: str, *, clock: Clock, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = url
        self._clock = clock
        self._client = httpx.AsyncClient(transport=transport, timeout=_PATIENCE, trust_env=False)
        self._keys: Mapping[str, RSAPublicKey] = {}
        self._read_at = -inf
        self._read_again_at = -inf
        self._reading: asyncio.Task[None] | None = None

    async def find(self, key_id: str) -> RSAPublicKey | None:
        """Return the key, None where the issuer has no such key; raises where none are known that are still good."""
        if self._is_due(key_id):
            self._reading = asyncio.create_task(self._read())
        if self._reading is not None and (key_id not in self._keys or self._is_stale):
            await asyncio.shield(self._reading)
        if self._is_stale:
            raise _KeysAwayError
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
                self._keys = _keys_in(await self._fetch())
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


def _keys_in(document: bytes) -> Mapping[str, RSAPublicKey]:
    """Return the keys that may sign with RS256; what else the document has is passed over. Raises where none is left.

    Weak keys are passed over as well: NIST SP 800-131A asks for 2,048 bits.
    """
    plain = orjson.loads(document)
    if not isinstance(plain, dict):
        raise TypeError("is no object")
    found = {}
    for each in jwt.PyJWKSet.from_dict(plain).keys:
        is_for_signing = each.algorithm_name == _ALGORITHM and each.public_key_use in (None, "sig")
        is_strong = isinstance(each.key, RSAPublicKey) and each.key.key_size >= _SHORTEST_KEY
        if isinstance(each.key_id, str) and is_for_signing and is_strong:
            found[each.key_id] = each.key
    if not found:
        raise ValueError("has no key that is of use")
    return found
