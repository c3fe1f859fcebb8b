"""How `deliver` ends, and what it does when all its places are taken."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from postman.testing.waiting import wait_until
from tests.contract.cli.commands import COMMAND, Postman, SandboxProcess
from tests.contract.functions.servers import FRAMEWORK, Framework, Issuer, envelope


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=30.0, trust_env=False) as client:
        yield client


@contextmanager
def delivering(folder: Path, postman: Postman, issuer: Issuer, *command: str, **settings: str) -> Iterator[Framework]:
    environ = postman.environ | issuer.settings | settings
    with Framework("deliver", folder=folder, environ=environ, command=command or FRAMEWORK) as server:
        server.wait_until_listening()
        yield server


async def test_what_is_under_way_is_finished_and_what_is_too_much_is_sent_back_at_once(
    folder: Path, postman: Postman, issuer: Issuer, sandbox: SandboxProcess, client: httpx.AsyncClient
) -> None:
    """The process is told to end in the middle, finishes, and exits in good order."""
    sandbox.fail("slow", seconds=2.0)
    with delivering(folder, postman, issuer, POSTMAN_CONCURRENCY="2") as server:

        async def push(mail_id: str) -> int:
            answer = await client.post(server.url, content=envelope(mail_id), headers=issuer.headers())
            return answer.status_code

        under_way = [asyncio.ensure_future(push(mail_id)) for mail_id in ("d-1", "d-2")]
        await wait_until(lambda: sandbox.requests() >= 2, within=10.0)
        begun = time.monotonic()
        assert await asyncio.gather(*map(push, ("d-3", "d-4", "d-5"))) == [429] * 3
        assert time.monotonic() - begun < 1.5
        server.signal(signal.SIGTERM)

        assert await asyncio.gather(*under_way) == [204] * 2
        assert await asyncio.to_thread(server.ended, within=6.0) == 0
        assert server.events("push_worker_stopped")
    assert sorted(sandbox.accepted()) == ["d-1", "d-2"]
    assert await asyncio.to_thread(postman.states, ["d-1", "d-2", "d-3"]) == {"d-1": "sent", "d-2": "sent"}


async def test_what_does_not_end_within_the_grace_is_recorded_as_doubtful_and_comes_again(
    folder: Path, postman: Postman, issuer: Issuer, sandbox: SandboxProcess, client: httpx.AsyncClient
) -> None:
    """By `postman functions`, which is the same server; here its first process alone hears of the end, by a SIGINT."""
    sandbox.fail("hang", seconds=20.0)
    with delivering(folder, postman, issuer, *COMMAND, "functions", POSTMAN_GRACE="2") as server:
        pushing = asyncio.ensure_future(client.post(server.url, content=envelope("d-6"), headers=issuer.headers()))
        await wait_until(lambda: sandbox.requests() >= 1, within=10.0)
        begun = time.monotonic()
        server.signal(signal.SIGINT)

        answer = await pushing
        assert await asyncio.to_thread(server.ended, within=6.0) == 0
        assert time.monotonic() - begun < 4.0
    assert answer.status_code == 503
    assert await asyncio.to_thread(postman.states, ["d-6"]) == {"d-6": "in_doubt"}
