"""The driver: it goes on from wherever the layout is, waits for what must be waited for, and says so."""

import asyncio

import pytest

from postman.adapters.memory import MemoryLayouts
from postman.core.layout import Layout
from postman.core.message import Message
from postman.errors import LayoutChangedError, LayoutError
from postman.runtime.resharding import NewsKind
from tests.unit.runtime.resharding_scene import Scene, virtually


def test_it_grows_step_by_step_and_tells_each_with_its_epoch() -> None:
    async def play(scene: Scene) -> None:
        async with scene.working():
            layout = await scene.resharder().reshard(12)

        assert (layout.publish, layout.consume, layout.epoch) == (12, 12, 4)
        assert await scene.layout() == layout
        steps = [(news.epoch, news.text) for news in scene.news if news.kind is NewsKind.STEP]
        assert steps == [
            (1, "12 shards are wanted"),
            (2, "workers read 12 shards"),
            (3, "producers fill 12 shards"),
            (4, "12 shards are in use"),
        ]
        assert scene.shards.ensured == [8, 9, 10, 11]

    virtually(play)


def test_a_reason_to_wait_is_told_once_however_long_it_lasts() -> None:
    async def play(scene: Scene) -> None:
        async with scene.working(every=20.0):
            await scene.resharder().reshard(12)
        waits = scene.told(NewsKind.WAITS)
        assert "1 of 1 workers do not follow epoch 3 yet: w1" in waits
        assert len(waits) == len(set(waits))

    virtually(play)


def test_it_shrinks_only_when_the_shards_that_go_are_empty() -> None:
    async def play(scene: Scene) -> None:
        await scene.shards.queue(7).publish(Message(b"{}", {"mail_id": "a"}))
        async with scene.working():
            shrinking = asyncio.ensure_future(scene.resharder().reshard(6))
            await scene.clock.sleep(500.0)
            assert (await scene.layout()).consume == 8
            assert scene.told(NewsKind.WAITS)[-1] == "1 mails lie in shard 7"
            [delivery] = await scene.shards.queue(7).pull(max_deliveries=1, wait=0)
            await scene.shards.queue(7).ack(delivery)
            layout = await shrinking
        assert (layout.publish, layout.consume, list(layout.retired)) == (6, 6, [6, 7])

    virtually(play)


def test_done_already_changes_nothing() -> None:
    async def play(scene: Scene) -> None:
        assert (await scene.resharder().reshard(8)).epoch == 0
        assert await scene.layouts.read() is None
        assert scene.news == []

    virtually(play)


@pytest.mark.parametrize("target", [16, 12])
def test_nobody_begins_from_another_number_than_the_workers(target: int) -> None:
    """Also what would be done already by the settings here is not: the workers read less."""

    async def play(scene: Scene) -> None:
        refusal = "w1 reads 8 shards, but POSTMAN_SHARDS is 16 here"
        async with scene.working():
            await scene.clock.sleep(1.0)
            with pytest.raises(LayoutError, match=refusal):
                await scene.resharder(16).reshard(target)
            with pytest.raises(LayoutError, match=refusal):
                await scene.resharder(16).mark(lambda latest, now: latest.pause(2, now=now))
            assert await scene.layouts.read() is None

            assert (await scene.resharder(8).reshard(target)).publish == target
            await scene.resharder(16).mark(lambda latest, now: latest.pause(2, now=now))

    virtually(play)


def test_who_may_only_look_can_lead_to_shards_that_another_made() -> None:
    async def play(scene: Scene) -> None:
        scene.shards.may_only_look = True
        await scene.shards.make_elsewhere([8, 9, 10, 11])
        growing = asyncio.ensure_future(scene.resharder().reshard(12))
        await scene.clock.sleep(60.0)
        assert (growing.done(), scene.told(NewsKind.TROUBLE)) == (True, [])
        assert (await growing).publish == 12

    virtually(play)


def test_only_what_is_missing_is_made() -> None:
    async def play(scene: Scene) -> None:
        await scene.shards.make_elsewhere([8, 10])
        await scene.resharder().reshard(12)
        assert scene.shards.ensured == [9, 11]

    virtually(play)


@pytest.mark.parametrize("after", [0.5, 3.0, 20.0, 30.0, 95.0])
def test_broken_off_anywhere_another_goes_on(after: float) -> None:
    async def play(scene: Scene) -> None:
        async with scene.working():
            first = asyncio.ensure_future(scene.resharder().reshard(5))
            await scene.clock.sleep(after)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            assert (await scene.layout()).target == 5
            layout = await scene.resharder().reshard(5)
        assert (layout.publish, layout.consume, layout.target, layout.epoch) == (5, 5, 0, 4)

    virtually(play)


def test_two_operators_with_one_aim_make_each_step_once() -> None:
    async def play(scene: Scene) -> None:
        async with scene.working():
            layouts = await asyncio.gather(scene.resharder().reshard(12), scene.resharder().reshard(12))
        assert {layout.epoch for layout in layouts} == {4}
        assert sorted(scene.told(NewsKind.STEP)) == sorted(set(scene.told(NewsKind.STEP)))
        assert scene.told(NewsKind.OTHER)

    virtually(play)


def test_a_change_to_another_number_that_is_under_way_is_left_alone() -> None:
    async def play(scene: Scene) -> None:
        await scene.layouts.change(Layout.of(8).aim(12, now=scene.clock.time()))
        with pytest.raises(LayoutError, match=r"a change to 12 shards is under way .*reshard 12.*--instead"):
            await scene.resharder().reshard(6)
        assert (await scene.layout()).target == 12

        layout = await scene.resharder().reshard(6, instead=True)
        assert (layout.publish, layout.consume) == (6, 6)

    virtually(play)


def test_whoever_is_overruled_stops_and_says_by_what() -> None:
    async def play(scene: Scene) -> None:
        async with scene.working():
            first = asyncio.ensure_future(scene.resharder().reshard(12, instead=True))
            await scene.clock.sleep(5.0)
            second = asyncio.ensure_future(scene.resharder().reshard(6, instead=True))
            with pytest.raises(LayoutError, match="somebody else changed the shards meanwhile: a change to 6"):
                await first
            assert (await second).publish == 6

    virtually(play)


def test_whoever_sleeps_through_others_changes_begins_nothing_anew() -> None:
    async def play(scene: Scene) -> None:
        async with scene.working():
            first = asyncio.ensure_future(scene.resharder().reshard(12))
            await scene.clock.sleep(5.0)
            now, latest = scene.clock.time(), await scene.layout()
            for layout in (latest.aim(13, now=now), latest.aim(13, now=now).aim(0, now=now)):
                await scene.layouts.change(layout)
            with pytest.raises(LayoutError, match="somebody else changed the shards"):
                await first

    virtually(play)


def test_stores_in_trouble_are_waited_for_and_told_of() -> None:
    async def play(scene: Scene) -> None:
        scene.layouts.away, scene.shards.away = 3, 2
        layout = await scene.resharder().reshard(12)
        assert layout.publish == 12
        assert scene.told(NewsKind.TROUBLE) == ["out of reach", "cannot be made now"]
        assert scene.shards.ensured == [8, 9, 10, 11]

    virtually(play)


def test_queues_that_cannot_be_made_are_not_read() -> None:
    async def play(scene: Scene) -> None:
        scene.shards.away = 10_000
        growing = asyncio.ensure_future(scene.resharder().reshard(12))
        await scene.clock.sleep(300.0)
        assert (await scene.layout()).consume == 8
        growing.cancel()
        await asyncio.gather(growing, return_exceptions=True)

    virtually(play)


def test_a_change_whose_answer_was_lost_is_not_made_twice() -> None:
    async def play(scene: Scene) -> None:
        scene.layouts.deaf = 4
        assert (await scene.resharder().reshard(12)).epoch == 4

    virtually(play)


def test_marking_goes_by_what_is_there_now() -> None:
    """Somebody else paused another shard a moment before."""

    async def play(scene: Scene) -> None:
        async def other() -> None:
            await MemoryLayouts.change(scene.layouts, Layout.of(8).pause(1, now=1.0))

        scene.layouts.before_change = [other]
        layout = await scene.resharder().mark(lambda latest, now: latest.pause(2, now=now))
        assert (layout.epoch, layout.paused) == (2, frozenset({1, 2}))

    virtually(play)


def test_marking_what_is_so_already_changes_nothing() -> None:
    async def play(scene: Scene) -> None:
        for _ in range(2):
            assert (await scene.resharder().mark(lambda latest, now: latest.pause(2, now=now))).epoch == 1

    virtually(play)


def test_marking_gives_up_where_others_change_without_end() -> None:
    async def play(scene: Scene) -> None:
        async def other() -> None:
            latest = await MemoryLayouts.read(scene.layouts) or Layout.of(8)
            await MemoryLayouts.change(scene.layouts, latest.aim(9, now=1.0))

        def mark(latest: Layout, now: float) -> Layout:
            scene.layouts.before_change = [other]
            return latest.pause(2, now=now)

        began = scene.clock.now()
        with pytest.raises(LayoutChangedError, match="try again later"):
            await scene.resharder().mark(mark)
        assert scene.clock.now() - began > 1.0, "the store is not asked without a pause"

    virtually(play)


def test_a_pause_is_waited_for_until_the_living_workers_follow() -> None:
    async def play(scene: Scene) -> None:
        async with scene.working("w1"), scene.working("w2", every=30.0):
            await scene.clock.sleep(1.0)
            resharder, began = scene.resharder(), scene.clock.now()
            layout = await resharder.mark(lambda latest, now: latest.pause(2, now=now))
            assert await resharder.wait_until_followed(layout) == 2
            assert scene.clock.now() - began > 25.0
        assert scene.told(NewsKind.WAITS)[-1] == "1 of 2 workers do not follow epoch 1 yet: w2"

    virtually(play)


def test_a_pause_is_followed_also_where_another_came_after_it() -> None:
    async def play(scene: Scene) -> None:
        async with scene.working():
            resharder = scene.resharder()
            first = await resharder.mark(lambda latest, now: latest.pause(2, now=now))
            await scene.resharder().mark(lambda latest, now: latest.pause(3, now=now))
            await scene.clock.sleep(6.0)
            assert await resharder.wait_until_followed(first) == 1
        assert scene.told(NewsKind.WAITS) == []

    virtually(play)


def test_a_layout_that_was_set_back_is_told_until_the_worker_is_started_again() -> None:
    async def play(scene: Scene) -> None:
        async with scene.working():
            for _ in range(3):
                await scene.resharder().mark(lambda latest, now: latest.pause(2, now=now))
                await scene.resharder().mark(lambda latest, now: latest.resume(2, now=now))
            await scene.clock.sleep(6.0)
            scene.layouts.set_back()
            growing = asyncio.ensure_future(scene.resharder().reshard(12))
            await scene.clock.sleep(60.0)
            assert scene.told(NewsKind.WAITS)[-1].startswith("w1 follows epoch 6, later than the 2 that is kept")
            assert (await scene.layout()).publish == 8
        async with scene.working():
            assert (await growing).publish == 12

    virtually(play)


def test_a_drain_ends_when_nothing_is_left_and_breaks_off_when_the_shard_is_resumed() -> None:
    async def play(scene: Scene) -> None:
        async with scene.working():
            resharder = scene.resharder()
            await scene.shards.queue(2).publish(Message(b"{}", {"mail_id": "a"}))
            await resharder.mark(lambda latest, now: latest.close(2, now=now))
            draining = asyncio.ensure_future(resharder.wait_until_empty([2]))
            await scene.clock.sleep(300.0)
            assert not draining.done()
            [delivery] = await scene.shards.queue(2).pull(max_deliveries=1, wait=0)
            await scene.shards.queue(2).ack(delivery)
            await draining

            await resharder.mark(lambda latest, now: latest.resume(2, now=now))
            with pytest.raises(LayoutError, match="shard 2 takes mails again: somebody resumed it"):
                await resharder.wait_until_empty([2])

    virtually(play)
