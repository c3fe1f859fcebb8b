"""The backlog's contract over Cloud Monitoring, and what only it can do; against a server on this machine."""

import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from postman.adapters.pubsub._monitoring import nobody
from postman.adapters.pubsub.backlog import PubsubBacklogs, open_backlogs
from postman.errors import ConfigError, QueueUnavailableError
from postman.ports.opening import Cluster
from postman.testing.backlog_suite import BacklogSuite
from postman.testing.clock import FakeClock
from postman.testing.monitoring_server import AGE, COUNT, MonitoringServer

PROJECT = "shop-prod"
LIVE = "postman-mail-0"


class MeasuredRoom:
    """A `WaitingRoom`: what Google's queues would have been measured to hold, a minute ago."""

    def __init__(self, server: MonitoringServer, clock: FakeClock) -> None:
        self._server = server
        self._clock = clock

    async def fill(self, shard: int, ages: Sequence[float], *, dead: bool = False, prefix: str = "postman") -> None:
        name = f"{prefix}-mail-{shard}" + ("-dead" if dead else "")
        oldest = int(max(ages, default=0.0))
        self._server.measure(name, at=self._clock.time() - 60.0, count=len(ages), age=oldest)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def server() -> AsyncIterator[MonitoringServer]:
    async with MonitoringServer(PROJECT) as running:
        yield running


@pytest.fixture
def waiting_room(server: MonitoringServer, clock: FakeClock) -> MeasuredRoom:
    return MeasuredRoom(server, clock)


@pytest.fixture
async def backlogs(server: MonitoringServer, clock: FakeClock) -> AsyncIterator[PubsubBacklogs]:
    opened = open_at(server, clock)
    yield opened
    await opened.aclose()


def open_at(server: MonitoringServer, clock: FakeClock, **options: Any) -> PubsubBacklogs:
    base_url = f"http://{server.address}"
    return PubsubBacklogs(Cluster(clock, project=PROJECT), base_url=base_url, **{"authorise": nobody, **options})


class TestPubsubBacklogs(BacklogSuite):
    """The contract."""


async def test_a_look_is_one_request_for_each_metric(backlogs: PubsubBacklogs, server: MonitoringServer) -> None:
    """However many shards there are."""
    await backlogs.look(range(64))

    assert sorted(server.questions) == [(COUNT, ""), (AGE, "")]


async def test_the_latest_measurement_counts(
    backlogs: PubsubBacklogs, server: MonitoringServer, clock: FakeClock
) -> None:
    """And its own time is told; where the two metrics are of different minutes the older one."""
    now = clock.time()
    for ago, count in ((240.0, 900), (120.0, 7), (180.0, 800)):
        server.measure(LIVE, at=now - ago, count=count)
    server.measure(LIVE, at=now - 180.0, age=33)

    found = (await backlogs.look([0]))[0]

    assert (found.count, found.oldest_age) == (7, 33.0)
    assert found.at == pytest.approx(now - 180.0, abs=0.001)


async def test_what_was_measured_long_ago_is_not_told(
    backlogs: PubsubBacklogs, server: MonitoringServer, clock: FakeClock
) -> None:
    """A shard of which nothing came for five minutes is left out."""
    server.measure(LIVE, at=clock.time() - 301.0, count=4, age=5)

    assert not await backlogs.look([0])


async def test_mails_of_unknown_age_are_left_out(
    backlogs: PubsubBacklogs, server: MonitoringServer, clock: FakeClock
) -> None:
    """But that nothing waits needs no age."""
    at = clock.time() - 60.0
    server.measure(LIVE, at=at, count=4)
    server.measure("postman-mail-1", at=at, count=0)
    server.measure("postman-mail-2", at=at, age=9)

    assert {shard: each.count for shard, each in (await backlogs.look([0, 1, 2])).items()} == {1: 0}


async def test_an_answer_in_pages_is_read_whole(
    backlogs: PubsubBacklogs, server: MonitoringServer, waiting_room: MeasuredRoom
) -> None:
    server.page_size = 3
    for shard in range(10):
        await waiting_room.fill(shard, [1.0] * shard)

    found = await backlogs.look(range(10))

    assert {shard: each.count for shard, each in found.items()} == {shard: shard for shard in range(10)}
    assert sorted(page for metric, page in server.questions if metric == AGE) == ["", "3", "6", "9"]


async def test_pages_without_an_end_are_given_up(backlogs: PubsubBacklogs, server: MonitoringServer) -> None:
    server.body = b'{"nextPageToken": "again"}'

    with pytest.raises(QueueUnavailableError, match="pages"):
        await backlogs.look([0])


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (400, "calls the question wrong"),
        (401, "does not accept our credentials"),
        (403, r"roles/monitoring\.viewer"),
        (404, "no such project"),
        (429, "quota"),
        (302, "failed with status 302"),
        (500, "failed with status 500"),
        (503, "failed with status 503"),
    ],
)
async def test_a_refusal_says_what_to_do(
    backlogs: PubsubBacklogs, server: MonitoringServer, status: int, problem: str
) -> None:
    """It is asked once, and the next look asks again."""
    server.status = status
    with pytest.raises(QueueUnavailableError, match=problem):
        await backlogs.look([0])
    assert len(server.tokens) == 2

    server.status = 200
    assert await backlogs.look([0]) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"timeSeries": {}}',
        b'{"timeSeries": [{"points": []}]}',
        b'{"timeSeries": [{"resource": {"labels": {}}, "points": [{"value": {"int64Value": "-1"}}]}]}',
        b'{"timeSeries": [{"resource": {"labels": {}}, "points": [{"value": {"int64Value": "1"}, "interval": {}}]}]}',
        b'{"timeSeries": [{"resource": {"labels": {}}, "points": [{"interval": {"endTime": "2026-01-01T00:00:00"}}]}]}',
        b'{"x": "' + b"x" * (17 << 20) + b'"}',
    ],
    ids=range(8),
)
async def test_what_is_no_answer_is_out_of_reach(
    backlogs: PubsubBacklogs, server: MonitoringServer, body: bytes
) -> None:
    """Some gateway's page, or too much; no number is made of it."""
    server.body = body

    with pytest.raises(QueueUnavailableError, match="not Cloud Monitoring"):
        await backlogs.look([0])


async def test_an_unknown_field_is_passed_over(backlogs: PubsubBacklogs, server: MonitoringServer) -> None:
    """Google's answers grow."""
    server.body = b'{"unit": "1", "executionErrors": [{"code": 4}]}'

    assert await backlogs.look([0]) == {}


async def test_who_does_not_answer_is_not_waited_for(server: MonitoringServer, clock: FakeClock) -> None:
    backlogs = open_at(server, clock, limit=0.3)
    server.answering.clear()
    began = time.monotonic()

    with pytest.raises(QueueUnavailableError, match="in time"):
        await backlogs.look([0])

    assert time.monotonic() - began < 5.0
    await backlogs.aclose()


async def test_nobody_there_and_closed(server: MonitoringServer, clock: FakeClock) -> None:
    backlogs = open_at(server, clock)
    await server.__aexit__(None, None, None)
    with pytest.raises(QueueUnavailableError, match="reached"):
        await backlogs.look([0])
    await backlogs.aclose()
    with pytest.raises(QueueUnavailableError, match="closed"):
        await backlogs.look([0])


class TestCredentials:
    """Google's default credentials, of a service account whose token server is this test's."""

    @pytest.fixture
    async def granted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
        """The scopes for which tokens were asked."""
        granted: list[str] = []

        async def token(request: web.Request) -> web.Response:
            granted.append(str((await request.post())["grant_type"]))
            return web.json_response({"access_token": f"token-{len(granted)}", "expires_in": 3_600})

        app = web.Application()
        app.router.add_post("/token", token)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        file = tmp_path / "account.json"
        file.write_text(json.dumps(_account(f"http://127.0.0.1:{runner.addresses[0][1]}/token")))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
        yield granted
        await runner.cleanup()

    async def test_requests_carry_a_token_that_is_kept(
        self, server: MonitoringServer, clock: FakeClock, granted: list[str]
    ) -> None:
        """One is fetched for any number of looks."""
        backlogs = open_at(server, clock, authorise=None)
        await backlogs.look([0])
        await backlogs.look([0])
        await backlogs.aclose()

        assert server.tokens == ["Bearer token-1"] * 4
        assert len(granted) == 1

    async def test_nobody_can_be_without(
        self, server: MonitoringServer, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing is asked then."""
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nowhere.json"))
        backlogs = open_at(server, clock, authorise=None)

        with pytest.raises(QueueUnavailableError, match="credentials"):
            await backlogs.look([0])

        assert not server.tokens
        await backlogs.aclose()


def _account(token_uri: str) -> dict[str, str]:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "one",
        "private_key": pem,
        "client_email": "console@shop-prod.iam.gserviceaccount.com",
        "token_uri": token_uri,
    }


class TestOpening:
    """Whom there is to ask."""

    def test_beside_the_emulator_nobody_measures(self, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
        assert open_backlogs("127.0.0.1:8085", Cluster(clock, project=PROJECT)) is None
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:8085")
        assert open_backlogs("", Cluster(clock, project=PROJECT)) is None

    async def test_but_who_answers_as_google_does_can_be_named(
        self, server: MonitoringServer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:8085")
        monkeypatch.setenv("MONITORING_EMULATOR_HOST", server.address)
        backlogs = open_backlogs("", Cluster(clock, project=PROJECT))
        assert backlogs is not None
        await backlogs.look([0])
        await backlogs.aclose()
        assert server.tokens == ["", ""]

    def test_wrong_settings(self, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ConfigError, match="POSTMAN_PROJECT"):
            open_backlogs("", Cluster(clock))
        monkeypatch.setenv("MONITORING_EMULATOR_HOST", "monitoring.example.org:443")
        with pytest.raises(ConfigError, match="MONITORING_EMULATOR_HOST"):
            open_backlogs("", Cluster(clock, project=PROJECT))
