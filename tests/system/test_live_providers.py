"""Providers come, change and go under load, on the real emulators, and no process is started anew."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest

from postman import Producer
from postman.config import parse_providers
from postman.core.wire import parse
from postman.entrypoints.demo.cluster import Cluster, environment_for
from postman.testing.emulators import Emulators
from postman.testing.waiting import wait_until
from tests.system.town import POSTMAN, Town, mail

SOON = 10.0
"""Seconds within which `postman status` shows a change."""
RATE = 40.0
KEYS = {"SENDGRID_API_KEY": "SG.first,SG.second", "MAILGUN_API_KEY": "key-mailgun"}


@pytest.fixture
async def town(pubsub: Emulators, firestore: Emulators, tmp_path: Path) -> AsyncIterator[Town]:
    """A cluster whose providers' document is in Firestore; its seed names SendGrid alone."""
    environ, _ = environment_for(tmp_path, run=tmp_path.name[-20:].replace("_", "-").lower(), shards=4)
    environ |= KEYS
    for name, key in (("first", "SG.first"), ("second", "SG.second"), ("mailgun", "key-mailgun")):
        (tmp_path / name).write_text(key)
        environ[f"KEY_{name.upper()}"] = key
    async with Cluster(tmp_path, environ) as sandbox:
        await sandbox.start_sandbox()
        urls = _urls(tmp_path / "providers.toml")
        seed = {"provider": [{"name": "sendgrid", "kind": "sendgrid", "api_key": "env:KEY_FIRST", **urls["sendgrid"]}]}
        environ |= {"POSTMAN_PROVIDERS": "firestore:", "POSTMAN_PROVIDERS_SEED": orjson.dumps(seed).decode()}
        environ |= {"MAILGUN_URL": urls["mailgun"]["base_url"]}
        async with Cluster(tmp_path, environ) as cluster:
            cluster.url = sandbox.url
            yield Town(cluster, environ, tmp_path)


def _urls(document: Path) -> dict[str, dict[str, Any]]:
    entries = parse_providers(document.read_text(), "sandbox")
    return {each.spec.name: {"base_url": each.spec.base_url, "timeout": 2.0, "look_up_after": 2.0} for each in entries}


@asynccontextmanager
async def _load(town: Town) -> AsyncIterator[set[str]]:
    """Publish evenly meanwhile; give the ids that were published."""
    published: set[str] = set()
    numbers, ends = count(), asyncio.Event()

    async def publish() -> None:
        async with Producer.from_env(town.environ) as producer:
            while not ends.is_set():
                number = next(numbers)
                published.add(await producer.apublish(parse(orjson.dumps(mail(number)))))
                await asyncio.sleep(1 / RATE)

    publishing = asyncio.ensure_future(publish())
    try:
        yield published
    finally:
        ends.set()
        await publishing


async def _shown(town: Town, holds: Callable[[Mapping[str, Any]], bool], what: str, *, within: float = SOON) -> None:
    async def look() -> bool:
        return holds(orjson.loads(await town.run("status", "--json")))

    await wait_until(look, within=within, every=0.5, what=what)


def _weights(status: Mapping[str, Any]) -> dict[str, list[float]]:
    return {each["provider"]: each["weights"] for each in status["providers"] if each["breakers"]}


def _versions(status: Mapping[str, Any]) -> set[str]:
    return {each["document"]["version"] for each in status["workers"]}


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_providers_are_added_weighed_rotated_and_retired_under_load_without_a_restart_or_a_failed_mail(
    town: Town,
) -> None:
    await town.run("init")
    await town.cluster.start_worker("one")
    await town.cluster.start_worker("two")
    await town.cluster.wait_for_workers("one", "two")
    async with _load(town) as published:
        both = lambda status: _versions(status) == {"1"} and len(status["workers"]) == 2  # noqa: E731 — named by its use
        await _shown(town, both, "both workers, which report for the first time at a random moment", within=60.0)

        mailgun = ("domain=mg.example.org", f"base_url={town.environ['MAILGUN_URL']}", "timeout=2", "look_up_after=2")
        await town.run("providers", "add", "mailgun", *mailgun, "--kind", "mailgun", "--api-key", "env:KEY_MAILGUN")
        await _shown(town, lambda status: _weights(status) == {"mailgun": [1.0], "sendgrid": [1.0]}, "another provider")

        await town.run("providers", "weight", "mailgun", "3", "--why", "it is cheaper")
        await _shown(town, lambda status: _weights(status).get("mailgun") == [3.0], "another weight")

        await town.run("providers", "set", "sendgrid", f"api_key=file:{town.folder / 'second'}")
        await _shown(town, lambda status: all(each["document"]["keys_at"] for each in status["workers"]), "another key")

        refused = await _fails(town, "providers", "set", "sendgrid", "timeout=-1")
        assert "firestore:: line 6: provider sendgrid: timeout" in refused
        await _shown(town, lambda status: _versions(status) == {"4"}, "no change")

        await town.run("providers", "disable", "sendgrid")
        await _shown(town, lambda status: set(_weights(status)) == {"mailgun"}, "one provider less")
        before = set(published)
        await wait_until(lambda: len(published) > len(before) + RATE, within=30.0)
        late = published - before

    await wait_until(lambda: town.has_accepted(len(published)), within=30.0, what="all mails")
    accepted = await town.accepted()
    assert {each["mail_id"] for each in accepted} == published
    assert len(accepted) == len(published)
    newest = [each["provider"] for each in accepted if each["mail_id"] in late]
    assert set(newest) == {"mailgun"}, "whoever is retired gets none"
    assert {each["provider"] for each in accepted} == {"sendgrid", "mailgun"}
    logs = town.logs()
    for trouble in (b'"in_doubt"', b"failed_over", b"provider_down", b"locked_out", b'"unexpected"', b"Traceback"):
        assert trouble not in logs, trouble
    assert logs.count(b'"worker_started"') == 2
    assert not any(key.encode() in logs for key in (*KEYS.values(), "SG.second", "SG.first"))
    history = [orjson.loads(line) for line in (await town.run("providers", "history", "--json")).splitlines()]
    assert [(each["number"], each["what"]) for each in history] == [
        (1, "the first document"),
        (2, "add mailgun"),
        (3, "weight 3 for mailgun: it is cheaper"),
        (4, "set api_key of sendgrid"),
        (5, "disable sendgrid"),
    ]


async def _fails(town: Town, *command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *POSTMAN, *command, env=dict(town.environ), stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    _, complaint = await process.communicate()
    assert process.returncode == 2
    return complaint.decode()
