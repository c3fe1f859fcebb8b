"""Tokens of OpenID Connect, as Google signs them for the requests of a push subscription.

A token is good only if all of it is: signed by one of the issuer's present keys,
issued by this issuer, meant for this audience and no other, valid now, and of
one service account whose address the issuer has verified. Google's list of what
to check: https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions.
"""

from dataclasses import dataclass
from typing import Final

from postman.adapters._tokens import UNFIT, KeysAwayError, SigningKeys, TimedClaims
from postman.ports.clock import Clock
from postman.ports.tokens import Standing

__all__ = ["GOOGLE", "GOOGLE_KEYS", "Expected", "OidcTokens", "SigningKeys"]

GOOGLE: Final = "https://accounts.google.com"
GOOGLE_KEYS: Final = "https://www.googleapis.com/oauth2/v3/certs"


@dataclass(frozen=True, slots=True)
class Expected:
    """Whose tokens are good."""

    audience: str
    """Whom the token is meant for, exactly."""
    account: str
    """The service account's e-mail address."""
    issuer: str = GOOGLE


class _Claims(TimedClaims):
    email: str = ""
    email_verified: bool = False


class OidcTokens:
    """A `TokenJudge`. Its *keys* are closed with it."""

    def __init__(self, expected: Expected, *, keys: SigningKeys, clock: Clock) -> None:
        self._expected = expected
        self._keys = keys
        self._clock = clock

    async def judge(self, token: str) -> Standing:
        try:
            return self._standing(_Claims.model_validate_json(await self._keys.read(token)))
        except KeysAwayError:
            return Standing.UNKNOWN
        except UNFIT:
            return Standing.FORGED

    async def aclose(self) -> None:
        await self._keys.aclose()

    def _standing(self, claims: _Claims) -> Standing:
        is_ours = claims.iss == self._expected.issuer and claims.aud == self._expected.audience
        if not is_ours or not claims.is_valid(self._clock.time()):
            return Standing.FORGED
        is_expected = claims.email_verified and claims.email == self._expected.account
        return Standing.PROVEN if is_expected else Standing.STRANGER
