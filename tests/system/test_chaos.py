"""Every fault at once, on the real emulators: workers die, answers are lost, mails are published twice.

A short run is part of the suite; `./emulator.sh test tests/system/test_chaos.py --mails 20000` makes a long one.
"""

import asyncio
import random
from collections import Counter

import orjson
import pytest

from postman import Mail
from postman.config import Settings
from postman.core.ids import MailId
from postman.core.protocol import Entry, State
from postman.core.wire import parse
from postman.testing.waiting import wait_until
from postman.wiring import open_ledger, open_producer
from tests.system.town import Town, mail

FAULTS = [
    {"kind": "slow", "seconds": 0.1},
    {"kind": "reset", "rate": 0.03, "only": "send"},
    {"kind": "hang", "rate": 0.02, "seconds": 5, "only": "send"},
    {"kind": "status", "status": 503, "rate": 0.06, "only": "send"},
    {"kind": "reset_before", "rate": 0.03, "only": "send"},
    {"kind": "throttle", "rate": 0.01, "seconds": 2, "only": "send"},
    {"kind": "malformed", "rate": 0.02, "only": "send"},
]
PER_SECOND = 60.0


class Workers:
    """Two workers, of which now and then one is killed or stopped, and replaced."""

    def __init__(self, town: Town, dice: random.Random) -> None:
        self._town = town
        self._dice = dice
        self._names: list[str] = []
        self._started = 0
        self.killed = 0

    async def start(self) -> None:
        self._started += 1
        self._names.append(f"worker-{self._started}")
        await self._town.cluster.start_worker(self._names[-1])

    async def suffer_until(self, end: "asyncio.Future[None]") -> None:
        while not end.done():
            await asyncio.wait([end], timeout=self._dice.uniform(2.0, 4.0))
            name = self._names.pop(self._dice.randrange(len(self._names)))
            if self._dice.random() < 0.6:
                self.killed += 1
                await self._town.cluster.kill(name)
            else:
                assert await self._town.cluster.stop(name) == 0
            await self.start()


@pytest.mark.slow
@pytest.mark.timeout(0)
async def test_nothing_is_lost_or_doubled_whatever_happens(town: Town, pytestconfig: pytest.Config) -> None:
    count = int(pytestconfig.getoption("--mails"))
    dice = random.Random(count)
    for provider in ("sendgrid", "mailgun"):
        await town.cluster.set_fault(provider, FAULTS)
    workers = Workers(town, dice)
    await asyncio.gather(workers.start(), workers.start())
    mails = [parse(orjson.dumps(mail(number))) for number in range(count)]
    publishing = asyncio.ensure_future(_publish(town, mails, dice))
    await workers.suffer_until(publishing)
    await publishing
    entries = await _settled(town, mails)

    assert {entry.state for entry in entries} == {State.SENT}
    accepted = Counter(each["mail_id"] for each in await town.accepted())
    assert accepted == Counter(each.id for each in mails)
    assert workers.killed > 0
    assert any(note.event == "in doubt" for entry in entries for note in entry.history)
    assert b'"unexpected"' not in town.logs()


async def _publish(town: Town, mails: list[Mail], dice: random.Random) -> None:
    """Publish evenly, some mails twice, as after a lost reply."""
    async with open_producer(Settings.from_env(town.environ)) as producer, asyncio.TaskGroup() as group:
        for each in mails:
            for _ in range(2 if dice.random() < 0.02 else 1):
                group.create_task(producer.apublish(each))
            await asyncio.sleep(1.0 / PER_SECOND)


async def _settled(town: Town, mails: list[Mail]) -> list[Entry]:
    """Return the ledger's entries when no worker will touch a mail again."""
    ledger = open_ledger(Settings.from_env(town.environ))
    entries: dict[MailId, Entry] = {}

    async def look() -> bool:
        some = [each.id for each in mails if each.id not in entries][:200]
        found = await asyncio.gather(*(ledger.find(mail_id) for mail_id in some))
        entries.update(
            {mail_id: entry for mail_id, entry in zip(some, found, strict=True) if entry and _is_over(entry)}
        )
        return len(entries) == len(mails)

    try:
        await wait_until(look, within=90.0 + len(mails) / PER_SECOND, every=0.5)
    finally:
        await ledger.aclose()
    return list(entries.values())


def _is_over(entry: Entry) -> bool:
    return entry.state in (State.SENT, State.REFUSED)
