"""Whom Google let in: by Identity-Aware Proxy, or by Cloud Run's own check of leave to invoke.

Identity-Aware Proxy signs for each request who sent it, in a header of its own,
which is verified here: its signature (ES256, by Google's present keys), issuer,
audience and time (https://cloud.google.com/iap/docs/signed-headers-howto).

Cloud Run verifies the caller's token itself, and takes the signature out of it
before it hands the request on (https://cloud.google.com/run/docs/troubleshooting#signature-removed),
so that nobody can verify it here. It is believed only as it then looks, and only
within Cloud Run, where nobody gets past that check. Where both its headers are
there, Cloud Run checks the first, and the second may say anything.
"""

import binascii
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Final

from postman.adapters._tokens import ES256, UNFIT, KeysAwayError, SigningKeys, TimedClaims
from postman.ports.clock import Clock
from postman.ports.tokens import NOBODY, Identity, Standing

__all__ = ["IAP", "IAP_KEYS", "CloudRunIdentities", "IapIdentities", "iap_keys"]

IAP: Final = "https://cloud.google.com/iap"
IAP_KEYS: Final = "https://www.gstatic.com/iap/verify/public_key-jwk"

_ASSERTION: Final = "x-goog-iap-jwt-assertion"
_CHECKED_FIRST: Final = "x-serverless-authorization"
_AUTHORIZATION: Final = "authorization"
_GOOGLE: Final = frozenset({"https://accounts.google.com", "accounts.google.com"})
_REMOVED: Final = "SIGNATURE_REMOVED_BY_GOOGLE"
_LONGEST_TOKEN: Final = 8_192
_LONGEST_ADDRESS: Final = 320


class _Claims(TimedClaims):
    email: str


class _CallerClaims(_Claims):
    email_verified: bool


def iap_keys(clock: Clock, *, url: str = IAP_KEYS) -> SigningKeys:
    """Return the keys that sign Identity-Aware Proxy's assertions; whoever controls *url* can be anybody."""
    return SigningKeys(url, clock=clock, algorithm=ES256)


class IapIdentities:
    """An `IdentityJudge` of assertions for *audience*, exactly; its *keys* are closed with it.

    The audience of a Cloud Run service is `/projects/NUMBER/locations/REGION/services/NAME`.
    """

    def __init__(self, audience: str, *, keys: SigningKeys, clock: Clock) -> None:
        self._audience = audience
        self._keys = keys
        self._clock = clock

    async def identify(self, headers: Mapping[str, str]) -> Identity:
        try:
            said = await self._keys.read(_only(headers, _ASSERTION))
            claims = _Claims.model_validate_json(said)
        except KeysAwayError:
            return Identity(Standing.UNKNOWN)
        except UNFIT:
            return NOBODY
        is_ours = claims.iss == IAP and claims.aud == self._audience
        return _identity(claims.email) if is_ours and claims.is_valid(self._clock.time()) else NOBODY

    async def aclose(self) -> None:
        await self._keys.aclose()


class CloudRunIdentities:
    """An `IdentityJudge` for a Cloud Run service that only those may invoke who have leave to."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock

    async def identify(self, headers: Mapping[str, str]) -> Identity:
        names = {name.lower() for name in headers}
        checked = _CHECKED_FIRST if _CHECKED_FIRST in names else _AUTHORIZATION
        try:
            claims = _CallerClaims.model_validate_json(_unsigned(_only(headers, checked)))
        except UNFIT:
            return NOBODY
        is_ours = claims.iss in _GOOGLE and claims.email_verified
        return _identity(claims.email) if is_ours and claims.is_valid(self._clock.time()) else NOBODY

    async def aclose(self) -> None:
        """Nothing to let go of."""


def _only(headers: Mapping[str, str], name: str) -> str:
    """Return the one header of this name, else nothing, which is no token."""
    values = [value for each, value in headers.items() if each.lower() == name]
    return values[0] if len(values) == 1 else ""


def _unsigned(header: str) -> bytes:
    """Return what the token in *header* says; raises one of `UNFIT` unless Cloud Run took its signature out."""
    kind, _, token = header.partition(" ")
    parts = token.strip().split(".")
    is_checked = kind.lower() == "bearer" and len(parts) == 3 and parts[2] == _REMOVED
    if not is_checked or len(token) > _LONGEST_TOKEN:
        raise ValueError("no token that Cloud Run has checked")
    try:
        return urlsafe_b64decode(parts[1] + "==")
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _identity(address: str) -> Identity:
    is_address = "@" in address and len(address) <= _LONGEST_ADDRESS and address.isascii() and address.isprintable()
    return Identity(Standing.PROVEN, address.lower()) if is_address else NOBODY
