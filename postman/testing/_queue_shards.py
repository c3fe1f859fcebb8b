"""The queue's contract: the shards of a cluster, how they are numbered, made and checked."""

import asyncio

import pytest

from postman.errors import ConfigError, PostmanError
from postman.ports.queue import ShardMap
from postman.testing._queue_tools import is_empty, message_with, take, take_one, texts

__all__ = ["ShardMapContract"]


class ShardMapContract:
    """What is asked of a `ShardMap`, not of one queue."""

    tells_depth = True
    """False for an adapter whose `depth` is always None."""

    async def test_shards_and_dead_letters_are_queues_of_their_own(self, shards: ShardMap) -> None:
        queues = [shards.queue(0), shards.queue(1), shards.dead(0), shards.dead(1)]
        for queue in queues:
            await queue.publish(message_with(queue.name))
        found = await asyncio.gather(*(take(queue, 1) for queue in queues))
        empty = await asyncio.gather(*(is_empty(queue) for queue in queues))

        assert [texts(deliveries) for deliveries in found] == [[queue.name] for queue in queues]
        assert all(empty)
        assert len({queue.name for queue in queues}) == 4

    async def test_dead_letters_are_settled_like_any_other(self, shards: ShardMap) -> None:
        dead = shards.dead(0)
        await dead.publish(message_with("a"))
        await dead.nack(await take_one(dead))
        await dead.ack(await take_one(dead))

        assert await is_empty(dead)

    def test_a_shard_has_one_queue(self, shards: ShardMap) -> None:
        assert shards.count == 2
        assert shards.queue(1) is shards.queue(1)
        assert shards.dead(1) is shards.dead(1)

    def test_every_number_below_1024_is_a_shard_whether_in_use_or_not(self, shards: ShardMap) -> None:
        """Which of them are in use changes while processes run."""
        queues = [get(shard) for get in (shards.queue, shards.dead) for shard in (0, 2, 1_023)]

        assert len({queue.name for queue in queues}) == 6
        assert shards.queue(1_023) is shards.queue(1_023)
        assert shards.count == 2

    @pytest.mark.parametrize("shard", [-1, 1_024])
    def test_a_number_beyond_those_of_shards_is_refused(self, shards: ShardMap, shard: int) -> None:
        for get in (shards.queue, shards.dead):
            with pytest.raises(ConfigError, match=f"no shard {shard}: "):
                get(shard)

    async def test_a_shards_depth_counts_all_that_lies_in_it_or_is_not_told(self, shards: ShardMap) -> None:
        """What is free, held and delayed; neither what was acked nor what lies elsewhere. Never a guess."""
        queue = shards.queue(0)
        before = await shards.depth(0)
        for each in (queue, queue, queue, queue, shards.queue(1), shards.dead(0)):
            await each.publish(message_with("a"))
        acked, delayed, _ = await take(queue, 3)
        await queue.ack(acked)
        await queue.nack(delayed, delay=60.0)

        assert before == (0 if self.tells_depth else None)
        assert await shards.depth(0) == (3 if self.tells_depth else None)

    async def test_making_a_cluster_says_what_was_made_and_can_be_repeated(self, unmade: ShardMap) -> None:
        made = await unmade.ensure()
        again = await unmade.ensure()
        await unmade.check(0)
        await unmade.check(1)
        await unmade.queue(1).publish(message_with("a"))

        assert any(unmade.queue(1).name in name for name in made)
        assert any(unmade.dead(1).name in name for name in made)
        assert len(set(made)) == len(made)
        assert list(again) == []
        assert texts([await take_one(unmade.queue(1))]) == ["a"]

    async def test_making_a_cluster_again_keeps_what_is_in_it(self, shards: ShardMap) -> None:
        await shards.queue(0).publish(message_with("a"))

        assert list(await shards.ensure()) == []
        assert texts([await take_one(shards.queue(0))]) == ["a"]

    async def test_shards_that_no_settings_name_are_made_by_their_numbers(self, unmade: ShardMap) -> None:
        """As for a cluster that grows while it works."""
        made = await unmade.ensure([5, 2])
        again = await unmade.ensure([2])
        await unmade.check(5)
        await unmade.queue(5).publish(message_with("a"))
        await unmade.dead(5).publish(message_with("b"))
        taken = [await take_one(unmade.queue(5)), await take_one(unmade.dead(5))]

        queues = {get(shard).name for get in (unmade.queue, unmade.dead) for shard in (2, 5)}
        assert {name.split()[-1] for name in made} == queues
        assert list(again) == []
        assert texts(taken) == ["a", "b"]

    async def test_a_shard_that_was_not_made_is_reported_by_name(self, unmade: ShardMap) -> None:
        for shard in (0, 5):
            with pytest.raises(PostmanError, match=unmade.queue(shard).name):
                await unmade.check(shard)

    async def test_a_made_shard_passes_its_check(self, shards: ShardMap) -> None:
        await shards.check(1)
