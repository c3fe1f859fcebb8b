"""A producer follows the layout, and publishes also where it can learn of none."""

import asyncio
from collections.abc import Mapping

import pytest

from postman.adapters.memory import MemoryLayouts
from postman.core.ids import MailId
from postman.core.layout import Layout
from postman.core.wire import message_for
from postman.errors import LayoutError, LedgerUnavailableError, QueueUnavailableError
from postman.ports.layouts import Layouts
from postman.runtime.following import EVERY
from postman.runtime.producer import Producer
from tests.unit.runtime.pulling_scene import Pulling, mail_for, virtually

FIRST_LOOK = 3.0
IDS = [MailId(f"0-{number}") for number in range(200)]


class Store(MemoryLayouts):
    """A store that can be in *trouble*, and can hang."""

    trouble: Exception | None = None
    hangs = False
    is_closed = False

    async def read(self) -> Layout | None:
        if self.trouble is not None:
            raise self.trouble.with_traceback(None)
        if self.hangs:
            await asyncio.Event().wait()
        return await super().read()

    async def aclose(self) -> None:
        self.is_closed = True


class Scene(Pulling):
    """A producer in the test's own loop, where time is virtual; its settings say so many shards."""

    def __init__(self, count: int = 4, *, has_store: bool = True, patience: float = 60.0, hand: int = 0) -> None:
        super().__init__(count)
        self.store = Store()
        self.layouts = self.store
        self.producer = Producer(
            lambda: self.shards, clock=self.clock, patience=patience, open_layouts=self._open_layouts, hand=hand
        )
        self._has_store = has_store

    def _open_layouts(self) -> Layouts | None:
        return self.store if self._has_store else None

    async def put(self, mail_id: MailId, key: str = "") -> None:
        """Do what the producer's thread does with a mail."""
        await self.producer._publish(mail_id, message_for(mail_for(mail_id), key=key))

    async def put_all(self, key: str = "") -> None:
        await asyncio.gather(*(self.put(each, key) for each in IDS))

    def where(self) -> Mapping[str, int]:
        """Return in which shard each mail lies."""
        return {
            stored.message.attributes["mail_id"]: shard
            for shard, queue in self.queues.items()
            for stored in queue._stored.values()
        }

    async def close(self) -> None:
        await self.producer._finish()


def homes(layout: Layout, key: str = "") -> Mapping[str, int]:
    return {each: layout.shard_of(each, key) for each in IDS}


@virtually
async def test_the_first_mail_goes_by_the_layout_and_not_by_the_settings() -> None:
    here = Scene(4)
    await here.change(lambda layout: layout.consuming(7, now=0.0))
    grown = await here.change(lambda layout: layout.publishing(7, now=0.0))
    await here.put_all()

    assert here.where() == homes(grown)
    assert here.producer.shard_of(IDS[0]) == grown.shard_of(IDS[0])
    await here.close()


@virtually
async def test_a_change_is_followed_within_one_look() -> None:
    here = Scene(4)
    await here.put(IDS[0])
    closed = await here.change(lambda layout: layout.close(2, now=0.0))
    await here.clock.sleep(EVERY + 0.1)
    await here.put_all()
    await here.close()

    assert {shard for each, shard in here.where().items() if each != IDS[0]} == {0, 1, 3}
    assert {each: here.where()[each] for each in IDS[1:]} == {each: closed.shard_of(each) for each in IDS[1:]}


@virtually
async def test_a_mail_that_waits_for_a_queue_goes_where_the_layout_wants_it_then() -> None:
    """Its shard is away; it is closed meanwhile, and the mail is published elsewhere, once."""
    here = Scene(4)
    shard = Layout.of(4).shard_of(IDS[0])
    here.queues[shard].trouble = QueueUnavailableError("away")
    publishing = asyncio.ensure_future(here.put(IDS[0]))
    await here.clock.sleep(10.0)
    assert here.where() == {}
    closed = await here.change(lambda layout: layout.close(shard, now=0.0))
    await asyncio.wait_for(publishing, EVERY + 5.1)
    await here.close()

    assert here.where() == {IDS[0]: closed.shard_of(IDS[0])}
    assert here.queues[shard].depth == 0


@virtually
async def test_without_a_store_the_settings_count() -> None:
    here = Scene(4, has_store=False)
    await here.put_all()
    await here.clock.sleep(10 * EVERY)
    await here.close()

    assert here.where() == homes(Layout.of(4))
    assert not here.store.is_closed


@virtually
async def test_without_a_store_the_hand_of_the_settings_counts_too() -> None:
    here = Scene(8, has_store=False, hand=2)
    await here.put_all("ann")
    await here.close()

    assert here.where() == homes(Layout.of(8, hand=2), "ann")
    assert len(set(here.where().values())) == 2


@pytest.mark.parametrize("trouble", [LedgerUnavailableError("away"), LayoutError("damaged"), KeyError("publish")])
@virtually
async def test_a_store_that_fails_holds_no_mail_up_and_is_followed_once_it_works(trouble: Exception) -> None:
    here = Scene(4)
    here.store.trouble = trouble
    began = here.clock.now()
    await here.put(IDS[0])
    assert here.clock.now() - began < 0.01
    assert here.where() == {IDS[0]: Layout.of(4).shard_of(IDS[0])}

    here.store.trouble = None
    closed = await here.change(lambda layout: layout.close(1, now=0.0))
    await here.clock.sleep(EVERY + 0.1)
    await here.put_all()
    await here.close()
    assert {each: here.where()[each] for each in IDS[1:]} == {each: closed.shard_of(each) for each in IDS[1:]}


@virtually
async def test_a_store_that_fails_later_leaves_the_layout_that_was_known() -> None:
    here = Scene(4)
    closed = await here.change(lambda layout: layout.close(1, now=0.0))
    await here.put(IDS[0])
    here.store.trouble = LedgerUnavailableError("away")
    await here.clock.sleep(10 * EVERY)
    await here.put_all()
    await here.close()

    assert {each: here.where()[each] for each in IDS[1:]} == {each: closed.shard_of(each) for each in IDS[1:]}


@virtually
async def test_a_store_that_hangs_holds_the_first_mails_up_for_three_seconds_and_no_later_ones() -> None:
    here = Scene(4)
    here.store.hangs = True
    began = here.clock.now()
    await here.put_all()
    assert here.clock.now() - began == pytest.approx(FIRST_LOOK, abs=0.01)
    assert here.where() == homes(Layout.of(4))

    began = here.clock.now()
    await here.put(MailId("0-200"))
    assert here.clock.now() - began < 0.01
    await here.close()


@pytest.mark.parametrize("epoch", [1, 2])
@virtually
async def test_a_store_that_was_set_back_undoes_nothing(epoch: int) -> None:
    here = Scene(4)
    await here.change(lambda layout: layout.close(1, now=0.0))
    second = await here.change(lambda layout: layout.close(2, now=0.0))
    await here.put(IDS[0])
    here.store._text = b""
    for _ in range(epoch):
        await here.change(lambda layout: layout.pause(0, now=0.0))
    await here.clock.sleep(EVERY + 0.1)
    await here.put_all()
    await here.close()

    assert {each: here.where()[each] for each in IDS[1:]} == {each: second.shard_of(each) for each in IDS[1:]}


@virtually
async def test_closing_waits_for_what_is_under_way_ends_the_looks_and_closes_the_store() -> None:
    here = Scene(4)
    await here.put(IDS[0])
    await here.close()

    assert here.store.is_closed
    assert asyncio.all_tasks() == {asyncio.current_task()}


@virtually
async def test_nothing_is_known_before_the_first_mail() -> None:
    here = Scene(4)
    assert here.producer.shard_of(IDS[0]) is None


async def test_the_producers_own_thread_follows_the_layout() -> None:
    """The same by the front door, in real time."""
    here = Scene(4)
    closed = await here.change(lambda layout: layout.close(1, now=0.0))
    async with here.producer:
        await asyncio.gather(*(here.producer.apublish(mail_for(each)) for each in IDS))
        assert here.producer.shard_of(IDS[0]) == closed.shard_of(IDS[0])

    assert here.where() == homes(closed)
    assert here.store.is_closed


@virtually
async def test_a_producer_that_was_frozen_looks_before_it_publishes() -> None:
    here = Scene(4)
    await here.put(IDS[0])
    assert here.producer._opened is not None
    here.producer._opened.follows.cancel()  # as if the process had no CPU meanwhile
    await here.clock.sleep(600.0)
    changed = await here.change(lambda layout: layout.close(layout.shard_of(IDS[1]), now=1.0))
    await here.put(IDS[1])

    assert here.queues[changed.shard_of(IDS[1])].depth == 1
