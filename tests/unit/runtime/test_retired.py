"""Mails in a shard that was given up are moved to where they belong."""

import asyncio
from collections.abc import Sequence
from random import Random

import pytest
from structlog.testing import capture_logs

from postman.adapters._layouts import dump_layout
from postman.core.ids import MailId
from postman.core.layout import Layout
from postman.core.message import Message
from postman.errors import QueueUnavailableError
from postman.ports.queue import Delivery
from postman.runtime.following import Following
from postman.runtime.guard import Guard
from postman.runtime.retired import Retired
from postman.runtime.settler import Settler
from tests.unit.runtime.pulling_scene import Pulling, WatchedQueue, virtually

EVERY = 60.1
"""Seconds within which a retired shard is looked into."""


class Scene(Pulling):
    """The shards 0 to 2 are in use, 3 to 5 were given up."""

    def __init__(self) -> None:
        super().__init__(3)
        self.following = Following(Layout(publish=3, consume=3, top=6, epoch=3), clock=self.clock, store=self.layouts)
        settler = Settler(shards=self.shards, ledger=self.ledger, clock=self.clock, following=self.following)
        self.guard = Guard(10)
        self.retired = Retired(
            shards=self.shards,
            following=self.following,
            settler=settler,
            guard=self.guard,
            clock=self.clock,
            random=Random(1),
        )

    async def run_for(self, seconds: float) -> None:
        running = asyncio.ensure_future(self.retired.run())
        await self.clock.sleep(seconds)
        assert not running.done()
        running.cancel()

    async def found(self, shard: int) -> list[MailId]:
        deliveries = await self.queues[shard].pull(max_deliveries=1_000, wait=0.0)
        return [MailId(delivery.message.attributes["mail_id"]) for delivery in deliveries]


@virtually
async def test_what_lies_in_a_retired_shard_comes_home_within_a_minute() -> None:
    here = Scene()
    mails = [*await here.publish(3, 25), *await here.publish(5, 40)]
    with capture_logs() as events:
        await here.run_for(EVERY)

    homes = {shard: await here.found(shard) for shard in range(3)}
    assert {each: shard for shard, found in homes.items() for each in found} == {
        each: here.following.layout.shard_of(each) for each in mails
    }
    assert sum(map(len, homes.values())) == 65
    assert [here.queues[shard].depth for shard in (3, 4, 5)] == [0, 0, 0]
    assert {event["shard"] for event in events if event["event"] == "mails_in_retired_shard"} == {3, 5}


@virtually
async def test_shards_in_use_are_left_alone_and_empty_ones_cost_one_pull_a_minute() -> None:
    here = Scene()
    await here.publish(0, 5)
    await here.run_for(3 * EVERY)

    assert here.queues[0].pulls == 0
    assert {here.queues[shard].pulls for shard in (3, 4, 5)} == {3}


@virtually
async def test_few_are_taken_at_once_whatever_lies_there() -> None:
    """They may be as large as messages can be, and memory is counted elsewhere."""
    here = Scene()
    await here.publish(3, 200)
    await here.run_for(EVERY)

    assert here.queues[3].depth == 0
    assert here.queues[3].most_asked == 10


@pytest.mark.parametrize("trouble", [QueueUnavailableError("q-3 does not exist"), ZeroDivisionError()])
@virtually
async def test_a_shard_that_cannot_be_read_keeps_none_of_the_others_from_it(trouble: Exception) -> None:
    """Nor itself, once it can be read again: its queue may have been removed, or the look may have met a bug."""
    here = Scene()
    await here.publish(3, 1)
    await here.publish(4, 1)
    here.queues[3].trouble = trouble
    running = asyncio.ensure_future(here.retired.run())
    await here.clock.sleep(EVERY)
    assert [here.queues[shard].depth for shard in (3, 4)] == [1, 0]
    here.queues[3].trouble = None
    await here.clock.sleep(EVERY)
    running.cancel()

    assert [here.queues[shard].depth for shard in (3, 4)] == [0, 0]


@virtually
async def test_a_mail_whose_home_cannot_be_reached_stays_and_is_moved_later() -> None:
    here = Scene()
    [one] = await here.publish(3, 1)
    home = here.queues[here.following.layout.shard_of(one)]
    home.trouble = QueueUnavailableError("away")
    await here.run_for(EVERY)
    assert (here.queues[3].depth, home.depth) == (1, 0)
    home.trouble = None
    await here.run_for(2 * EVERY)

    assert (here.queues[3].depth, home.depth) == (0, 1)


class Endless(WatchedQueue):
    """A queue that fills as it is emptied."""

    async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
        await self.publish(Message(b"", {"mail_id": f"more-{self.pulls}"}))
        await asyncio.sleep(0.1)
        return await super().pull(max_deliveries=max_deliveries, wait=wait)


@virtually
async def test_a_shard_that_is_read_again_is_not_emptied_any_longer() -> None:
    """Mails belong there then, and new ones come as long as one looks."""
    here = Scene()
    here.queues[3] = Endless("q-3", here.clock, 30.0)
    running = asyncio.ensure_future(here.retired.run())
    await here.clock.sleep(EVERY)
    here.layouts._text = dump_layout(here.following.layout.consuming(6, now=0.0))
    await here.following.look()
    assert 3 in here.following.layout.read
    await here.clock.sleep(1.0)
    pulls = here.queues[3].pulls
    await here.clock.sleep(3 * EVERY)
    running.cancel()

    assert pulls > 0
    assert here.queues[3].pulls == pulls


@virtually
async def test_a_whole_worker_sends_what_a_late_producer_put_into_a_retired_shard() -> None:
    here = Pulling(2)
    for count in (5, 2):
        await here.change(lambda layout, count=count: layout.consuming(count, now=0.0))  # type: ignore[misc]
    async with here.working():
        mails = await here.publish(4, 30)
        await here.until(lambda: len(here.sent()) == 30, within=EVERY + 1.0)

    assert sorted(here.sent()) == sorted(mails)


@virtually
async def test_a_home_that_takes_nothing_is_told_of_and_keeps_no_other_mail_from_moving() -> None:
    here = Scene()
    mails = await here.publish(3, 40)
    homes = {each: here.following.layout.shard_of(each) for each in mails}
    here.queues[homes[mails[0]]].trouble = QueueUnavailableError("no permission")
    with capture_logs() as events:
        await here.run_for(3 * EVERY)
    told = [event for event in events if event["event"] == "mail_not_moved"]

    moved = {shard: here.queues[shard].depth for shard in range(3) if shard != homes[mails[0]]}
    assert moved == {shard: list(homes.values()).count(shard) for shard in moved}
    assert {(event["home"], event["reason"], event["log_level"]) for event in told} == {
        (homes[mails[0]], "no permission", "warning")
    }
    assert here.queues[3].depth == list(homes.values()).count(homes[mails[0]])


@virtually
async def test_a_producer_that_fills_one_retired_shard_keeps_nobody_from_the_others() -> None:
    here = Scene()
    await here.publish(5, 1)

    async def fill() -> None:
        for number in range(600):
            await here.publish(3, 1, begin=number)
            await here.clock.sleep(1.0)

    filling = asyncio.ensure_future(fill())
    await here.run_for(3 * EVERY)
    filling.cancel()

    assert here.queues[5].depth == 0


@virtually
async def test_nothing_is_pulled_once_the_worker_is_told_to_stop() -> None:
    here = Scene()
    await here.publish(3, 5)
    here.guard.close()
    await here.run_for(3 * EVERY)

    assert here.queues[3].pulls == 0
