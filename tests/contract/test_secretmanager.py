"""Secret Manager's adapter keeps the contract, and says what ails a secret; all against a server on this machine."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from postman.adapters._secret_names import VersionName
from postman.adapters.secretmanager import SecretManagerSecrets, open_secrets
from postman.errors import ConfigError
from postman.ports.secrets import SecretRefusedError, SecretUnavailableError, Surroundings
from postman.runtime.keys import REFRESH, Keyring
from postman.testing.clock import FakeClock
from postman.testing.grpc_proxy import GrpcProxy, StatusCode
from postman.testing.secret_server import SecretServer
from postman.testing.secrets_suite import CANARY, SecretsSuite, refusal_of
from postman.testing.waiting import wait_until

PROJECT = "shop-prod"
SECRET = f"projects/{PROJECT}/secrets/sendgrid"
METHOD = "AccessSecretVersion"


class Manager:
    """A keeper of secrets."""

    def __init__(self, server: SecretServer) -> None:
        self.server = server

    def put(self, name: str, value: bytes) -> str:
        self.server.add(f"projects/{PROJECT}/secrets/{name}", value)
        return f"secret:{name}"

    def missing(self) -> str:
        return "secret:nowhere"

    def malformed(self) -> list[str]:
        rests = [
            f"SG.{CANARY}",
            f"{CANARY}/versions/0",
            f"{CANARY}/versions/",
            f"{CANARY}/1",
            f"{CANARY}\n",
            f"{CANARY}?x=1",
            f"../{CANARY}",
            f"projects/{CANARY}",
            f"projects/p/secrets/{CANARY}/versions/latest/x",
            f"projects/p/locations/europe-west1/secrets/{CANARY}",
            f"projects/P/secrets/{CANARY}",
            CANARY * 20,
        ]
        return [*(f"secret:{rest}" for rest in rests), CANARY, f"env:{CANARY}"]


@pytest.fixture
async def server() -> AsyncIterator[SecretServer]:
    async with SecretServer() as running:
        yield running


@pytest.fixture
async def proxy(server: SecretServer) -> AsyncIterator[GrpcProxy]:
    async with GrpcProxy(server.address) as running:
        yield running


@pytest.fixture
async def secrets(proxy: GrpcProxy) -> AsyncIterator[SecretManagerSecrets]:
    opened = SecretManagerSecrets(PROJECT, emulator=proxy.address, call_limit=2.0)
    yield opened
    await opened.aclose()


class TestSecretManagerSecrets(SecretsSuite):
    """The contract."""

    @pytest.fixture
    def keeper(self, server: SecretServer) -> Manager:
        return Manager(server)


@pytest.mark.parametrize(
    ("rest", "version"),
    [
        ("", "latest"),
        ("/versions/latest", "latest"),
        ("/versions/1", "1"),
        ("/versions/2", "2"),
        ("/versions/current", "current"),
    ],
)
@pytest.mark.parametrize("start", ["sendgrid", SECRET])
async def test_a_version_is_named_in_any_form(
    secrets: SecretManagerSecrets, server: SecretServer, start: str, rest: str, version: str
) -> None:
    """Without a version the latest is meant, and the call is routed by its name as Google wants it."""
    values = {"1": b"one", "2": b"two", "latest": b"three", "current": b"two"}
    for data in (b"one", b"two", b"three"):
        server.add(SECRET, data)
    server.name(SECRET, "current", 2)

    value = await secrets.read(f"secret:{start}{rest}")

    assert value.get_secret_value() == values[version].decode()
    assert server.calls == {f"{SECRET}/versions/{version}": 1}
    assert server.misrouted == []


@pytest.mark.parametrize("own", [PROJECT, ""])
async def test_a_secret_of_another_project_is_read(server: SecretServer, own: str) -> None:
    """Also where the process knows of no project of its own."""
    server.add("projects/example.org:keys/secrets/a", b"theirs")
    secrets = SecretManagerSecrets(own, emulator=server.address)

    assert (await secrets.read("secret:projects/example.org:keys/secrets/a")).get_secret_value() == "theirs"
    await secrets.aclose()


@pytest.mark.parametrize(
    ("reference", "is_pinned"),
    [
        ("secret:a", False),
        ("secret:a/versions/latest", False),
        ("secret:a/versions/current", False),
        ("secret:a/versions/12", True),
        ("secret:projects/p1/secrets/a/versions/12", True),
        ("secret:projects/p1/secrets/12", False),
    ],
)
def test_only_a_number_is_pinned(reference: str, *, is_pinned: bool) -> None:
    assert VersionName.of(reference).is_pinned is is_pinned


@pytest.mark.parametrize("state", ["DISABLED", "DESTROYED"])
@pytest.mark.parametrize("reference", ["secret:sendgrid", "secret:sendgrid/versions/2"])
async def test_a_version_that_is_disabled_or_destroyed_is_refused(
    secrets: SecretManagerSecrets, server: SecretServer, state: str, reference: str
) -> None:
    """Also as the latest: Secret Manager does not go back to an older one by itself."""
    for number in (1, 2):
        server.add(SECRET, f"{CANARY}-{number}".encode())
    server.set_state(SECRET, 2, state)

    assert str(await refusal_of(secrets, reference)) == f"{reference}: its version is disabled or destroyed"
    assert (await secrets.read("secret:sendgrid/versions/1")).get_secret_value() == f"{CANARY}-1"


@pytest.mark.parametrize("reference", ["secret:sendgrid", "secret:sendgrid/versions/7", "secret:sendgrid/versions/old"])
async def test_a_secret_without_such_a_version_is_refused(
    secrets: SecretManagerSecrets, server: SecretServer, reference: str
) -> None:
    """As one is that Terraform made and nobody gave a value yet."""
    server.create(SECRET)

    assert "no such secret, or no such version" in str(await refusal_of(secrets, reference))


async def test_a_missing_permission_names_the_role(secrets: SecretManagerSecrets, server: SecretServer) -> None:
    server.add(SECRET, CANARY.encode())
    server.forbid(SECRET)

    error = await refusal_of(secrets, "secret:sendgrid")

    assert isinstance(error, SecretRefusedError)
    assert "roles/secretmanager.secretAccessor" in str(error)


async def test_a_value_that_was_damaged_is_not_taken(secrets: SecretManagerSecrets, server: SecretServer) -> None:
    """It may arrive whole the next time. Where no checksum comes, there is nothing to compare."""
    server.add(SECRET, CANARY.encode())
    server.checksums(SECRET, "wrong")
    assert isinstance(await refusal_of(secrets, "secret:sendgrid"), SecretUnavailableError)

    for kind in ("no", "right"):
        server.checksums(SECRET, kind)
        assert (await secrets.read("secret:sendgrid")).get_secret_value() == CANARY


@pytest.mark.parametrize(
    "code", [code for code in StatusCode if code is not StatusCode.OK], ids=lambda code: str(code.name)
)
async def test_a_failure_is_told_and_not_tried_again(
    secrets: SecretManagerSecrets, server: SecretServer, proxy: GrpcProxy, code: StatusCode
) -> None:
    """What may pass by itself can be asked again, the rest is a wrong setting; the next read is another matter."""
    lasting = {"NOT_FOUND", "FAILED_PRECONDITION", "PERMISSION_DENIED", "UNAUTHENTICATED"}
    lasting |= {"INVALID_ARGUMENT", "OUT_OF_RANGE", "UNIMPLEMENTED"}
    server.add(SECRET, CANARY.encode())
    proxy.fail(METHOD, code=code, after=True, times=1)

    error = await refusal_of(secrets, "secret:sendgrid")

    assert isinstance(error, SecretRefusedError if code.name in lasting else SecretUnavailableError)
    assert str(error).startswith("secret:sendgrid: ")
    assert proxy.calls == {METHOD: 1}
    assert (await secrets.read("secret:sendgrid")).get_secret_value() == CANARY


async def test_no_answer_is_waited_for_only_so_long(server: SecretServer, proxy: GrpcProxy) -> None:
    server.add(SECRET, CANARY.encode())
    secrets = SecretManagerSecrets(PROJECT, emulator=proxy.address, call_limit=0.2)
    proxy.hang(METHOD)

    begun = time.monotonic()
    error = await refusal_of(secrets, "secret:sendgrid")

    assert 0.15 < time.monotonic() - begun < 2.0
    assert isinstance(error, SecretUnavailableError)
    assert "in time" in str(error)
    proxy.heal()
    await secrets.aclose()


async def test_nobody_at_the_address_is_an_outage_that_ends() -> None:
    """The same client finds the server soon after its return."""
    async with SecretServer() as gone:
        address = gone.address
    secrets = SecretManagerSecrets(PROJECT, emulator=address)
    assert isinstance(await refusal_of(secrets, "secret:sendgrid"), SecretUnavailableError)

    async with SecretServer(port=int(address.rpartition(":")[2])) as back:
        back.add(SECRET, b"is back")
        value = await wait_until(lambda: _value_of(secrets), within=10.0)

    assert value == "is back"
    await secrets.aclose()


async def _value_of(secrets: SecretManagerSecrets) -> str:
    """Return the value, empty while it cannot be had."""
    try:
        return (await secrets.read("secret:sendgrid")).get_secret_value()
    except SecretUnavailableError:
        return ""


async def test_a_closed_one_reads_nothing(secrets: SecretManagerSecrets, server: SecretServer) -> None:
    server.add(SECRET, CANARY.encode())
    await secrets.aclose()

    assert isinstance(await refusal_of(secrets, "secret:sendgrid"), SecretUnavailableError)
    assert not server.calls


@pytest.mark.parametrize("ends", ["closed", "cancelled"])
async def test_a_read_under_way_ends_as_it_was_ended(
    secrets: SecretManagerSecrets, server: SecretServer, proxy: GrpcProxy, ends: str
) -> None:
    """Closing is no cancellation of whoever waits."""
    server.add(SECRET, CANARY.encode())
    proxy.hang(METHOD)
    reading = asyncio.create_task(refusal_of(secrets, "secret:sendgrid"))
    await wait_until(lambda: proxy.calls[METHOD], within=5.0)

    if ends == "cancelled":
        reading.cancel()
    await secrets.aclose()
    await asyncio.wait({reading}, timeout=5.0)

    assert reading.cancelled() is (ends == "cancelled")
    assert ends == "cancelled" or str(reading.result()) == "secret:sendgrid: Secret Manager was closed"


@pytest.mark.parametrize("host", ["127.0.0.1:1", "127.8.9.1:65535", "localhost:1", "[::1]:1"])
def test_an_emulator_is_on_this_machine(host: str, tmp_path: Path) -> None:
    open_secrets(Surroundings(tmp_path, {"SECRET_MANAGER_EMULATOR_HOST": host}))


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1:80",
        "secrets.example.org:443",
        "127.0.0.1.example.org:80",
        "localhost.example.org:80",
        "0.0.0.0:80",
        "127.0.0.1",
        "127.0.0.1:80,10.0.0.1:80",
        "127.0.0.1:80\n",
        "dns:///127.0.0.1:80",
        "ipv4:10.0.0.1:80",
        "unix:/tmp/socket",
        "127.1:80",
        "[::]:80",
        "[2001:db8::1]:80",
        "[::ffff:10.0.0.1]:80",
        "::1:80",
    ],
)
def test_an_emulator_elsewhere_is_refused(host: str, tmp_path: Path) -> None:
    """Keys would travel there without TLS, and anybody who may set a variable would get them."""
    with pytest.raises(ConfigError, match="SECRET_MANAGER_EMULATOR_HOST"):
        open_secrets(Surroundings(tmp_path, {"SECRET_MANAGER_EMULATOR_HOST": host}))


async def test_no_proxy_of_the_environment_stands_before_an_emulator(
    server: SecretServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would see the keys."""
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.add(SECRET, CANARY.encode())
    secrets = SecretManagerSecrets(PROJECT, emulator=server.address)

    assert (await secrets.read("secret:sendgrid")).get_secret_value() == CANARY
    await secrets.aclose()


async def test_without_a_project_a_short_name_says_nothing() -> None:
    error = await refusal_of(SecretManagerSecrets(""), "secret:sendgrid")

    assert "POSTMAN_PROJECT" in str(error)


async def test_missing_credentials_are_a_wrong_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are looked for where Google's libraries look, once a secret is read."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nowhere.json"))
    secrets = open_secrets(Surroundings(tmp_path, {}, PROJECT))

    error = await refusal_of(secrets, "secret:sendgrid")

    assert isinstance(error, SecretRefusedError)
    assert "no Google credentials" in str(error)
    await secrets.aclose()


async def test_a_rotation_through_an_outage(
    secrets: SecretManagerSecrets, server: SecretServer, proxy: GrpcProxy, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that was read stays while Secret Manager is away, the new one comes with it, and none is to be seen."""
    caplog.set_level(logging.DEBUG)
    clock = FakeClock(auto=False)
    keyring = Keyring({"secret": lambda: secrets}, clock=clock)
    server.add(SECRET, f"{CANARY}-old".encode())
    references = ["secret:sendgrid", "secret:sendgrid/versions/1"]
    with capture_logs() as events:
        values = list(await asyncio.gather(*(keyring.read(each) for each in references * 3)))
        server.add(SECRET, f"{CANARY}-new".encode())
        proxy.fail(METHOD)
        await clock.advance(REFRESH)
        assert await keyring.refresh() == frozenset()
        values.append(await keyring.read(references[0]))
        proxy.heal()
        await clock.advance(REFRESH)
        assert await keyring.refresh() == {references[0]}
        values.append(await keyring.read(references[0]))

    assert values == [SecretStr(f"{CANARY}-old")] * 7 + [SecretStr(f"{CANARY}-new")]
    assert server.calls == {f"{SECRET}/versions/latest": 2, f"{SECRET}/versions/1": 1}
    assert [each["event"] for each in events] == ["keys_stale", "keys_fresh_again", "keys_changed"]
    assert CANARY not in f"{events} {caplog.text} {values} {keyring!r} {secrets!r}"


async def test_a_read_under_way_ends_with_the_keyring(
    secrets: SecretManagerSecrets, server: SecretServer, proxy: GrpcProxy
) -> None:
    server.add(SECRET, CANARY.encode())
    keyring = Keyring({"secret": lambda: secrets}, clock=FakeClock())
    proxy.hang(METHOD)
    asking = asyncio.create_task(keyring.read("secret:sendgrid"))
    await wait_until(lambda: proxy.calls[METHOD], within=5.0)

    await keyring.aclose()

    with pytest.raises(SecretUnavailableError, match="closed"):
        await asking
