"""`deliver` as the functions framework serves it: pushes with genuine tokens, and all others."""

import hmac
import signal
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import count
from pathlib import Path

import httpx
import orjson
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from postman.testing.waiting import wait_until_blocking
from tests.contract.cli.commands import Postman, SandboxProcess
from tests.contract.functions.servers import Framework, Issuer, envelope, posted
from tests.contract.functions.tokens import AUDIENCE, claims, encoded, private_key

NUMBERS = count(1)


@pytest.fixture(scope="module")
def server(folder: Path, postman: Postman, issuer: Issuer) -> Iterator[Framework]:
    postman("init")
    with Framework("deliver", folder=folder, environ=postman.environ | issuer.settings) as server:
        server.wait_until_listening()
        yield server
        server.signal(signal.SIGTERM)
        assert server.ended(within=10.0) == 0


@pytest.fixture
def client(server: Framework) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30.0, trust_env=False) as client:
        yield client


@pytest.fixture
def mail_id() -> str:
    return f"m-{next(NUMBERS)}"


def test_a_genuine_push_is_sent_and_recorded_before_the_answer(
    client: httpx.Client, issuer: Issuer, postman: Postman, sandbox: SandboxProcess, mail_id: str
) -> None:
    answer = client.post("/push/anywhere", content=envelope(mail_id), headers=issuer.headers())

    assert (answer.status_code, answer.content) == (204, b"")
    assert sandbox.accepted() == [mail_id]
    assert postman.states([mail_id]) == {mail_id: "sent"}


def test_a_push_that_comes_again_sends_nothing(
    client: httpx.Client, issuer: Issuer, sandbox: SandboxProcess, mail_id: str
) -> None:
    pushes = [envelope(mail_id, envelope={"deliveryAttempt": attempt}) for attempt in (1, 2, 3)]

    answers = [client.post("/", content=push, headers=issuer.headers()) for push in pushes]

    assert [answer.status_code for answer in answers] == [204] * 3
    assert sandbox.accepted() == [mail_id]


NOW = time.time()
SPOILED: dict[str, tuple[int, Callable[[Issuer], dict[str, str]]]] = {
    "none": (401, lambda _: {}),
    "empty": (401, lambda _: {"authorization": "Bearer"}),
    "another scheme": (401, lambda issuer: {"authorization": f"Basic {issuer.token()}"}),
    "forged": (401, lambda issuer: issuer.headers(signed_by="mine")),
    "an unknown key": (401, lambda issuer: issuer.headers(key_id="mine")),
    "expired": (401, lambda issuer: issuer.headers(exp=NOW - 60)),
    "not valid yet": (401, lambda issuer: issuer.headers(nbf=NOW + 3_600)),
    "another audience": (401, lambda issuer: issuer.headers(aud="https://other.example.org")),
    "several audiences": (401, lambda issuer: issuer.headers(aud=[AUDIENCE, "https://other.example.org"])),
    "another issuer": (401, lambda issuer: issuer.headers(iss="https://accounts.google.com")),
    "no signature": (401, lambda issuer: _bearer(issuer.token().rpartition(".")[0] + ".")),
    "algorithm none": (401, lambda issuer: _bearer(_said(issuer, "none", b""))),
    "the public key as a secret": (401, lambda issuer: _bearer(_said(issuer, "HS256", _pem()))),
    "another account": (403, lambda issuer: issuer.headers(email="other@demo-postman.iam.gserviceaccount.com")),
    "an account that is not verified": (403, lambda issuer: issuer.headers(email_verified=False)),
    "no account": (403, lambda issuer: issuer.headers(email=None)),
}


def test_no_other_token_is_let_in_and_nothing_changes(
    client: httpx.Client, issuer: Issuer, postman: Postman, sandbox: SandboxProcess
) -> None:
    """Neither with a mail nor with what is none, which would be dead-lettered."""
    ids = {how: f"m-{next(NUMBERS)}" for how in SPOILED}
    dead = postman.dead()

    for how, (status, headers) in SPOILED.items():
        for body in (envelope(ids[how]), posted(b"no mail", {"mail_id": ids[how], "schema": "1"})):
            answer = client.post("/", content=body, headers=headers(issuer))
            assert (how, answer.status_code) == (how, status)
            assert answer.headers["content-type"] == "application/problem+json"

    assert postman.states(ids.values()) == {}
    assert sandbox.requests() == 0
    assert postman.dead() == dead


def test_a_token_that_comes_twice_is_none(client: httpx.Client, issuer: Issuer, mail_id: str) -> None:
    headers = [*issuer.headers().items(), *issuer.headers().items()]

    assert client.post("/", content=envelope(mail_id), headers=headers).status_code == 401


def test_a_token_that_cloud_run_has_checked_proves_nothing_here_and_the_log_says_why(
    client: httpx.Client, server: Framework, issuer: Issuer, mail_id: str
) -> None:
    """It takes the signature out; whoever reaches the process past it could write the same."""
    stripped = issuer.token().rpartition(".")[0] + ".SIGNATURE_REMOVED_BY_GOOGLE"

    def is_told() -> bool:
        assert client.post("/", content=envelope(mail_id), headers=_bearer(stripped)).status_code == 401
        return any("Cloud Run" in event["reason"] for event in server.events("push_refused"))

    assert wait_until_blocking(is_told, within=5.0, every=0.3)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"[]",
        b"{}",
        b'{"message": 1}',
        b'{"message": {"data": 7}}',
        b'{"message": {"data": "%%%%"}}',
        b'{"message": {"attributes": {"mail_id": 7}}}',
        b'{"message": {"data": ' + b"[" * 300_000,
        orjson.dumps({"from": {"email": "a@example.org"}, "to": []}),
    ],
)
def test_what_is_no_envelope_stays_with_pubsub_and_is_told_of(
    client: httpx.Client, server: Framework, issuer: Issuer, body: bytes
) -> None:
    before = len(server.events("push_not_read"))

    answer = client.post("/", content=body, headers=issuer.headers())

    assert answer.status_code == 400
    wait_until_blocking(lambda: len(server.events("push_not_read")) > before, within=5.0)


def test_what_is_no_mail_lies_among_the_dead_letters_with_its_bytes(
    client: httpx.Client, issuer: Issuer, postman: Postman, mail_id: str
) -> None:
    junk = posted(b"\xff\x00 no mail", {"mail_id": mail_id, "schema": "1"})

    assert client.post("/", content=junk, headers=issuer.headers()).status_code == 204

    [letter] = [letter for letter in postman.dead() if letter["id"] == mail_id]
    assert (letter["reason"], letter["shard"]) == ("malformed", 2)
    assert "no mail" in postman("dead", "show", mail_id, "--content").out


def test_while_the_providers_are_down_a_mail_comes_again_and_is_sent_later(
    client: httpx.Client, issuer: Issuer, postman: Postman, sandbox: SandboxProcess, mail_id: str
) -> None:
    sandbox.fail("down")

    answer = client.post("/", content=envelope(mail_id), headers=issuer.headers())

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert sandbox.accepted() == []
    sandbox.recover()
    wait_until_blocking(
        lambda: client.post("/", content=envelope(mail_id), headers=issuer.headers()).status_code == 204, within=30.0
    )
    assert sandbox.accepted() == [mail_id]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_only_posts_are_taken(client: httpx.Client, issuer: Issuer, method: str) -> None:
    answer = client.request(method, "/", headers=issuer.headers())

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_logs_hold_neither_token_nor_address(
    client: httpx.Client, server: Framework, issuer: Issuer, mail_id: str
) -> None:
    good, spoiled = issuer.headers(), issuer.headers(signed_by="mine")
    client.post("/", content=envelope(mail_id), headers=good)
    client.post("/", content=envelope(mail_id), headers=spoiled)

    wait_until_blocking(lambda: server.events("push_refused"), within=5.0)
    log = server.err.read_text() + server.out.read_text()
    assert not any(headers["authorization"].rpartition(".")[2] in log for headers in (good, spoiled))
    assert "@example.org" not in log


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def _said(issuer: Issuer, algorithm: str, secret: bytes) -> str:
    """Return a token that is sealed with *secret*, by hand, as no library would."""
    signed = f"{encoded({'alg': algorithm, 'typ': 'JWT', 'kid': 'one'})}.{encoded(claims(issuer.url, time.time()))}"
    seal = hmac.digest(secret, signed.encode(), sha256) if secret else b""
    return f"{signed}.{encoded(seal)}"


def _pem() -> bytes:
    return private_key("one").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
