"""Tokens that prove who pushes; the issuer and its keys are this test's own."""

import asyncio
import hmac
from base64 import urlsafe_b64decode
from hashlib import sha256
from typing import Any

import httpx
import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm
from structlog.testing import capture_logs

from postman.adapters.oidc import GOOGLE, Expected, OidcTokens, SigningKeys
from postman.ports.tokens import Standing
from postman.testing.clock import FakeClock
from postman.testing.waiting import wait_until
from tests.contract.functions import tokens
from tests.contract.functions.tokens import ACCOUNT, AUDIENCE, claims, encoded, jwk, private_key

NOW = 1_700_000_000.0
CLAIMS = claims(GOOGLE, NOW)


def token(*, key_id: str = "one", signed_by: str = "", **changed: Any) -> str:
    return tokens.token(claims(GOOGLE, NOW, **changed), key_id=key_id, signed_by=signed_by)


class Issuer:
    """The issuer's document of keys, and how often it was asked for."""

    def __init__(self) -> None:
        self.clock = FakeClock(wall=NOW)
        self.keys: list[dict[str, object]] = [jwk("one")]
        self.answer: httpx.Response | Exception | None = None
        self.reads = 0
        keys = SigningKeys(
            "https://issuer.example.org/keys", clock=self.clock, transport=httpx.MockTransport(self._tell)
        )
        self.tokens = OidcTokens(Expected(AUDIENCE, ACCOUNT), keys=keys, clock=self.clock)

    def _tell(self, _request: httpx.Request) -> httpx.Response:
        self.reads += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or httpx.Response(200, content=orjson.dumps({"keys": self.keys}))

    async def judge(self, text: str) -> Standing:
        return await self.tokens.judge(text)


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


async def test_a_token_of_our_own_subscription_is_proven(issuer: Issuer) -> None:
    assert await issuer.judge(token()) is Standing.PROVEN


@pytest.mark.parametrize(
    ("changed", "standing"),
    [
        ({"iss": "https://accounts.example.org"}, Standing.FORGED),
        ({"iss": "accounts.google.com"}, Standing.FORGED),
        ({"iss": None}, Standing.FORGED),
        ({"aud": AUDIENCE + "/"}, Standing.FORGED),
        ({"aud": [AUDIENCE]}, Standing.FORGED),
        ({"aud": ""}, Standing.FORGED),
        ({"aud": None}, Standing.FORGED),
        ({"exp": None}, Standing.FORGED),
        ({"exp": str(NOW + 3_540)}, Standing.FORGED),
        ({"iat": None}, Standing.FORGED),
        ({"email": "somebody@demo-postman.iam.gserviceaccount.com"}, Standing.STRANGER),
        ({"email": ACCOUNT.upper()}, Standing.STRANGER),
        ({"email": None}, Standing.STRANGER),
        ({"email_verified": False}, Standing.STRANGER),
        ({"email_verified": None}, Standing.STRANGER),
        ({"email_verified": "true"}, Standing.FORGED),
        ({"email_verified": 1}, Standing.FORGED),
    ],
)
async def test_whatever_is_not_as_expected_proves_nothing(
    issuer: Issuer, changed: dict[str, Any], standing: Standing
) -> None:
    assert await issuer.judge(token(**changed)) is standing


@pytest.mark.parametrize(
    ("changed", "standing"),
    [
        ({"exp": NOW - 9}, Standing.PROVEN),
        ({"exp": NOW - 11}, Standing.FORGED),
        ({"exp": NOW - 86_400}, Standing.FORGED),
        ({"nbf": NOW + 9}, Standing.PROVEN),
        ({"nbf": NOW + 11}, Standing.FORGED),
        ({"iat": NOW + 9}, Standing.PROVEN),
        ({"iat": NOW + 11}, Standing.FORGED),
    ],
)
async def test_clocks_may_differ_by_ten_seconds(issuer: Issuer, changed: dict[str, Any], standing: Standing) -> None:
    assert await issuer.judge(token(**changed)) is standing


async def test_a_token_expires_by_our_clock(issuer: Issuer) -> None:
    sent = token()
    assert await issuer.judge(sent) is Standing.PROVEN

    await issuer.clock.sleep(3_551.0)

    assert await issuer.judge(sent) is Standing.FORGED


async def test_another_s_signature_is_forged(issuer: Issuer) -> None:
    """Also under the name of a key of the issuer."""
    assert await issuer.judge(token(signed_by="mine")) is Standing.FORGED


async def test_a_token_without_a_signature_is_forged(issuer: Issuer) -> None:
    unsigned = jwt.encode(dict(CLAIMS), "", algorithm="none", headers={"kid": "one"})
    head, body, _ = token().split(".")

    assert await issuer.judge(unsigned) is Standing.FORGED
    assert await issuer.judge(f"{head}.{body}.") is Standing.FORGED


async def test_the_public_key_is_no_secret_to_sign_with(issuer: Issuer) -> None:
    """The old trick: the token names an algorithm with a shared secret, and takes the public key for it."""
    pem = private_key("one").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = encoded({"alg": "HS256", "typ": "JWT", "kid": "one"}) + "." + encoded(CLAIMS)

    assert await issuer.judge(f"{signed}.{encoded(hmac.digest(pem, signed.encode(), sha256))}") is Standing.FORGED


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
async def test_no_other_algorithm_is_taken(issuer: Issuer, algorithm: str) -> None:
    other = jwt.encode(dict(CLAIMS), private_key("one"), algorithm=algorithm, headers={"kid": "one"})

    assert await issuer.judge(other) is Standing.FORGED


async def test_a_token_that_names_no_key_is_forged(issuer: Issuer) -> None:
    nameless = jwt.encode(dict(CLAIMS), private_key("one"), algorithm="RS256")

    assert await issuer.judge(nameless) is Standing.FORGED


@pytest.mark.parametrize("more", [{"use": "enc"}, {"alg": "RS512"}, {"kid": 7}, {"kty": "oct", "k": "c2VjcmV0"}])
async def test_a_key_that_is_not_for_this_is_not_used(issuer: Issuer, more: dict[str, Any]) -> None:
    issuer.keys = [jwk("one", **more), jwk("two")]

    assert await issuer.judge(token(key_id="two")) is Standing.PROVEN
    assert await issuer.judge(token()) is Standing.FORGED


async def test_a_weak_key_is_not_used(issuer: Issuer) -> None:
    issuer.keys = [jwk("weak", private_key("weak", 1_024)), jwk("one")]
    signed = f"{encoded({'alg': 'RS256', 'typ': 'JWT', 'kid': 'weak'})}.{encoded(CLAIMS)}"
    seal = private_key("weak", 1_024).sign(signed.encode(), PKCS1v15(), SHA256())
    weak = f"{signed}.{encoded(seal)}"

    assert await issuer.judge(token()) is Standing.PROVEN
    assert await issuer.judge(weak) is Standing.FORGED


async def test_a_key_of_another_kind_under_the_same_name_is_not_used(issuer: Issuer) -> None:
    curve = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)
    issuer.keys = [{**curve, "kid": "one"}, jwk("two")]

    assert await issuer.judge(token()) is Standing.FORGED


async def test_the_keys_are_read_once_for_many_tokens(issuer: Issuer) -> None:
    standings = await asyncio.gather(*(issuer.judge(token()) for _ in range(50)))

    assert set(standings) == {Standing.PROVEN}
    assert issuer.reads == 1


async def test_a_key_that_is_new_is_found_within_a_minute(issuer: Issuer) -> None:
    assert await issuer.judge(token()) is Standing.PROVEN
    issuer.keys.append(jwk("two"))
    await issuer.clock.sleep(61.0)

    assert await issuer.judge(token(key_id="two")) is Standing.PROVEN
    assert issuer.reads == 2


async def test_a_key_that_was_withdrawn_is_forgotten_within_an_hour(issuer: Issuer) -> None:
    assert await issuer.judge(token(exp=NOW + 9_999)) is Standing.PROVEN
    issuer.keys = [jwk("two")]
    await issuer.clock.sleep(3_600.0)

    async def is_forgotten() -> bool:
        return await issuer.judge(token(exp=NOW + 9_999)) is Standing.FORGED

    assert await wait_until(is_forgotten, within=2.0)
    assert issuer.reads == 2


async def test_strangers_cannot_have_the_keys_read_for_each_of_their_tokens(issuer: Issuer) -> None:
    await issuer.judge(token())
    await issuer.clock.sleep(61.0)

    for number in range(20):
        assert await issuer.judge(token(key_id=f"{number}", signed_by="mine")) is Standing.FORGED

    assert issuer.reads == 2


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("away"),
        httpx.ReadTimeout("late"),
        httpx.Response(503, content=orjson.dumps({"keys": [jwk("one")]})),
        httpx.Response(302, headers={"location": "https://elsewhere.example.org/keys"}),
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, content=b"[]"),
        httpx.Response(200, content=b'{"keys": []}'),
        httpx.Response(200, content=b'{"keys": [1, {"kty": "RSA"}]}'),
        httpx.Response(200, content=orjson.dumps({"keys": [jwk("one")]}) + b" " * 300_000),
    ],
)
async def test_without_keys_nothing_is_told_and_they_are_asked_for_again(
    issuer: Issuer, answer: httpx.Response | Exception
) -> None:
    """Neither good nor forged: whoever pushes comes again. The log says what ails the keys."""
    issuer.answer = answer
    with capture_logs() as logs:
        assert await issuer.judge(token()) is Standing.UNKNOWN
        assert await issuer.judge(token()) is Standing.UNKNOWN
    assert [line["event"] for line in logs] == ["token_keys_not_read"]
    assert issuer.reads == 1

    issuer.answer = None
    await issuer.clock.sleep(5.0)

    assert await issuer.judge(token()) is Standing.PROVEN


async def test_known_keys_are_good_for_a_day_where_they_cannot_be_read_anew(issuer: Issuer) -> None:
    late = token(exp=NOW + 200_000)
    assert await issuer.judge(late) is Standing.PROVEN
    issuer.answer = httpx.ConnectError("away")

    with capture_logs():
        await issuer.clock.sleep(86_000.0)
        assert await issuer.judge(late) is Standing.PROVEN
        await issuer.clock.sleep(500.0)
        assert await issuer.judge(late) is Standing.UNKNOWN


async def test_a_known_key_does_not_wait_for_the_reading(issuer: Issuer) -> None:
    late = token(exp=NOW + 9_999)
    await issuer.judge(late)
    await issuer.clock.sleep(3_601.0)
    reads = issuer.reads

    assert await issuer.judge(late) is Standing.PROVEN

    assert issuer.reads == reads
    await issuer.judge(token(key_id="two"))
    assert issuer.reads == reads + 1


async def test_a_token_of_any_length_is_looked_at_briefly(issuer: Issuer) -> None:
    assert await issuer.judge(token(more="x" * 9_000)) is Standing.FORGED
    assert await issuer.judge("." * 10_000_000) is Standing.FORGED
    assert issuer.reads == 0


async def test_logs_never_hold_a_token(issuer: Issuer) -> None:
    issuer.answer = httpx.Response(200, content=token().encode())
    with capture_logs() as logs:
        await issuer.judge(token())

    assert token() not in repr(logs)


@given(st.text() | st.lists(st.text(), max_size=5).map(".".join))
@settings(max_examples=200, deadline=None)
def test_no_text_makes_it_fail(text: str) -> None:
    assert asyncio.run(Issuer().judge(text)) is Standing.FORGED


@given(st.integers(0, 2), st.data())
@settings(max_examples=150, deadline=None)
def test_whatever_bit_is_changed_the_token_proves_nothing(part: int, data: Any) -> None:
    """Of the parts as they decode: the last sign of each has bits that mean nothing."""
    parts = [urlsafe_b64decode(each + "==") for each in token().split(".")]
    changed = bytearray(parts[part])
    bit = data.draw(st.integers(0, 8 * len(changed) - 1))
    changed[bit // 8] ^= 1 << bit % 8
    parts[part] = bytes(changed)

    spoiled = ".".join(map(encoded, parts))

    assert asyncio.run(Issuer().judge(spoiled)) is not Standing.PROVEN
