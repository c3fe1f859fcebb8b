"""A process learns of a change of the layout while it runs, and goes on by what it knew where it cannot."""

import asyncio

import pytest
from structlog.testing import capture_logs

from postman.adapters.memory import MemoryLayouts
from postman.core.layout import Layout
from postman.errors import LayoutError, LedgerUnavailableError
from postman.runtime.following import EVERY, Following
from postman.testing.virtual import VirtualClock
from tests.unit.runtime.pulling_scene import virtually

SETTLED = Layout.of(4)


class Store(MemoryLayouts):
    """A store that can be in *trouble*, and can answer with what it does not hold."""

    trouble: Exception | None = None
    stale: Layout | None = None
    reads = 0

    async def read(self) -> Layout | None:
        self.reads += 1
        if self.trouble is not None:
            raise self.trouble.with_traceback(None)
        return self.stale or await super().read()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def following(store: Store) -> Following:
    return Following(SETTLED, clock=VirtualClock(), store=store)


async def test_until_somebody_changes_the_layout_the_settings_count(following: Following) -> None:
    await following.look()
    assert following.layout == SETTLED


async def test_a_change_is_learned_of_and_told_once(following: Following, store: Store) -> None:
    told: list[Layout] = []
    following.on_change(lambda: told.append(following.layout))
    changed = SETTLED.pause(2, now=1.0)
    await store.change(changed)
    for _ in range(3):
        await following.look()

    assert told == [changed]


@pytest.mark.parametrize("epoch", [0, 1, 2])
async def test_an_epoch_that_is_not_later_is_ignored(following: Following, store: Store, epoch: int) -> None:
    """A store that answers from an old copy, or was set back, undoes nothing."""
    second = SETTLED.pause(2, now=1.0).pause(3, now=2.0)
    store.stale = second
    await following.look()
    told: list[Layout] = []
    following.on_change(lambda: told.append(following.layout))
    store.stale = Layout(publish=1, consume=1, epoch=epoch)
    await following.look()

    assert following.layout == second
    assert told == []


@pytest.mark.parametrize("trouble", [LedgerUnavailableError("away"), LayoutError("damaged")])
async def test_a_look_that_is_asked_for_tells_what_is_wrong(
    following: Following, store: Store, trouble: Exception
) -> None:
    store.trouble = trouble
    with pytest.raises(type(trouble)):
        await following.look()


@pytest.mark.parametrize("trouble", [LedgerUnavailableError("away"), LayoutError("damaged"), KeyError("publish")])
async def test_a_failing_store_changes_nothing_and_is_logged_once_until_it_works_again(
    following: Following, store: Store, trouble: Exception
) -> None:
    await store.change(SETTLED.pause(2, now=1.0))
    await following.look()
    store.trouble = trouble
    with capture_logs() as events:
        assert not any([await following.try_to_look() for _ in range(5)])
        store.trouble = None
        assert all([await following.try_to_look() for _ in range(2)])
        store.trouble = trouble
        await following.try_to_look()

    assert following.layout.epoch == 1
    assert [event["event"] for event in events] == ["layout_unknown", "layout_known_again", "layout_unknown"]
    assert events[0]["epoch"] == 1


@virtually
async def test_it_looks_every_five_seconds_through_every_trouble() -> None:
    clock, store = VirtualClock(), Store()
    following = Following(SETTLED, clock=clock, store=store)
    running = asyncio.ensure_future(following.run())
    await clock.sleep(10 * EVERY + 0.1)
    assert store.reads == 10
    store.trouble = ZeroDivisionError()
    await clock.sleep(10 * EVERY)
    store.trouble = None
    store.stale = SETTLED.close(1, now=1.0)
    await clock.sleep(EVERY)
    running.cancel()

    assert store.reads == 21
    assert not following.layout.takes(1)


@virtually
async def test_without_a_store_the_settings_count_for_ever_and_nothing_runs() -> None:
    following = Following(SETTLED, clock=VirtualClock())
    await following.run()
    assert await following.try_to_look()
    assert following.layout == SETTLED


@virtually
async def test_shards_that_only_our_settings_named_are_among_the_retired_of_a_smaller_layout() -> None:
    """Whoever made the first layout had other settings; what lies in our shards must still be found."""
    clock, store = VirtualClock(), Store()
    following = Following(Layout.of(8), clock=clock, store=store)
    await store.change(Layout.of(4).pause(1, now=1.0))
    await following.look()

    assert list(following.layout.retired) == [4, 5, 6, 7]


@virtually
async def test_it_is_stale_once_several_looks_were_missed() -> None:
    clock = VirtualClock()
    following = Following(SETTLED, clock=clock, store=Store())
    seen = [following.is_stale]
    await following.try_to_look()
    for seconds in (3 * EVERY, 0.1):
        await clock.sleep(seconds)
        seen.append(following.is_stale)

    assert seen == [False, False, True]
    assert not Following(SETTLED, clock=clock).is_stale
