"""The gate over the mails that a worker holds."""

import asyncio

from postman.runtime.guard import Guard


async def test_it_gives_what_is_free() -> None:
    guard = Guard(5)

    assert await guard.enter(3) == 3
    assert await guard.enter(3) == 2
    assert guard.held == 5


async def test_who_finds_it_full_waits_until_a_place_is_left() -> None:
    guard = Guard(2)
    await guard.enter(2)
    waiting = asyncio.ensure_future(guard.enter(5))
    await asyncio.sleep(0)
    assert not waiting.done()
    guard.exit()

    assert await waiting == 1


async def test_closing_lets_nobody_in_and_wakes_who_waits() -> None:
    guard = Guard(1)
    await guard.enter()
    waiting = [asyncio.ensure_future(guard.enter()) for _ in range(3)]
    await asyncio.sleep(0)
    guard.close()
    guard.close()

    assert await asyncio.gather(*waiting) == [0, 0, 0]
    assert await guard.enter() == 0
    assert guard.is_closed


async def test_a_waiter_that_gives_up_passes_its_turn_on() -> None:
    guard = Guard(1)
    await guard.enter()
    first, second = (asyncio.ensure_future(guard.enter()) for _ in range(2))
    await asyncio.sleep(0)
    guard.exit()
    first.cancel()

    assert await asyncio.wait_for(second, 1.0) == 1


async def test_many_waiters_all_get_in_in_the_end() -> None:
    guard = Guard(3)
    served = 0

    async def serve() -> None:
        nonlocal served
        places = await guard.enter(2)
        await asyncio.sleep(0)
        assert guard.held <= 3
        guard.exit(places)
        served += 1

    await asyncio.wait_for(asyncio.gather(*(serve() for _ in range(200))), 5.0)
    assert served == 200
    assert guard.held == 0
