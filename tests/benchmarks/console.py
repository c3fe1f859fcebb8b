"""How long the console and `postman status` take before a full ledger, beside an empty one.

Two clusters are filled by the back door, on the emulators where the environment
names them, else on SQLite: one with nothing, one with many mails that were sent,
many dead letters (in the ledger and in the dead-letter queues) and some doubts.
Each page is asked for after the console has forgotten what it knew, so that the
stores answer; both clusters take turns.

    ./emulator.sh run -- python -m tests.benchmarks.console [--mails 100000] [--dead 10000] [--rounds 7]
"""

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import httpx

from postman.config import Settings
from postman.core.entry import Claimed
from postman.core.events import address_tag
from postman.core.ids import MailId
from postman.entrypoints.console.knowledge import EVERY
from postman.entrypoints.demo.cluster import Cluster, environment_for
from postman.ports.ledger import Ledger
from postman.ports.provider import Receipt
from postman.ports.queue import Message, Queue
from postman.wiring import open_ledger, open_shards
from tests.system.town import POSTMAN, Town

_SHARDS: Final = 8
_AT_ONCE: Final = 2_000
_REASONS: Final = ("alpha: answered 400: the mail is refused", "expired", "poison: two workers ended")
_DOUBTS: Final = 200
_LIMIT: Final = 0.3
"""Seconds within which each must answer, by the median."""
_PAGES: Final = (
    "/live",
    "/",
    "/mails/sent-42",
    "/dead?reason=refused",
    "/doubts",
    "/providers",
    "/shards",
    "/workers",
    "/suppressions",
    "/acts/dead?reason=refused",
    f"/search?recipient={address_tag('customer42@example.org')}",
    "/search?message_id=a-42",
)


@dataclass
class _Place:
    """One cluster with its console."""

    town: Town
    client: httpx.AsyncClient


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@asynccontextmanager
async def _place(folder: Path) -> AsyncIterator[_Place]:
    environ, backends = environment_for(folder, run=token_hex(3), shards=_SHARDS)
    _say(f"on {backends}")
    async with Cluster(folder, environ) as cluster:
        town = Town(cluster, environ, folder)
        await town.run("init")
        await cluster.start_sandbox()
        login = await cluster.start_console()
        await cluster.start_worker("worker-1")
        await cluster.wait_for_workers("worker-1")
        async with httpx.AsyncClient(trust_env=False, base_url=login.partition("/login")[0], timeout=30.0) as client:
            await client.get(login)
            yield _Place(town, client)


async def _fill(town: Town, mails: int, dead: int) -> None:
    settings = Settings.from_env(town.environ)
    ledger = open_ledger(settings)
    begun = time.monotonic()
    for first in range(0, mails, _AT_ONCE):
        await asyncio.gather(*(_put(ledger, number, dead) for number in range(first, min(first + _AT_ONCE, mails))))
        if first % 20_000 == 0:
            _say(f"  {first} of {mails} mails, {time.monotonic() - begun:.0f} s")
    await ledger.aclose()
    shards = open_shards(settings)
    for first in range(0, dead, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, dead))
        await asyncio.gather(*(_bury(shards.dead(number % _SHARDS), number) for number in numbers))
    await shards.aclose()


async def _put(ledger: Ledger, number: int, dead: int) -> None:
    name = f"dead-{number}" if number < dead else f"sent-{number - dead}"
    if number < dead:
        entry = await ledger.refuse(MailId(name), digest="d", reason=_REASONS[number % len(_REASONS)])
        await ledger.park(MailId(name), token=entry.token)
        return
    tags = [address_tag(f"customer{(number - dead) % 5_000}@example.org")]
    answer = await ledger.claim(
        MailId(name), claim_id=f"w.{number}", digest="d", provider="sendgrid", lease=60.0, recipients=tags
    )
    assert isinstance(answer, Claimed)
    if number < dead + _DOUBTS:
        await ledger.record_doubt(answer.claim, reason="gave no answer")
    else:
        await ledger.record_sent(answer.claim, Receipt("sendgrid", f"a-{number - dead}"))


async def _bury(queue: Queue, number: int) -> None:
    reason = ("refused", "expired", "poison")[number % 3]
    attributes = {"mail_id": f"dead-{number}", "dead_reason": reason, "dead_at": str(time.time())}
    await queue.publish(Message(b"{}", attributes))


async def _ask(place: _Place, page: str) -> float:
    await asyncio.sleep(EVERY + 0.05)
    begun = time.perf_counter()
    answer = await place.client.get(page)
    took = time.perf_counter() - begun
    assert answer.status_code in (200, 404), f"{page}: {answer.status_code}"
    return took


async def _status(place: _Place) -> float:
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *POSTMAN, "status", env=place.town.environ, stdout=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0
    return time.perf_counter() - begun


async def _measure(empty: _Place, full: _Place, rounds: int) -> bool:
    _say(f"{'':45}{'empty':>9}{'full':>9}   ratio   (medians of {rounds})")
    is_quick = True
    for page in (*_PAGES, "postman status"):
        took: dict[int, list[float]] = {0: [], 1: []}
        for _ in range(rounds):
            for number, place in enumerate((empty, full)):
                took[number].append(await (_status(place) if page == "postman status" else _ask(place, page)))
        before, after = median(took[0]), median(took[1])
        is_quick &= after < _LIMIT
        _say(f"{page:45}{before * 1e3:6.1f} ms{after * 1e3:6.1f} ms{after / before:8.2f}")
    return is_quick


async def _run(mails: int, dead: int, rounds: int) -> bool:
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        async with _place(Path(one)) as empty, _place(Path(other)) as full:
            await _fill(full.town, mails, dead)
            return await _measure(empty, full, rounds)


def main(arguments: Sequence[str]) -> int:
    """Return 1 where the median of a page, or of the command, is not below 300 ms."""
    parser = argparse.ArgumentParser(prog="console", description="The console before a full ledger.")
    parser.add_argument("--mails", type=int, default=100_000)
    parser.add_argument("--dead", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    told = parser.parse_args(arguments)
    return 0 if asyncio.run(_run(told.mails, told.dead, told.rounds)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
