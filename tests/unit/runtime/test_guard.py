"""The gate over the mails that a worker holds."""

import asyncio

from postman.runtime.guard import Guard


def test_it_gives_what_is_free() -> None:
    guard = Guard(5)

    assert guard.enter(3) == 3
    assert guard.enter(3) == 2
    assert guard.enter(3) == 0
    assert guard.held == 5


def test_leaving_is_news_and_makes_room() -> None:
    guard = Guard(2)
    guard.enter(2)
    assert not guard.news.is_set()
    guard.exit()

    assert guard.news.is_set()
    assert guard.free == 1


def test_with_fewer_places_than_are_taken_nobody_gets_in_until_enough_are_left() -> None:
    guard = Guard(5)
    guard.enter(5)
    guard.capacity = 3
    assert guard.free == 0
    guard.exit(2)
    assert guard.enter(1) == 0
    guard.exit()

    assert guard.enter(2) == 1


async def test_closing_lets_nobody_in_and_is_news() -> None:
    guard = Guard(3)
    waiting = asyncio.ensure_future(guard.wait_until_closed())
    await asyncio.sleep(0)
    guard.close()
    guard.close()

    assert guard.is_closed
    assert guard.news.is_set()
    assert guard.enter(2) == 0
    await asyncio.wait_for(waiting, 1.0)
