"""The contract of the port `Backlogs`, as tests.

Subclass `BacklogSuite` and give it the fixtures *backlogs*, *clock*, whose
`time()` they date by, and *waiting_room*, which fills the queues by the back door.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import pytest

from postman.ports.backlog import Backlogs
from postman.ports.clock import Clock

__all__ = ["BacklogSuite", "WaitingRoom"]

_LAG = 300.0
"""Seconds: how old an answer may be."""


class WaitingRoom(Protocol):
    """What lies in the queues."""

    async def fill(self, shard: int, ages: Sequence[float], *, dead: bool = False, prefix: str = "postman") -> None:
        """Let messages wait in *shard*, or among its dead letters, that were published *ages* seconds ago.

        Once for each queue; without *ages* it is there, and empty. Queues of another *prefix* are another cluster's.
        """
        ...


class BacklogSuite:
    """See the module."""

    async def test_each_shard_has_its_own_backlog(
        self, backlogs: Backlogs, waiting_room: WaitingRoom, clock: Clock
    ) -> None:
        """How many messages wait, for how long the oldest, and when that was so."""
        await waiting_room.fill(0, [5.0])
        await waiting_room.fill(1, [40.0, 90.0, 10.0])
        await waiting_room.fill(11, [1.0, 2.0])

        found = await backlogs.look([0, 1, 11])

        assert {shard: each.count for shard, each in found.items()} == {0: 1, 1: 3, 11: 2}
        for shard, oldest in ((0, 5.0), (1, 90.0), (11, 2.0)):
            assert found[shard].oldest_age == pytest.approx(oldest, abs=1.0)
            assert clock.time() - _LAG <= found[shard].at <= clock.time() + 1.0

    async def test_an_empty_shard_has_none(self, backlogs: Backlogs, waiting_room: WaitingRoom) -> None:
        """It is in the answer: that nothing waits is known."""
        await waiting_room.fill(0, [])

        found = await backlogs.look([0])

        assert (found[0].count, found[0].oldest_age) == (0, 0.0)

    async def test_dead_letters_are_counted_apart(self, backlogs: Backlogs, waiting_room: WaitingRoom) -> None:
        """They wait for a person, not for a worker."""
        await waiting_room.fill(3, [7.0])
        await waiting_room.fill(3, [70.0, 60.0], dead=True)

        alive, dead = await backlogs.look([3]), await backlogs.look_dead([3])

        assert (alive[3].count, dead[3].count) == (1, 2)
        assert dead[3].oldest_age == pytest.approx(70.0, abs=1.0)

    async def test_only_what_was_asked_for_is_told(self, backlogs: Backlogs, waiting_room: WaitingRoom) -> None:
        """Also where one question brings the answer for all."""
        for shard in (0, 1, 2):
            await waiting_room.fill(shard, [1.0])

        assert set(await backlogs.look([2, 0])) == {0, 2}
        assert not await backlogs.look([])

    async def test_clusters_do_not_see_each_other(self, backlogs: Backlogs, waiting_room: WaitingRoom) -> None:
        """Although they may share what they lie in, and one's name begin with the other's."""
        await waiting_room.fill(0, [])
        for prefix in ("postman-mail-0", "my-postman", "postman2"):
            await waiting_room.fill(0, [9.0], prefix=prefix)

        assert (await backlogs.look([0]))[0].count == 0

    async def test_many_look_at_once(self, backlogs: Backlogs, waiting_room: WaitingRoom) -> None:
        """Each gets the whole answer."""
        await waiting_room.fill(0, [1.0, 2.0])

        found = await asyncio.gather(*(backlogs.look([0]) for _ in range(20)))

        assert [each[0].count for each in found] == [2] * 20

    async def test_closing_twice_is_fine(self, backlogs: Backlogs, waiting_room: WaitingRoom) -> None:
        """Also after a look."""
        await waiting_room.fill(0, [])
        await backlogs.look([0])
        await backlogs.aclose()
        await backlogs.aclose()
