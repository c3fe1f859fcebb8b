"""Push subscriptions of the emulator deliver through `deliver`, beside a worker that pulls the same mails.

The emulator pushes without a token, so a small forwarder stands between: it adds one of our own issuer's, or a forged
one.
"""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import httpx
import orjson
import pytest
from aiohttp import web

from postman.testing.waiting import wait_until
from tests.contract.functions.servers import Framework, Issuer, running_issuer
from tests.system.town import Town, mail

FIRST, ALL = 300, 1_000


class Forwarder:
    """Passes pushes on to *url*, with a token; counts what was answered about each mail."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.url = ""
        self.is_honest = False
        self.answers: Counter[int] = Counter()
        self.done: Counter[str] = Counter()
        """How often each mail was answered with "done"."""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        async with aiohttp.ClientSession() as session:
            self._session = session
            app = web.Application(client_max_size=20_000_000)
            app.add_routes([web.post("/{path:.*}", self._forward)])
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            try:
                yield f"http://127.0.0.1:{runner.addresses[0][1]}/push"
            finally:
                await runner.cleanup()

    async def _forward(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = self.issuer.headers() if self.is_honest else self.issuer.headers(signed_by="mine")
        try:
            async with self._session.post(self.url, data=body, headers=headers) as answer:
                status = answer.status
        except aiohttp.ClientError:
            status = 502
        self.answers[status] += 1
        if status == 204:
            self.done[orjson.loads(body)["message"]["attributes"]["mail_id"]] += 1
        return web.Response(status=status)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer


@pytest.mark.slow
async def test_pushed_and_pulled_by_two_at_a_time_every_mail_is_sent_once(town: Town, issuer: Issuer) -> None:
    """First forged tokens, which change nothing; then 300 mails by push alone; then 700 more by both."""
    forwarder = Forwarder(issuer)
    with Framework("deliver", folder=town.folder, environ={**town.environ, **issuer.settings}) as server:
        await asyncio.to_thread(server.wait_until_listening)
        forwarder.url = server.url
        async with forwarder.listening() as endpoint:
            await subscribe(town, endpoint)
            published = await publish(town, range(FIRST))
            await wait_until(lambda: forwarder.answers[401] >= 20, within=30.0)
            assert set(forwarder.answers) == {401}
            assert await town.accepted() == []

            forwarder.is_honest = True
            await wait_until(lambda: len(forwarder.done) == FIRST, within=60.0)
            assert await town.has_accepted(FIRST)

            await town.cluster.start_worker("puller")
            await town.cluster.wait_for_workers("puller")
            published += await publish(town, range(FIRST, ALL))
            await wait_until(lambda: len(forwarder.done) == ALL, within=60.0)
            await wait_until(lambda: town.has_accepted(ALL), within=30.0)
            assert await town.cluster.stop("puller") == 0
            server.signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.ended, within=10.0) == 0

    assert sorted(each["mail_id"] for each in await town.accepted()) == sorted(published)
    by_push = {event["mail_id"] for event in server.events("sent")}
    by_pull = town.cluster.events('"sent"')
    assert by_push | by_pull == set(published)
    assert by_push & by_pull == set()
    assert by_pull
    assert "@example.org" not in server.err.read_text()


async def publish(town: Town, numbers: range) -> list[str]:
    path = town.folder / "mails.jsonl"
    path.write_bytes(b"\n".join(orjson.dumps(mail(number)) for number in numbers))
    lines = (await town.run("publish", str(path))).splitlines()
    return [orjson.loads(line)["id"] for line in lines]


async def subscribe(town: Town, endpoint: str) -> None:
    """Let every shard push as well, by a subscription beside the one that workers pull from."""
    emulator, project = town.environ["PUBSUB_EMULATOR_HOST"], town.environ["GOOGLE_CLOUD_PROJECT"]
    async with httpx.AsyncClient(base_url=f"http://{emulator}/v1/projects/{project}/", trust_env=False) as client:
        for shard in range(8):
            name = f"{town.environ['POSTMAN_PREFIX']}-mail-{shard}"
            document = {
                "topic": f"projects/{project}/topics/{name}",
                "pushConfig": {"pushEndpoint": endpoint},
                "ackDeadlineSeconds": 10,
            }
            answer = await client.put(f"subscriptions/{name}-push", json=document)
            assert answer.is_success, answer.text
