"""How much the proxy holds at a time."""

import asyncio

import pytest

from postman.entrypoints.proxy.room import Room


class _Visitor:
    """Takes room for *length* bytes in a task of its own, until it is told to leave."""

    def __init__(self, room: Room, length: int) -> None:
        self._leave = asyncio.Event()
        self.is_in = False
        self.task = asyncio.create_task(self._stay(room, length))

    async def _stay(self, room: Room, length: int) -> None:
        async with room.taken(length):
            self.is_in = True
            await self._leave.wait()
        self.is_in = False

    async def leave(self) -> None:
        self._leave.set()
        await self.task
        await _settle()


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("places", "size"), [(1, 100), (100, 10)])
async def test_who_finds_no_place_or_no_room_waits_for_it(places: int, size: int) -> None:
    room = Room(places, size)
    first, second = _Visitor(room, 10), _Visitor(room, 10)
    await _settle()
    assert (first.is_in, second.is_in) == (True, False)

    await first.leave()

    assert second.is_in
    await second.leave()


async def test_a_large_one_is_not_overtaken_for_ever_by_small_ones() -> None:
    room = Room(100, 10)
    small, large, late = _Visitor(room, 2), _Visitor(room, 10), _Visitor(room, 1)
    await _settle()
    assert (small.is_in, large.is_in, late.is_in) == (True, False, False)

    await small.leave()
    assert (large.is_in, late.is_in) == (True, False)
    await large.leave()
    assert late.is_in
    await late.leave()


async def test_who_waits_no_more_keeps_nobody_out() -> None:
    room = Room(1, 10)
    first, second, third = _Visitor(room, 1), _Visitor(room, 1), _Visitor(room, 1)
    await _settle()
    second.task.cancel()
    await _settle()

    await first.leave()

    assert third.is_in
    await third.leave()
