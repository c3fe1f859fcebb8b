"""The suppression list on the real emulators, by the real commands, with two workers."""

from collections.abc import Iterator
from itertools import count

import orjson
import pytest

from postman.testing.waiting import wait_until
from tests.system.town import Town, mail


@pytest.mark.slow
async def test_an_address_gets_no_mail_from_any_worker_until_it_is_lifted(town: Town) -> None:
    """Whether it was put on the list before the workers started or while they run."""
    await town.run("suppressions", "add", "customer3@example.org", "--why", "before")
    await town.cluster.start_worker("one")
    await town.cluster.start_worker("two")
    await town.cluster.wait_for_workers("one", "two")
    await town.publish(20)
    await wait_until(lambda: town.has_accepted(19), within=30.0)
    assert await _dead(town) == {"mail-3": "suppressed"}

    await town.run("suppressions", "add", "customer5@example.org", "--for", "1")
    numbers = count()
    await wait_until(
        lambda: _refuses(town, 5, numbers), within=30.0, every=0.2, what="a mail refused by a running worker"
    )
    listed = [orjson.loads(line) for line in (await town.run("suppressions", "list", "--json")).splitlines()]
    assert [line["detail"] for line in listed] == ["before", ""]

    for customer in (3, 5):
        await town.run("suppressions", "lift", f"customer{customer}@example.org")
    await wait_until(lambda: _all_replayed(town), within=30.0, every=1.0, what="every dead letter sent")
    accepted = [each["mail_id"] for each in await town.accepted()]
    assert {f"mail-{number}" for number in range(20)} <= set(accepted)
    assert len(accepted) == len(set(accepted))
    assert b"example.org" not in town.logs()


async def _refuses(town: Town, customer: int, numbers: Iterator[int]) -> bool:
    """Publish a new mail to that customer, and return whether one has become a dead letter."""
    path = town.folder / "one.json"
    path.write_bytes(orjson.dumps(mail(customer) | {"id": f"extra-{next(numbers)}"}))
    await town.run("publish", str(path))
    return len(await _dead(town)) > 1


async def _dead(town: Town) -> dict[str, str]:
    letters = [orjson.loads(line) for line in (await town.run("dead", "list", "--json")).splitlines()]
    return {letter["id"]: letter["reason"] for letter in letters}


async def _all_replayed(town: Town) -> bool:
    if not await _dead(town):
        return "mail-3" in {each["mail_id"] for each in await town.accepted()}
    await town.run("dead", "replay", "--reason", "suppressed", "--yes")
    return False
