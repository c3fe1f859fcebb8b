"""Who was let in by Google's platforms; the keys are this test's own, on a server of this machine."""

from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from functools import cache
from typing import Any, Final

import jwt
import orjson
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm
from multidict import CIMultiDict
from structlog.testing import capture_logs

from postman.adapters.identities import IAP, CloudRunIdentities, IapIdentities, iap_keys
from postman.config import Settings
from postman.errors import ConfigError
from postman.ports.tokens import NOBODY, Identity, Standing
from postman.testing.clock import FakeClock
from postman.wiring.identities import open_identities
from tests.contract.functions import tokens

NOW: Final = 1_700_000_000.0
AUDIENCE: Final = "/projects/4711/locations/europe-west1/services/postman-console"
ANA: Final = Identity(Standing.PROVEN, "ana@example.org")


@cache
def curve_key(_name: str, curve: type[ec.EllipticCurve]) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve())


def curve_jwk(name: str, curve: type[ec.EllipticCurve] = ec.SECP256R1, **more: Any) -> dict[str, object]:
    public = ECAlgorithm.to_jwk(curve_key(name, curve).public_key(), as_dict=True)
    return {**public, "kid": name, "alg": "ES256", "use": "sig", **more}


def said(**changed: Any) -> dict[str, Any]:
    """Return what a genuine assertion says; what is changed to None is left out."""
    claims = {
        "iss": IAP,
        "aud": AUDIENCE,
        "email": "Ana@Example.org",
        "sub": "accounts.google.com:1137",
        "hd": "example.org",
        "iat": NOW - 60,
        "exp": NOW + 540,
        **changed,
    }
    return {name: value for name, value in claims.items() if value is not None}


def assertion(*, key_id: str = "one", signed_by: str = "", algorithm: str = "ES256", **changed: Any) -> str:
    return jwt.encode(
        said(**changed), curve_key(signed_by or key_id, ec.SECP256R1), algorithm=algorithm, headers={"kid": key_id}
    )


def carrying(token: str) -> dict[str, str]:
    return {"X-Goog-IAP-JWT-Assertion": token, "Cookie": "a=b"}


class KeyServer:
    """Serves a document of keys."""

    def __init__(self) -> None:
        self.keys: list[dict[str, object]] = [curve_jwk("one")]
        self.status = 200
        self.reads = 0
        self.url = ""

    async def tell(self, _request: web.Request) -> web.Response:
        self.reads += 1
        return web.Response(body=orjson.dumps({"keys": self.keys}), status=self.status)


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    server, app = KeyServer(), web.Application()
    app.router.add_get("/keys", server.tell)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    yield server
    await runner.cleanup()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall=NOW)


@pytest.fixture
async def proxy(server: KeyServer, clock: FakeClock) -> AsyncIterator[IapIdentities]:
    opened = IapIdentities(AUDIENCE, keys=iap_keys(clock, url=server.url), clock=clock)
    yield opened
    await opened.aclose()


class TestIdentityAwareProxy:
    """Its assertion is verified."""

    async def test_whom_it_names_is_proven(self, proxy: IapIdentities, server: KeyServer) -> None:
        """By an address in lower case; the keys are read once for many requests."""
        for _ in range(3):
            assert await proxy.identify(carrying(assertion())) == ANA
        assert server.reads == 1

    @pytest.mark.parametrize(
        "changed",
        [
            {"iss": "https://accounts.google.com"},
            {"iss": None},
            {"aud": AUDIENCE + "2"},
            {"aud": [AUDIENCE]},
            {"aud": None},
            {"exp": NOW - 11},
            {"exp": None},
            {"exp": str(NOW + 540)},
            {"iat": NOW + 11},
            {"nbf": NOW + 11},
            {"email": None},
            {"email": ""},
            {"email": "ana"},
            {"email": "ana@example.org\n"},
            {"email": "аna@example.org"},  # noqa: RUF001 — a Cyrillic letter that looks like ours
            {"email": "a" * 320 + "@example.org"},
            {"email": ["ana@example.org"]},
        ],
    )
    async def test_what_is_not_as_expected_proves_nothing(self, proxy: IapIdentities, changed: dict[str, Any]) -> None:
        assert await proxy.identify(carrying(assertion(**changed))) == NOBODY

    @pytest.mark.parametrize("changed", [{"exp": NOW - 9}, {"iat": NOW + 9}, {"more": {"access_levels": []}}])
    async def test_clocks_may_differ_and_claims_be_added(self, proxy: IapIdentities, changed: dict[str, Any]) -> None:
        assert await proxy.identify(carrying(assertion(**changed))) == ANA

    async def test_an_assertion_expires_by_our_clock(self, proxy: IapIdentities, clock: FakeClock) -> None:
        sent = carrying(assertion())
        assert await proxy.identify(sent) == ANA
        await clock.sleep(551.0)
        assert await proxy.identify(sent) == NOBODY

    async def test_another_s_signature_is_forged(self, proxy: IapIdentities) -> None:
        """Also under the name of Google's key, without any, and with the signature taken out."""
        head, body, _ = assertion().split(".")

        assert await proxy.identify(carrying(assertion(signed_by="mine"))) == NOBODY
        assert await proxy.identify(carrying(f"{head}.{body}.")) == NOBODY
        assert await proxy.identify(carrying(f"{head}.{body}.SIGNATURE_REMOVED_BY_GOOGLE")) == NOBODY

    async def test_no_other_algorithm_is_taken(self, proxy: IapIdentities, server: KeyServer) -> None:
        """Although the issuer has such keys under that name."""
        server.keys = [curve_jwk("one"), tokens.jwk("rsa"), curve_jwk("long", ec.SECP384R1, alg="ES384")]
        signed = tokens.token(said(), key_id="rsa")
        long = jwt.encode(said(), curve_key("long", ec.SECP384R1), algorithm="ES384", headers={"kid": "long"})
        unsigned = jwt.encode(said(), "", algorithm="none", headers={"kid": "one"})

        assert [await proxy.identify(carrying(each)) for each in (signed, long, unsigned)] == [NOBODY] * 3
        assert await proxy.identify(carrying(assertion())) == ANA

    async def test_a_longer_key_that_calls_itself_es256_is_not_used(
        self, proxy: IapIdentities, server: KeyServer
    ) -> None:
        server.keys = [curve_jwk("one", ec.SECP384R1), curve_jwk("two")]

        assert await proxy.identify(carrying(assertion(key_id="two"))) == ANA
        assert await proxy.identify(carrying(assertion())) == NOBODY

    async def test_no_header_and_two_headers_prove_nothing(self, proxy: IapIdentities) -> None:
        """Of two somebody else may have put one there."""
        one = assertion()
        twice = CIMultiDict([("x-goog-iap-jwt-assertion", one), ("X-Goog-IAP-JWT-Assertion", one)])

        assert await proxy.identify({}) == NOBODY
        assert (
            await proxy.identify({"X-Goog-Authenticated-User-Email": "accounts.google.com:ana@example.org"}) == NOBODY
        )
        assert await proxy.identify(twice) == NOBODY

    async def test_without_keys_nothing_can_be_told(
        self, proxy: IapIdentities, server: KeyServer, clock: FakeClock
    ) -> None:
        """Neither who it is nor that it is nobody; they are asked for again."""
        server.status = 503
        with capture_logs() as logs:
            assert await proxy.identify(carrying(assertion())) == Identity(Standing.UNKNOWN)
        assert [line["event"] for line in logs] == ["token_keys_not_read"]

        server.status = 200
        await clock.sleep(5.0)
        assert await proxy.identify(carrying(assertion())) == ANA

    async def test_a_new_key_is_found(self, proxy: IapIdentities, server: KeyServer, clock: FakeClock) -> None:
        await proxy.identify(carrying(assertion()))
        server.keys = [curve_jwk("two")]
        await clock.sleep(61.0)

        assert await proxy.identify(carrying(assertion(key_id="two"))) == ANA


def handed_on(signature: str = "SIGNATURE_REMOVED_BY_GOOGLE", kind: str = "Bearer", **changed: Any) -> str:
    claims = said(iss="https://accounts.google.com", aud="https://console.run.app", email_verified=True)
    claims = {name: value for name, value in {**claims, **changed}.items() if value is not None}
    head, body = (urlsafe_b64encode(orjson.dumps(part)).rstrip(b"=").decode() for part in ({"alg": "RS256"}, claims))
    return f"{kind} {head}.{body}.{signature}"


class TestCloudRun:
    """Its callers' tokens are believed as it hands them on."""

    @pytest.fixture
    def service(self, clock: FakeClock) -> CloudRunIdentities:
        return CloudRunIdentities(clock=clock)

    async def test_a_caller_that_was_checked_is_proven(self, service: CloudRunIdentities) -> None:
        assert await service.identify({"Authorization": handed_on()}) == ANA
        assert await service.identify({"X-Serverless-Authorization": handed_on(kind="bearer")}) == ANA

    async def test_only_the_header_that_was_checked_counts(self, service: CloudRunIdentities) -> None:
        """Cloud Run leaves the other as its sender wrote it."""
        forged = handed_on(email="boss@example.org")

        both = CIMultiDict({"Authorization": forged, "X-Serverless-Authorization": handed_on()})
        assert await service.identify(both) == ANA
        spoiled = CIMultiDict({"Authorization": forged, "X-Serverless-Authorization": "Bearer none"})
        assert await service.identify(spoiled) == NOBODY

    @pytest.mark.parametrize(
        "header",
        [
            handed_on(signature="c2lnbmF0dXJl"),
            handed_on(signature=""),
            handed_on(kind="Basic"),
            handed_on(iss="https://accounts.example.org"),
            handed_on(exp=NOW - 11),
            handed_on(iat=NOW + 11),
            handed_on(email=None),
            handed_on(email_verified=False),
            handed_on(email_verified=None),
            handed_on(email_verified="true"),
            handed_on(more="x" * 9_000),
            "Bearer a.b.SIGNATURE_REMOVED_BY_GOOGLE",
            "Bearer SIGNATURE_REMOVED_BY_GOOGLE",
            "Bearer",
            "",
        ],
        ids=range(15),
    )
    async def test_anything_else_proves_nothing(self, service: CloudRunIdentities, header: str) -> None:
        assert await service.identify({"Authorization": header}) == NOBODY

    async def test_two_headers_prove_nothing(self, service: CloudRunIdentities) -> None:
        two = CIMultiDict([("Authorization", handed_on()), ("authorization", handed_on())])

        assert await service.identify(two) == NOBODY

    @given(st.text())
    @settings(max_examples=100, deadline=None)
    async def test_no_text_makes_it_fail(self, text: str) -> None:
        service = CloudRunIdentities(clock=FakeClock(wall=NOW))

        assert await service.identify({"Authorization": text}) == NOBODY
        assert await service.identify({"Authorization": f"Bearer x.{text}.SIGNATURE_REMOVED_BY_GOOGLE"}) == NOBODY


def test_an_address_is_in_no_representation() -> None:
    assert "ana" not in repr(ANA)


class TestOpening:
    """By the settings."""

    def test_no_platform_says_nothing(self) -> None:
        assert open_identities(Settings(), {}) is None

    def test_cloud_run_is_believed_within_it_only(self) -> None:
        settings = Settings(console_identity="cloudrun")
        with pytest.raises(ConfigError, match="POSTMAN_CONSOLE_IDENTITY"):
            open_identities(settings, {})
        assert isinstance(open_identities(settings, {"K_SERVICE": "postman-console"}), CloudRunIdentities)

    async def test_the_proxy_needs_an_audience(self) -> None:
        with pytest.raises(ConfigError, match="POSTMAN_CONSOLE_AUDIENCE"):
            open_identities(Settings(console_identity="iap"), {})
        opened = open_identities(Settings(console_identity="iap", console_audience=AUDIENCE), {})
        assert isinstance(opened, IapIdentities)
        await opened.aclose()

    def test_other_platforms_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="POSTMAN_CONSOLE_IDENTITY: must be cloudrun or iap"):
            Settings.from_env({"POSTMAN_CONSOLE_IDENTITY": "aws"})
