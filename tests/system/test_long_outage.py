"""All providers are away for a while, on real processes: nothing is burnt, nothing is dead-lettered.

Three hours of it, in virtual time, are in `tests/unit/runtime/test_long_outage.py`.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from secrets import token_hex

import orjson
import pytest

from postman.entrypoints.demo.cluster import Cluster, environment_for
from postman.testing.emulators import Emulators
from postman.testing.waiting import wait_until
from tests.system.town import Town

MAILS = 400
RATE = 40.0
WORKERS = 2
SHARDS = 4
DOWN = [{"kind": "status", "status": 503}]
AWAY_FOR = 12.0
IN_HAND = WORKERS * (50 + SHARDS)
"""What workers hold goes back once, when another worker says that a provider works again."""


@pytest.fixture
async def quick_town(pubsub: Emulators, firestore: Emulators, tmp_path: Path) -> AsyncIterator[Town]:
    """A town whose workers hear of each other every second, and whose providers have a rate."""
    environ, _ = environment_for(tmp_path, run=token_hex(3), shards=SHARDS)
    environ["POSTMAN_HEALTH_WINDOW"] = "1"
    async with Cluster(tmp_path, environ) as cluster:
        town = Town(cluster, environ, tmp_path)
        await town.run("init")
        await cluster.start_sandbox()
        providers = tmp_path / "providers.toml"
        providers.write_text(providers.read_text().replace("timeout = 2.0", f"timeout = 2.0\nrate = {RATE}"))
        yield town


@pytest.mark.slow
async def test_an_outage_of_all_providers_burns_nothing_and_drains_at_the_owners_rate(quick_town: Town) -> None:
    town = quick_town
    for provider in ("sendgrid", "mailgun"):
        await town.cluster.set_fault(provider, DOWN)
    for number in range(WORKERS):
        await town.cluster.start_worker(f"worker-{number}")
    await town.publish(MAILS)
    await asyncio.sleep(AWAY_FOR)
    assert await town.accepted() == []
    for provider in ("sendgrid", "mailgun"):
        await town.cluster.set_fault(provider, [])
    await wait_until(lambda: town.has_accepted(MAILS), within=90.0, every=0.2)
    for number in range(WORKERS):
        assert await town.cluster.stop(f"worker-{number}") == 0

    sent = [event for event in _events(town) if event.get("event") == "sent"]
    attempts = Counter(int(str(event["attempt"])) for event in sent)
    assert len(sent) == MAILS
    assert max(attempts) <= 3, attempts
    assert attempts[1] >= MAILS - IN_HAND, attempts
    assert await town.run("dead", "list", "--json") == b""
    assert Counter(mail["mail_id"] for mail in await town.accepted()) == Counter(f"mail-{n}" for n in range(MAILS))
    per_second = Counter(int(mail["accepted_at"]) for mail in await town.accepted())
    assert max(per_second.values()) <= 1.2 * 2 * WORKERS * RATE
    assert b'"unexpected"' not in town.logs()


def _events(town: Town) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in town.logs().splitlines() if line.startswith(b"{")]
